package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	resourceGroup         = kmsg.ConfigResourceTypeGroupConfig
	resourceClientMetrics = kmsg.ConfigResourceTypeClientMetrics
)

// setting is a config's name and value; "-" before the name removes it.
type setting struct{ name, value string }

// badGroupConfigs and badClientMetrics are changes that brokers refuse, and some at the edge that they take.
var (
	badGroupConfigs = []setting{
		{"no.such", "1"}, {"group.consumer.session.timeout.ms", "50000"}, {"retention.ms", "1"}, {"consumer.session.timeout.ms", "soon"}, {"consumer.session.timeout.ms", ""},
		{"consumer.session.timeout.ms", "44999"}, {"consumer.session.timeout.ms", "60001"}, {"consumer.heartbeat.interval.ms", "4999"}, {"consumer.heartbeat.interval.ms", "15001"},
		{"consumer.assignment.interval.ms", "-1"}, {"consumer.assignment.interval.ms", "15001"}, {"share.session.timeout.ms", "44999"}, {"share.session.timeout.ms", "60001"},
		{"share.heartbeat.interval.ms", "4999"}, {"share.heartbeat.interval.ms", "15001"}, {"share.record.lock.duration.ms", "14999"}, {"share.record.lock.duration.ms", "60001"},
		{"share.delivery.count.limit", "1"}, {"share.delivery.count.limit", "11"}, {"share.partition.max.record.locks", "99"}, {"share.partition.max.record.locks", "4001"},
		{"share.assignment.interval.ms", "15001"}, {"share.auto.offset.reset", "none"}, {"share.auto.offset.reset", "LATEST"}, {"share.auto.offset.reset", "by_duration:-PT1S"},
		{"share.auto.offset.reset", "by_duration:PT"}, {"share.auto.offset.reset", "by_duration:1D"}, {"share.auto.offset.reset", "by_duration:P1Y"}, {"share.isolation.level", "READ_COMMITTED"},
		{"share.renew.acknowledge.enable", "maybe"}, {"streams.session.timeout.ms", "44999"}, {"streams.session.timeout.ms", "60001"}, {"streams.heartbeat.interval.ms", "4999"},
		{"streams.heartbeat.interval.ms", "15001"}, {"streams.num.standby.replicas", "3"}, {"streams.assignment.interval.ms", "15001"}, {"streams.initial.rebalance.delay.ms", "-1"},
		{"streams.initial.rebalance.delay.ms", "2147483648"}, {"share.auto.offset.reset", "by_duration:P9223372036854775807D"},
	}
	goodGroupConfigs = []setting{
		{"consumer.session.timeout.ms", " 50000 "}, {"consumer.heartbeat.interval.ms", "15000"}, {"consumer.assignment.interval.ms", "0"}, {"share.auto.offset.reset", "by_duration:p1dt2h3m4.5s"},
		{"share.auto.offset.reset", "by_duration:-PT-5S"}, {"share.isolation.level", "read_committed"}, {"share.renew.acknowledge.enable", "FALSE"}, {"share.delivery.count.limit", "+3"},
		{"streams.num.standby.replicas", "2"}, {"streams.initial.rebalance.delay.ms", "0"},
	}
	badClientMetrics = []setting{
		{"no.such", "1"}, {"INTERVAL.MS", "1000"}, {"interval.ms", "99"}, {"interval.ms", "3600001"}, {"interval.ms", "soon"}, {"interval.ms", ""}, {"metrics", "a,,b"}, {"metrics", ","},
		{"match", "client_id"}, {"match", "client_id="}, {"match", "=x"}, {"match", "client_id=a=b"}, {"match", "somebody=.*"}, {"match", "client_id=["}, {"match", "client_id=a)|(b"}, {"match", "Client_id=a"},
	}
	goodClientMetrics = []setting{
		{"metrics", "org.apache.kafka.producer., org.apache.kafka.consumer.,org.apache.kafka.producer."}, {"metrics", "*"}, {"metrics", ""}, {"interval.ms", "100"}, {"interval.ms", " 3600000 "},
		{"match", "client_id=a.*,client_software_name = Java"}, {"match", "client_source_port=[0-9]+"}, {"match", "client_id=a=="}, {"match", ""},
	}
)

