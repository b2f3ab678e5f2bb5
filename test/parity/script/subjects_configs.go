package script

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

func configSubjects() []subject {
	kinds := []value{}
	for _, v := range constants(-1, 0, 1, 2, 3, 4, 5, 8, 16, 32, 127, -128) {
		kinds = append(kinds, v)
	}
	return []subject{
		{
			key: 32, sorted: true, values: map[string][]value{"ResourceType": kinds}, build: func(*Session) kmsg.Request {
				r := kmsg.NewPtrDescribeConfigsRequest()
				r.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: fixedTopic, ConfigNames: []string{"retention.ms", "cleanup.policy"}}}
				return r
			},
			forms: []form{
				described("broker", true, 4, "1", "log.retention.ms", "node.id", "num.partitions", "compression.type"), described("broker defaults", true, 4, "", "log.retention.ms"), described("unknown broker", false, 4, "7", "node.id"),
				described("negative broker", false, 4, "-1", "node.id"), described("broker by a word", false, 4, "one"), described("broker logger", true, 8, "1", "no.such.logger"), described("no such config", false, 2, fixedTopic, "no.such.config"),
				described("no configs", true, 2, fixedTopic), described("no such topic", false, 2, "fixed-not-there"), described("illegal topic", false, 2, "fixed not there"), described("loggers of another", false, 8, "7"), described("loggers of all", false, 8, ""),
				shape("two resources", true, 0, func(_ *Session, r *kmsg.DescribeConfigsRequest) {
					r.Resources = append(r.Resources, kmsg.DescribeConfigsRequestResource{ResourceType: 4, ResourceName: "1", ConfigNames: []string{"node.id"}})
				}),
			},
		},
		{
			key: 33, pool: "changed", values: map[string][]value{"ResourceType": kinds}, build: func(s *Session) kmsg.Request {
				r := kmsg.NewPtrAlterConfigsRequest()
				r.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: s.topic(), Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: "retention.ms", Value: ptr("5000")}}}}
				return r
			},
			forms: setForms(),
		},
		{
			key: 44, pool: "adjusted", prepare: []func(*Session) error{resetConfigs}, values: map[string][]value{"ResourceType": kinds}, build: func(s *Session) kmsg.Request {
				r := kmsg.NewPtrIncrementalAlterConfigsRequest()
				r.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: s.topic(), Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "retention.ms", Value: ptr("5000")}}}}
				return r
			},
			forms: changeForms(),
		},
		{
			key: 74, mineOnly: true, build: func(*Session) kmsg.Request {
				r := kmsg.NewPtrListConfigResourcesRequest()
				r.ResourceTypes = []int8{2}
				return r
			},
			forms: []form{
				shape("brokers", true, 1, func(_ *Session, r *kmsg.ListConfigResourcesRequest) { r.ResourceTypes = []int8{4, 8} }),
				shape("all", true, 1, func(_ *Session, r *kmsg.ListConfigResourcesRequest) { r.ResourceTypes = nil }),
				shape("one known, one not", false, 1, func(_ *Session, r *kmsg.ListConfigResourcesRequest) { r.ResourceTypes = []int8{2, 77} }),
			},
		},
	}
}

// described asks for a resource's configs; without names for none.
func described(name string, good bool, kind kmsg.ConfigResourceType, resource string, configs ...string) form {
	return shape(name, good, 0, func(_ *Session, r *kmsg.DescribeConfigsRequest) {
		r.Resources[0] = kmsg.DescribeConfigsRequestResource{ResourceType: kind, ResourceName: resource, ConfigNames: append([]string{}, configs...)}
	})
}

// settings are configs and values for them that topics have or should not have.
var settings = []struct {
	name, value string
	good        bool
}{
	{"cleanup.policy", "compact", true}, {"cleanup.policy", "compact,delete", true}, {"cleanup.policy", "none", false}, {"retention.ms", "-1", true}, {"retention.ms", "-2", false}, {"retention.ms", "many", false}, {"retention.bytes", "9223372036854775807", true},
	{"retention.bytes", "9223372036854775808", false}, {"max.message.bytes", "0", true}, {"compression.type", "gzip", true}, {"compression.type", "brotli", false}, {"compression.gzip.level", "0", false}, {"compression.gzip.level", "9", true}, {"compression.lz4.level", "18", false},
	{"min.cleanable.dirty.ratio", "0.5", true}, {"min.cleanable.dirty.ratio", "2", false}, {"segment.bytes", "1000000", false}, {"segment.bytes", "2000000", true}, {"message.timestamp.type", "CreateTime", true}, {"message.timestamp.type", "createtime", false}, {"preallocate", "maybe", false},
	{"no.such.config", "1", false}, {"leader.replication.throttled.replicas", "0:1", true}, {"leader.replication.throttled.replicas", "x", false}, {"local.retention.ms", "-3", false}, {"min.insync.replicas", "2", true}, {"log.retention.ms", "5", false},
}

