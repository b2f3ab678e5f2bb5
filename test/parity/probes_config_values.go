package main

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The values that each config is offered. Nothing is stored: all requests only validate.
var (
	wholeNumbers = []string{"", "x", "1.5", "1e3", "0x10", "+5", " 7 ", "5_0", "-3", "-2", "-1", "0", "1", "2", "4", "3", "16", "17", "18", "22", "23", "-131072", "-131073",
		"524287", "1048575", "1048576", "2147483647", "2147483648", "-2147483648", "9223372036854775807", "9223372036854775808"}
	truths   = []string{"", "x", "true", "FALSE", " true ", "1", "yes"}
	decimals = []string{"", "x", "-0.1", "-0", "0", "0.5", "1", "1.0001", "1e-3", " 0.5 ", "0.5d", "0.5f", "0.5x", "0x1p-1", "0x10", "1_0", "NaN", "nan", "Infinity", "inf", "+0.5", ".5", "1."}
	policies = []string{"", "delete", "compact", "compact,delete", " delete , compact ", "delete,delete", "delete,,compact", ",", "delete,", "shred", "delete,shred", "DELETE"}
	codecs   = []string{"", "producer", "uncompressed", "none", "gzip", "GZIP", " gzip ", "rar", "gzip,lz4"}
	times    = []string{"", "CreateTime", "LogAppendTime", "createtime", " CreateTime ", "NoTimestampType"}
	replicas = []string{"", "*", "0:1", "0:1,1:2", "0:1,0:1", " 0:1 , 1:1 ", "0", "0:", ":1", "0:x", "-1:1", "0:1:2", "*,0:1", "0:1,", "none"}
)