func resourceProbes() []probe {
	var all []probe
	for _, kind := range []struct {
		name      string
		kind      kmsg.ConfigResourceType
		good, bad []setting
	}{{"group", resourceGroup, goodGroupConfigs, badGroupConfigs}, {"client metrics", resourceClientMetrics, goodClientMetrics, badClientMetrics}} {
		for v := int16(0); v <= 1; v++ {
			all = append(all, probe{fmt.Sprintf("%s configs refused v%d", kind.name, v), refusedChanges(kind.kind, v, kind.bad)})
		}
		for v := int16(0); v <= 2; v++ {
			all = append(all, probe{fmt.Sprintf("%s configs replaced v%d", kind.name, v), replacedConfigs(kind.kind, v, kind.good, kind.bad)})
		}
		all = append(all, probe{kind.name + " configs set", setConfigs(kind.kind, kind.good)})
	}
	for v := int16(1); v <= 4; v++ {
		all = append(all, probe{fmt.Sprintf("configs of resources that never were v%d", v), []step{describeConfigs(resourceGroup, "p-never", v), describeConfigs(resourceClientMetrics, "p-never", v),
			describeConfigs(resourceGroup, "p-never", v, "share.isolation.level", "no.such"), describeConfigs(resourceClientMetrics, "p-never", v, "match"),
			describeConfigs(resourceGroup, "", v), describeConfigs(resourceClientMetrics, "", v)}})
	}
	for v := int16(3); v <= 4; v++ {
		all = append(all, probe{fmt.Sprintf("documentation of configs v%d", v), []step{topic(fmt.Sprintf("p-documented-%d", v), 1), documented(resourceTopic, fmt.Sprintf("p-documented-%d", v), v), documented(resourceBroker, "1", v),
			documented(resourceGroup, "g", v), documented(resourceClientMetrics, "m", v)}})
	}
	return append(append(all, probe{"config resources named", namedResources()}), unregisterProbes()...)
}

// decided is askOf for what changes nothing, so that nothing has to be waited for.
func decided(version int16, r kmsg.Request) step {
	return func(_ *broker, c *conn) (string, error) {
		response, err := c.request(r, version)
		if err != nil {
			return "", err
		}
		return normalise(response), nil
	}
}

// refusedChanges are single changes that are refused, validated only and in earnest.
func refusedChanges(kind kmsg.ConfigResourceType, version int16, settings []setting) []step {
	const name = "p-refused"
	var steps []step
	for _, s := range settings {
		r := alter(kind, name, kmsg.IncrementalAlterConfigOpSet, s.name, &s.value)
		steps = append(steps, decided(version, r))
	}
	null := alter(kind, name, kmsg.IncrementalAlterConfigOpSet, settings[2].name, nil)
	unnamed := alter(kind, "", kmsg.IncrementalAlterConfigOpSet, "interval.ms", ptr("1000"))
	long := alter(kind, name, kmsg.IncrementalAlterConfigOpSet, "metrics", ptr(strings.Repeat("x", 32768)))
	twice := alter(kind, name, kmsg.IncrementalAlterConfigOpSet, "interval.ms", ptr("1000"))
	twice.Resources[0].Configs = append(twice.Resources[0].Configs, twice.Resources[0].Configs[0])
	again := alter(kind, name, kmsg.IncrementalAlterConfigOpSet, "interval.ms", ptr("1000"))
	again.Resources = append(again.Resources, again.Resources[0])
	steps = append(steps, decided(version, null), decided(version, unnamed), decided(version, long), decided(version, twice), decided(version, again),
		decided(version, alter(kind, name, kmsg.IncrementalAlterConfigOpAppend, "metrics", ptr("a"))), decided(version, alter(kind, name, kmsg.IncrementalAlterConfigOpSubtract, "no.such", ptr("a"))),
		decided(version, alter(kind, name, kmsg.IncrementalAlterConfigOpDelete, "no.such", nil)))
	together := alter(kind, name, kmsg.IncrementalAlterConfigOpSet, "consumer.session.timeout.ms", ptr("45000"))
	together.Resources[0].Configs = append(together.Resources[0].Configs, kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: "consumer.heartbeat.interval.ms", Value: ptr("45000")})
	return append(steps, decided(version, together), describeConfigs(kind, name, 4))
}

func clear(kind kmsg.ConfigResourceType, name string) step { return askOf(2, replaceAll(kind, name)) }

func replaceAll(kind kmsg.ConfigResourceType, name string, settings ...setting) *kmsg.AlterConfigsRequest {
	r := kmsg.NewPtrAlterConfigsRequest()
	res := kmsg.NewAlterConfigsRequestResource()
	res.ResourceType, res.ResourceName = kind, name
	for _, s := range settings {
		res.Configs = append(res.Configs, kmsg.AlterConfigsRequestResourceConfig{Name: s.name, Value: &s.value})
	}
	r.Resources = append(r.Resources, res)
	return r
}

func replacedConfigs(kind kmsg.ConfigResourceType, version int16, good, bad []setting) []step {
	const name = "p-replaced"
	var steps []step
	for _, s := range slices.Concat(good, bad[:6]) {
		r := replaceAll(kind, name, s)
		r.ValidateOnly = true
		steps = append(steps, decided(version, r))
	}
	first, last := good[0], good[len(good)-1]
	return append(steps, askOf(version, replaceAll(kind, name, first)), describeConfigs(kind, name, 4), askOf(version, replaceAll(kind, name, last)), describeConfigs(kind, name, 4),
		askOf(version, replaceAll(kind, "", first)), askOf(version, replaceAll(kind, name, first, first)), clear(kind, name), describeConfigs(kind, name, 4))
}

