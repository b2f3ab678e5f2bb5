package config

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// The files in testdata/kafka-4.3.1 are what Apache Kafka answered to DescribeConfigs with
// these static properties and, in those called "set", these dynamic values.
var (
	goldenBroker  = map[string]string{"log.cleaner.threads": "2", "message.max.bytes": "2000000"}
	goldenDefault = map[string]string{"log.retention.ms": "86400000", "message.max.bytes": "3000000", "log.cleaner.threads": "3", "min.insync.replicas": "1"}
	goldenTopic   = map[string]string{"retention.ms": "1000000", "cleanup.policy": "compact,delete", "min.cleanable.dirty.ratio": "0.0001", "preallocate": "TRUE"}
)

// different are the lines in which Moldau means to differ, by config.
var different = map[string]string{
	"cluster.id":        "Moldau's own",
	"log.reserve.bytes": "Moldau's own",

	"moldau.balancer.concurrent.partitions":  "Moldau's own",
	"moldau.balancer.copy.bytes.per.second":  "Moldau's own",
	"moldau.balancer.dead.broker.timeout.ms": "Moldau's own",
	"moldau.balancer.disk.limit.percent":     "Moldau's own",
	"moldau.balancer.mode":                   "Moldau's own",
	"moldau.balancer.tolerance.percent":      "Moldau's own",

	"client.metrics.export.enable": "Moldau's own",
	"http.listen":                  "Moldau's own",
	"listeners":                    "another default",
	"broker.id":                    "follows node.id where neither is given",
	"node.id":                      "has a default",
	"process.roles":                "has a default",
	"controller.listener.names":    "has a default",
	"log.dir":                      "another default",
}

func golden(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile("testdata/kafka-4.3.1/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func goldenStatic(t *testing.T) *Broker {
	t.Helper()
	properties, err := ParseProperties(strings.NewReader(golden(t, "server.properties")))
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := NewBroker(properties)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func quoted(s *string) string {
	if s == nil {
		return "null"
	}
	return strconv.Quote(*s)
}

func lineOf(e Entry) string {
	line := fmt.Sprintf("%s\t%d\t%s\t%d\t%t\t%t", e.Name, e.Type, quoted(e.Value), e.Source, e.ReadOnly, e.Sensitive)
	for _, s := range e.Synonyms {
		line += fmt.Sprintf("\t%s=%s@%d", s.Name, quoted(s.Value), s.Source)
	}
	return line
}

func compare(t *testing.T, file string, entries []Entry) {
	t.Helper()
	got := map[string]string{}
	last := ""
	for _, e := range entries {
		if e.Name <= last {
			t.Errorf("%s comes after %s", e.Name, last)
		}
		last = e.Name
		got[e.Name] = lineOf(e)
	}
	for line := range strings.Lines(golden(t, file)) {
		line = strings.TrimSuffix(line, "\n")
		name, _, _ := strings.Cut(line, "\t")
		if got[name] != line && different[name] == "" {
			t.Errorf("%s:\n Moldau %s\n Kafka  %s", file, got[name], line)
		}
		delete(got, name)
	}
	for name := range got {
		if different[name] == "" {
			t.Errorf("%s: Kafka does not have %s", file, name)
		}
	}
}

func TestDescribeIsKafkas(t *testing.T) {
	t.Parallel()
	fresh := Layers{Static: goldenStatic(t), DynamicDefault: map[string]string{"min.insync.replicas": "1"}}
	set := Layers{Static: goldenStatic(t), DynamicBroker: goldenBroker, DynamicDefault: goldenDefault}
	compare(t, "topic-plain.tsv", fresh.DescribeTopic(nil, 1))
	compare(t, "broker.tsv", fresh.DescribeBroker(1))
	compare(t, "topic-set.tsv", set.DescribeTopic(goldenTopic, 1))
	compare(t, "broker-set.tsv", set.DescribeBroker(1))
	compare(t, "defaults.tsv", set.DescribeBrokerDefaults())
}