// configValues are the topic configs with the broker configs that are their defaults.
var configValues = []struct {
	topic, broker string
	values        []string
}{
	{"cleanup.policy", "log.cleanup.policy", policies},
	{"compression.gzip.level", "compression.gzip.level", append([]string{"9", "10"}, wholeNumbers...)},
	{"compression.lz4.level", "compression.lz4.level", wholeNumbers},
	{"compression.type", "compression.type", codecs},
	{"compression.zstd.level", "compression.zstd.level", wholeNumbers},
	{"delete.retention.ms", "log.cleaner.delete.retention.ms", wholeNumbers},
	{"file.delete.delay.ms", "log.segment.delete.delay.ms", wholeNumbers},
	{"flush.messages", "log.flush.interval.messages", wholeNumbers},
	{"flush.ms", "log.flush.interval.ms", wholeNumbers},
	{"follower.replication.throttled.replicas", "", replicas},
	{"index.interval.bytes", "log.index.interval.bytes", wholeNumbers},
	{"leader.replication.throttled.replicas", "", replicas},
	{"local.retention.bytes", "log.local.retention.bytes", wholeNumbers},
	{"local.retention.ms", "log.local.retention.ms", wholeNumbers},
	{"max.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms", wholeNumbers},
	{"max.message.bytes", "message.max.bytes", wholeNumbers},
	{"message.timestamp.after.max.ms", "log.message.timestamp.after.max.ms", wholeNumbers},
	{"message.timestamp.before.max.ms", "log.message.timestamp.before.max.ms", wholeNumbers},
	{"message.timestamp.type", "log.message.timestamp.type", times},
	{"min.cleanable.dirty.ratio", "log.cleaner.min.cleanable.ratio", decimals},
	{"min.compaction.lag.ms", "log.cleaner.min.compaction.lag.ms", wholeNumbers},
	{"min.insync.replicas", "min.insync.replicas", wholeNumbers},
	{"preallocate", "log.preallocate", truths},
	{"remote.log.copy.disable", "", truths},
	{"remote.log.delete.on.disable", "", truths},
	{"remote.storage.enable", "", truths},
	{"retention.bytes", "log.retention.bytes", wholeNumbers},
	{"retention.ms", "log.retention.ms", wholeNumbers},
	{"segment.bytes", "log.segment.bytes", wholeNumbers},
	{"segment.index.bytes", "log.index.size.max.bytes", wholeNumbers},
	{"segment.jitter.ms", "log.roll.jitter.ms", wholeNumbers},
	{"segment.ms", "log.roll.ms", wholeNumbers},
	{"unclean.leader.election.enable", "unclean.leader.election.enable", truths},
	{"message.format.version", "log.message.format.version", []string{"3.0"}}, // gone in Kafka 4
	{"", "background.threads", []string{"", "0", "4", "5", "10", "20", "21"}},
	{"", "num.io.threads", []string{"", "0", "3", "4", "8", "16", "17"}},
	{"", "num.network.threads", []string{"0", "1", "3", "6", "7"}},
	{"", "num.recovery.threads.per.data.dir", []string{"0", "1", "2", "4", "5"}},
	{"", "num.replica.fetchers", []string{"0", "1", "2", "3"}},
	{"", "log.cleaner.threads", []string{"-1", "0", "1", "2", "3"}},
	{"", "log.cleaner.backoff.ms", []string{"-1", "0", "1"}},
	{"", "log.cleaner.dedupe.buffer.size", []string{"-1", "0", "1048575", "1048576", "2097152"}},
	{"", "log.cleaner.io.buffer.load.factor", decimals},
	{"", "log.cleaner.io.buffer.size", []string{"-1", "0", "1"}},
	{"", "log.cleaner.io.max.bytes.per.second", []string{"-1", "0", "1", "1000000", "x"}},
	{"", "max.connections", []string{"-1", "0", "1", "x"}},
	{"", "max.connections.per.ip", []string{"-1", "0", "1", "x"}},
	{"", "max.connections.per.ip.overrides", []string{"", "x", "127.0.0.1:1", "127.0.0.1:x", "127.0.0.1:-1", "localhost:5,127.0.0.2:7", "no.such.host.invalid:3"}},
	{"", "max.connection.creation.rate", []string{"-1", "0", "1"}},
	{"", "producer.id.expiration.ms", []string{"0", "1", "-1", "x"}},
	{"", "transaction.partition.verification.enable", truths},
	{"", "log.retention.minutes", []string{"1"}}, {"", "log.retention.hours", []string{"1"}}, {"", "log.roll.hours", []string{"1"}}, {"", "log.dirs", []string{"/x"}}, {"", "node.id", []string{"1"}},
	{"", "transactional.id.expiration.ms", []string{"1"}}, {"", "offsets.retention.minutes", []string{"1"}}, {"", "group.max.size", []string{"1"}}, {"", "auto.create.topics.enable", []string{"false"}},
	{"", "cordoned.log.dirs", []string{"", "/no/such/dir", "*"}},
	{"", "leader.replication.throttled.rate", []string{"-1", "0", "x"}}, {"", "follower.replication.throttled.rate", []string{"-1", "0"}}, {"", "replica.alter.log.dirs.io.max.bytes.per.second", []string{"-1", "0"}},
	{"", "group.coordinator.cached.buffer.max.bytes", []string{"524287", "524288"}}, {"", "group.consumer.assignment.interval.ms", []string{"-1", "0"}},
	{"", "ssl.keystore.location", []string{"/x"}}, {"", "listener.name.plaintext.max.connections", []string{"5", "x"}}, {"", "listener.name.plaintext.ssl.keystore.type", []string{"JKS"}},
	{"", "remote.log.reader.threads", []string{"0", "10"}}, {"", "metric.reporters", []string{"", "x"}}, {"", "no.such.config", []string{"x"}},
}

// configTogether are values that are judged together.
var configTogether = [][]string{
	{"min.compaction.lag.ms", "10", "max.compaction.lag.ms", "9"}, {"min.compaction.lag.ms", "10", "max.compaction.lag.ms", "10"}, {"max.compaction.lag.ms", "5"},
	{"cleanup.policy", "compact", "remote.storage.enable", "true"}, {"cleanup.policy", "compact", "remote.storage.enable", "false"},
	{"local.retention.ms", "10", "retention.ms", "5"}, {"local.retention.ms", "-1", "retention.ms", "5"}, {"local.retention.bytes", "10", "retention.bytes", "5"},
	{"remote.log.copy.disable", "true"}, {"remote.log.delete.on.disable", "true", "remote.storage.enable", "false"},
	{"segment.ms", "10", "segment.jitter.ms", "20"}, {"retention.ms", "-1", "retention.bytes", "-1"}, {"cleanup.policy", "", "retention.ms", "5"},
	{"max.message.bytes", "2097152", "segment.bytes", "1048576"}, {"compression.type", "gzip", "compression.gzip.level", "0"}, {"retention.ms", "5", "retention.ms", "6"}, {"no.such.config", "x", "retention.ms", "5"},
	{"Retention.ms", "5"}, {" retention.ms", "5"}, {"", "5"},
}