// setConfigs sets one config after the other and then takes them away.
func setConfigs(kind kmsg.ConfigResourceType, settings []setting) []step {
	const name = "p-set"
	var steps []step
	for i, s := range settings {
		validate := alter(kind, name, kmsg.IncrementalAlterConfigOpSet, s.name, &s.value)
		validate.ValidateOnly = true
		steps = append(steps, decided(int16(i%2), validate), askOf(int16(i%2), alter(kind, name, kmsg.IncrementalAlterConfigOpSet, s.name, &s.value)), describeConfigs(kind, name, int16(1+i%4)))
	}
	steps = append(steps, askOf(1, alter(kind, name, kmsg.IncrementalAlterConfigOpDelete, settings[0].name, nil)), describeConfigs(kind, name, 4))
	return append(steps, clear(kind, name), describeConfigs(kind, name, 4))
}

// documented says of each config whether there is an explanation.
func documented(kind kmsg.ConfigResourceType, name string, version int16) step {
	return func(_ *broker, c *conn) (string, error) {
		r := kmsg.NewPtrDescribeConfigsRequest()
		resource := kmsg.NewDescribeConfigsRequestResource()
		resource.ResourceType, resource.ResourceName = kind, name
		r.Resources, r.IncludeDocumentation = append(r.Resources, resource), true
		response, err := c.request(r, version)
		if err != nil {
			return "", err
		}
		var lines []string
		for _, k := range response.(*kmsg.DescribeConfigsResponse).Resources[0].Configs {
			if !moldausOwn[k.Name] && !strings.HasPrefix(k.Name, "moldau.") {
				lines = append(lines, fmt.Sprintf("%s explained=%t", k.Name, k.Documentation != nil && *k.Documentation != ""))
			}
		}
		slices.Sort(lines)
		return strings.Join(lines, "\n") + "\n", nil
	}
}

// moldausOwn are configs that only one of the two has; no.such is what another probe has set there.
var moldausOwn = map[string]bool{"cluster.id": true, "http.listen": true, "log.reserve.bytes": true, "client.metrics.export.enable": true, "no.such": true}

// namedResources has configs set for groups and client metrics, and asks for their names.
func namedResources() []step {
	named := func(version int16, want int, types ...int8) step {
		return func(_ *broker, c *conn) (string, error) {
			r := kmsg.NewPtrListConfigResourcesRequest()
			r.ResourceTypes = types
			deadline := time.Now().Add(5 * time.Second)
			for {
				response, err := c.request(r, version)
				if err != nil {
					return "", err
				}
				answer := response.(*kmsg.ListConfigResourcesResponse)
				var lines []string
				for _, resource := range answer.ConfigResources {
					if strings.HasPrefix(resource.Name, "p-named") {
						lines = append(lines, fmt.Sprintf("%d %s", resource.Type, resource.Name))
					}
				}
				// Apache Kafka's parts that list these learn of them after those that describe them.
				if len(lines) == want || time.Now().After(deadline) {
					slices.Sort(lines)
					return fmt.Sprintf("code %d\n%s\n", answer.ErrorCode, strings.Join(lines, "\n")), nil
				}
			}
		}
	}
	set := func(kind kmsg.ConfigResourceType, name, key, value string) step {
		return askOf(1, alter(kind, name, kmsg.IncrementalAlterConfigOpSet, key, &value))
	}
	steps := []step{set(resourceGroup, "p-named-g1", "share.isolation.level", "read_committed"), set(resourceGroup, "p-named-g2", "streams.num.standby.replicas", "1"),
		set(resourceClientMetrics, "p-named-m1", "metrics", "*"), set(resourceClientMetrics, "p-named-m2", "interval.ms", "1000"), topic("p-named-t", 1),
		named(0, 2), named(1, 2, 16), named(1, 2, 32), named(1, 4, 16, 32), named(1, 5), named(1, 1, 2), named(1, 2, 16, 16), named(1, 0, 0), named(1, 0, 2, 99)}
	return append(steps, clear(resourceGroup, "p-named-g1"), clear(resourceGroup, "p-named-g2"), clear(resourceClientMetrics, "p-named-m1"), clear(resourceClientMetrics, "p-named-m2"), named(1, 1))
}

// unregisterProbes name brokers that are not there. The broker itself would be gone for what follows.
func unregisterProbes() []probe {
	of := func(id int32) step {
		r := kmsg.NewPtrUnregisterBrokerRequest()
		r.BrokerID = id
		return decided(0, r)
	}
	return []probe{{"unregister brokers that are not there", []step{of(7), of(-1), of(0), of(2147483647)}}}
}