// resetConfigs takes back what other cases have changed.
func resetConfigs(s *Session) error {
	r := kmsg.NewPtrAlterConfigsRequest()
	r.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: s.topic()}}
	_, err := s.fetch(r, 2)
	return err
}

func setForms() []form {
	var all []form
	for _, x := range settings {
		all = append(all, shape(x.name+"="+x.value, x.good, 0, func(_ *Session, r *kmsg.AlterConfigsRequest) {
			r.Resources[0].Configs = []kmsg.AlterConfigsRequestResourceConfig{{Name: x.name, Value: ptr(x.value)}}
		}))
	}
	return append(all,
		shape("config named twice", false, 0, func(_ *Session, r *kmsg.AlterConfigsRequest) {
			r.Resources[0].Configs = append(r.Resources[0].Configs, kmsg.AlterConfigsRequestResourceConfig{Name: "retention.ms", Value: ptr("6000")})
		}),
		shape("one good and one bad", false, 0, func(_ *Session, r *kmsg.AlterConfigsRequest) {
			r.Resources[0].Configs = append(r.Resources[0].Configs, kmsg.AlterConfigsRequestResourceConfig{Name: "segment.bytes", Value: ptr("x")})
		}),
		shape("a good and an unknown topic", false, 0, func(_ *Session, r *kmsg.AlterConfigsRequest) {
			other := r.Resources[0]
			other.ResourceName = "fixed-not-there"
			r.Resources = append(r.Resources, other)
		}),
		shape("unknown broker", false, 0, func(_ *Session, r *kmsg.AlterConfigsRequest) {
			r.Resources[0].ResourceType, r.Resources[0].ResourceName = 4, "7"
		}),
	)
}

func changeForms() []form {
	type change = kmsg.IncrementalAlterConfigsRequestResourceConfig
	var all []form
	for _, x := range settings {
		all = append(all, shape(x.name+"="+x.value, x.good, 0, func(_ *Session, r *kmsg.IncrementalAlterConfigsRequest) {
			r.Resources[0].Configs = []change{{Name: x.name, Value: ptr(x.value)}}
		}))
	}
	op := func(name string, good bool, list ...change) form {
		return shape(name, good, 0, func(_ *Session, r *kmsg.IncrementalAlterConfigsRequest) { r.Resources[0].Configs = list })
	}
	return append(all,
		op("delete", true, change{Name: "retention.ms", Op: 1}), op("delete with a value", true, change{Name: "retention.ms", Op: 1, Value: ptr("x")}), op("delete what is unknown", false, change{Name: "no.such.config", Op: 1}),
		op("append", true, change{Name: "cleanup.policy", Op: 2, Value: ptr("compact")}), op("append what is there", true, change{Name: "cleanup.policy", Op: 2, Value: ptr("delete")}), op("append to no list", false, change{Name: "retention.ms", Op: 2, Value: ptr("1")}),
		op("subtract", true, change{Name: "cleanup.policy", Op: 3, Value: ptr("delete")}), op("subtract what is not there", true, change{Name: "cleanup.policy", Op: 3, Value: ptr("compact")}), op("append nothing", false, change{Name: "cleanup.policy", Op: 2}),
		op("set to null", false, change{Name: "retention.ms"}), op("config twice", false, change{Name: "retention.ms", Value: ptr("1")}, change{Name: "retention.ms", Op: 1}), op("unknown operation", false, change{Name: "retention.ms", Op: 4, Value: ptr("1")}),
		op("one good and one bad", false, change{Name: "retention.ms", Value: ptr("1")}, change{Name: "segment.ms", Value: ptr("x")}),
		shape("unknown broker", false, 0, func(_ *Session, r *kmsg.IncrementalAlterConfigsRequest) {
			r.Resources[0].ResourceType, r.Resources[0].ResourceName = 4, "7"
		}),
		shape("broker's read-only config", false, 0, func(_ *Session, r *kmsg.IncrementalAlterConfigsRequest) {
			r.Resources[0].ResourceType, r.Resources[0].ResourceName = 4, "1"
			r.Resources[0].Configs = []change{{Name: "node.id", Value: ptr("2")}}
		}),
	)
}
