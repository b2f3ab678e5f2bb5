package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	resourceTopic  = kmsg.ConfigResourceTypeTopic
	resourceBroker = kmsg.ConfigResourceTypeBroker
)

func configProbes() []probe {
	set, remove, add, subtract := kmsg.IncrementalAlterConfigOpSet, kmsg.IncrementalAlterConfigOpDelete, kmsg.IncrementalAlterConfigOpAppend, kmsg.IncrementalAlterConfigOpSubtract
	t := func(op kmsg.IncrementalAlterConfigOp, name string, value *string) step {
		return askOf(1, alter(resourceTopic, "p-configs", op, name, value))
	}
	return []probe{
		{"configs of a topic", []step{topic("p-configs", 1, "retention.ms", "1000"), describeConfigs(resourceTopic, "p-configs", 4), describeConfigs(resourceTopic, "p-configs", 1),
			describeConfigs(resourceTopic, "p-configs", 4, "retention.ms", "no.such", "cleanup.policy")}},
		{"configs of nothing", []step{describeConfigs(resourceTopic, "not-there", 4), describeConfigs(resourceTopic, "no/slash", 4), describeConfigs(resourceBroker, "7", 4),
			describeConfigs(resourceBroker, "seven", 4), describeConfigs(kmsg.ConfigResourceType(99), "x", 4)}},
		{"configs altered", []step{topic("p-configs-2", 1), askOf(1, alter(resourceTopic, "p-configs-2", set, "retention.ms", ptr("5000"))), settled(resourceTopic, "p-configs-2", "retention.ms=5000"), describeConfigs(resourceTopic, "p-configs-2", 4, "retention.ms"),
			askOf(1, alter(resourceTopic, "p-configs-2", remove, "retention.ms", nil)), settled(resourceTopic, "p-configs-2", "retention.ms=604800000"), describeConfigs(resourceTopic, "p-configs-2", 4, "retention.ms"),
			askOf(1, alter(resourceTopic, "p-configs-2", add, "cleanup.policy", ptr("compact"))), settled(resourceTopic, "p-configs-2", "cleanup.policy=delete,compact"), describeConfigs(resourceTopic, "p-configs-2", 4, "cleanup.policy"),
			askOf(1, alter(resourceTopic, "p-configs-2", subtract, "cleanup.policy", ptr("delete"))), settled(resourceTopic, "p-configs-2", "cleanup.policy=compact"), describeConfigs(resourceTopic, "p-configs-2", 4, "cleanup.policy"),
			askOf(1, alter(resourceTopic, "p-configs-2", add, "retention.ms", ptr("1"))), askOf(2, alterAll("p-configs-2", "max.message.bytes", "3000")), settled(resourceTopic, "p-configs-2", "max.message.bytes=3000"), describeConfigs(resourceTopic, "p-configs-2", 4, "cleanup.policy", "max.message.bytes")}},
		{"configs refused", []step{t(set, "retention.ms", ptr("soon")), t(set, "no.such", ptr("1")), t(set, "retention.ms", nil), t(set, "cleanup.policy", ptr("shred")), t(set, "min.insync.replicas", ptr("0")),
			t(kmsg.IncrementalAlterConfigOp(9), "retention.ms", ptr("1")), askOf(1, alter(resourceTopic, "not-there", set, "retention.ms", ptr("1"))), askOf(2, alterAll("p-configs", "retention.ms", "soon")),
			t(set, "segment.bytes", ptr("10")), t(set, "compression.type", ptr("rar")), t(set, "message.timestamp.type", ptr("Whenever"))}},
		{"dynamic broker configs", []step{askOf(1, alter(resourceBroker, "", set, "log.retention.ms", ptr("777777"))), settled(resourceBroker, "", "log.retention.ms=777777"), describeConfigs(resourceBroker, "", 4, "log.retention.ms"),
			topic("p-inherits", 1), describeConfigs(resourceTopic, "p-inherits", 4, "retention.ms"), askOf(1, alter(resourceBroker, "", remove, "log.retention.ms", nil)),
			settled(resourceTopic, "p-inherits", "retention.ms=604800000"), describeConfigs(resourceTopic, "p-inherits", 4, "retention.ms"), askOf(1, alter(resourceBroker, "1", set, "node.id", ptr("5"))), askOf(1, alter(resourceBroker, "1", set, "no.such", ptr("5"))),
			askOf(1, alter(resourceBroker, "1", remove, "no.such", nil)), // or it is there in what tools describe later
			askOf(1, alter(resourceBroker, "", set, "num.network.threads", ptr("x")))}},
	}
}

// describeConfigs lists the configs asked for, a line each, sorted.
func describeConfigs(kind kmsg.ConfigResourceType, name string, version int16, keys ...string) step {
	return func(_ *broker, c *conn) (string, error) {
		r := kmsg.NewPtrDescribeConfigsRequest()
		resource := kmsg.NewDescribeConfigsRequestResource()
		resource.ResourceType, resource.ResourceName, resource.ConfigNames = kind, name, keys
		r.Resources, r.IncludeSynonyms = append(r.Resources, resource), true
		response, err := c.request(r, version)
		if err != nil {
			return "", err
		}
		var lines []string
		for _, res := range response.(*kmsg.DescribeConfigsResponse).Resources {
			lines = append(lines, fmt.Sprintf("resource %d %s: code %d", res.ResourceType, res.ResourceName, res.ErrorCode))
			for _, k := range res.Configs {
				line := fmt.Sprintf("%s=%s readonly=%t source=%d sensitive=%t type=%d", k.Name, text(k.Value), k.ReadOnly, k.Source, k.IsSensitive, k.ConfigType)
				for _, s := range k.ConfigSynonyms {
					line += fmt.Sprintf(" %s=%s(%d)", s.Name, text(s.Value), s.Source)
				}
				lines = append(lines, line)
			}
		}
		slices.Sort(lines)
		return strings.Join(lines, "\n") + "\n", nil
	}
}

// settled returns when the configs show the setting: Apache Kafka's brokers apply a change a
// moment after its answer.
func settled(kind kmsg.ConfigResourceType, name, setting string) step {
	return func(b *broker, c *conn) (string, error) {
		deadline := time.Now().Add(5 * time.Second)
		for {
			all, err := describeConfigs(kind, name, 4)(b, c)
			if err != nil || strings.Contains(all, "\n"+setting+" ") || time.Now().After(deadline) {
				return "settled\n", err
			}
		}
	}
}

func text(s *string) string {
	if s == nil {
		return "null"
	}
	return *s
}

func alter(kind kmsg.ConfigResourceType, resource string, op kmsg.IncrementalAlterConfigOp, name string, value *string) *kmsg.IncrementalAlterConfigsRequest {
	r := kmsg.NewPtrIncrementalAlterConfigsRequest()
	res := kmsg.NewIncrementalAlterConfigsRequestResource()
	res.ResourceType, res.ResourceName = kind, resource
	res.Configs = []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: name, Op: op, Value: value}}
	r.Resources = append(r.Resources, res)
	return r
}

func alterAll(topic, name, value string) *kmsg.AlterConfigsRequest {
	r := kmsg.NewPtrAlterConfigsRequest()
	res := kmsg.NewAlterConfigsRequestResource()
	res.ResourceType, res.ResourceName = resourceTopic, topic
	res.Configs = []kmsg.AlterConfigsRequestResourceConfig{{Name: name, Value: &value}}
	r.Resources = append(r.Resources, res)
	return r
}