// configValueProbes offer every value to every way of setting it.
func configValueProbes() []probe {
	const name = "p-config-values"
	prepare := topic(name, 1)
	all := []probe{}
	for _, c := range configValues {
		steps := []step{}
		for _, value := range c.values {
			if c.topic != "" {
				steps = append(steps, offer(name, c.topic, value))
			}
			if c.broker != "" {
				steps = append(steps, offerToBroker(c.broker, value))
			}
		}
		label := c.topic
		if label == "" {
			label = c.broker
		}
		all = append(all, probe{"values of " + label, steps})
	}
	together := []step{}
	for _, configs := range configTogether {
		together = append(together, offer(name, configs...))
	}
	lists := []step{}
	for _, op := range []kmsg.IncrementalAlterConfigOp{kmsg.IncrementalAlterConfigOpAppend, kmsg.IncrementalAlterConfigOpSubtract, kmsg.IncrementalAlterConfigOpDelete} {
		for _, key := range []string{"cleanup.policy", "leader.replication.throttled.replicas", "retention.ms", "no.such.config", "segment.bytes"} {
			for _, value := range []string{"", "compact", "delete", "delete,compact", "shred", "0:1", "delete,delete"} {
				lists = append(lists, codes(fmt.Sprintf("%s %d %q", key, op, value), alteration(resourceTopic, name, op, key, &value)))
			}
			lists = append(lists, codes(fmt.Sprintf("%s %d null", key, op), alteration(resourceTopic, name, op, key, nil)))
		}
	}
	all[0].steps = append([]step{prepare}, all[0].steps...)
	return append(all, probe{"values together", together}, probe{"values of lists", lists})
}

// offer sets topic configs, given as name, value, …, in the three ways there are.
func offer(topicName string, configs ...string) step {
	create, incremental, old := createTopic("p-not-created", 1, 1), kmsg.NewPtrIncrementalAlterConfigsRequest(), kmsg.NewPtrAlterConfigsRequest()
	create.ValidateOnly, incremental.ValidateOnly, old.ValidateOnly = true, true, true
	resource, oldResource := kmsg.NewIncrementalAlterConfigsRequestResource(), kmsg.NewAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName, oldResource.ResourceType, oldResource.ResourceName = resourceTopic, topicName, resourceTopic, topicName
	for i := 0; i+1 < len(configs); i += 2 {
		key, value := configs[i], configs[i+1]
		create.Topics[0].Configs = append(create.Topics[0].Configs, kmsg.CreateTopicsRequestTopicConfig{Name: key, Value: &value})
		resource.Configs = append(resource.Configs, kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: key, Value: &value})
		oldResource.Configs = append(oldResource.Configs, kmsg.AlterConfigsRequestResourceConfig{Name: key, Value: &value})
	}
	incremental.Resources, old.Resources = append(incremental.Resources, resource), append(old.Resources, oldResource)
	return codes(strings.Join(configs, "="), create, incremental, old)
}

func offerToBroker(name, value string) step {
	return codes(fmt.Sprintf("broker's %s=%q", name, value), alteration(resourceBroker, "", kmsg.IncrementalAlterConfigOpSet, name, &value), alteration(resourceBroker, "1", kmsg.IncrementalAlterConfigOpSet, name, &value))
}

func alteration(kind kmsg.ConfigResourceType, resource string, op kmsg.IncrementalAlterConfigOp, name string, value *string) *kmsg.IncrementalAlterConfigsRequest {
	r := alter(kind, resource, op, name, value)
	r.ValidateOnly = true
	return r
}

// codes sends requests and writes down only the codes of their answers.
func codes(label string, requests ...kmsg.Request) step {
	return func(_ *broker, c *conn) (string, error) {
		line := label + ":"
		for _, r := range requests {
			version := map[int16]int16{19: 5, 33: 2, 44: 1}[r.Key()]
			response, err := c.request(r, version)
			if err != nil {
				return "", err
			}
			switch answer := response.(type) {
			case *kmsg.CreateTopicsResponse:
				line += fmt.Sprint(" create ", answer.Topics[0].ErrorCode)
			case *kmsg.IncrementalAlterConfigsResponse:
				line += fmt.Sprint(" alter ", answer.Resources[0].ErrorCode)
			case *kmsg.AlterConfigsResponse:
				line += fmt.Sprint(" replace ", answer.Resources[0].ErrorCode)
			}
		}
		return line + "\n", nil
	}
}
