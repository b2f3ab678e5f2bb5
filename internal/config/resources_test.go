package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/moldau/moldau/internal/kafka"
)

// What was set when Apache Kafka was asked for the golden files of groups and client metrics.
var (
	goldenGroup = map[string]string{"consumer.session.timeout.ms": " 50000 ", "share.auto.offset.reset": "by_duration:P1DT2H", "share.renew.acknowledge.enable": "FALSE",
		"consumer.assignment.interval.ms": "3000", "streams.num.standby.replicas": "1"}
	goldenGroupDefault  = map[string]string{"group.consumer.assignment.interval.ms": "2000", "group.streams.assignment.interval.ms": "2500"}
	goldenClientMetrics = map[string]string{"metrics": "org.apache.kafka.producer., org.apache.kafka.consumer.,org.apache.kafka.producer.", "interval.ms": "1000",
		"match": "client_id=a.*,client_software_name=.*"}
)

func TestGroupsAndClientMetricsAreDescribedAsByKafka(t *testing.T) {
	t.Parallel()
	compare(t, "group-plain.tsv", Layers{Static: goldenStatic(t)}.DescribeGroup(nil))
	compare(t, "group-set.tsv", Layers{Static: goldenStatic(t), DynamicDefault: goldenGroupDefault}.DescribeGroup(goldenGroup))
	compare(t, "client-metrics-plain.tsv", DescribeClientMetrics(nil))
	compare(t, "client-metrics-set.tsv", DescribeClientMetrics(goldenClientMetrics))
}

func TestGroupRowsFitTheirBrokerConfigs(t *testing.T) {
	t.Parallel()
	for _, d := range GroupDefs() {
		synonym, ok := groupSynonyms[d.Name]
		if !ok {
			continue
		}
		if broker := brokerDefs[synonym]; broker == nil || broker.Type != d.Type || broker.Default != d.Default {
			t.Errorf("%s falls back to %s, of another type or default", d.Name, synonym)
		}
	}
	for _, b := range groupBounds {
		if groupDefs[b.name] == nil || b.low != "" && brokerDefs[b.low] == nil || brokerDefs[b.high] == nil {
			t.Errorf("bounds of %s name no config", b.name)
		}
	}
}

// refusals are configs and the code with which Apache Kafka refuses them, 0 where it does not.
type refusal struct {
	configs map[string]string
	code    kafka.ErrorCode
}

func one(name, value string) map[string]string { return map[string]string{name: value} }

func checkRefusals(t *testing.T, tests []refusal, validate func(map[string]string) error) {
	t.Helper()
	for _, test := range tests {
		var code kafka.ErrorCode
		if err := validate(test.configs); err != nil {
			if code = kafka.CodeOf(err); err.Error() == "" {
				t.Errorf("%v is refused without a word", test.configs)
			}
		}
		if code != test.code {
			t.Errorf("%v: code %d, want %d", test.configs, code, test.code)
		}
	}
}

func TestGroupConfigsAreBounded(t *testing.T) {
	t.Parallel()
	const invalid = kafka.ErrInvalidConfig
	tests := []refusal{
		{nil, 0}, {goldenGroup, 0},
		{one("no.such", "1"), invalid}, {one("group.consumer.session.timeout.ms", "50000"), invalid}, {one("share.session.timeout.ms", "x"), invalid},
		{one("consumer.session.timeout.ms", "5000"), invalid},
		{map[string]string{"consumer.heartbeat.interval.ms": "15000", "consumer.session.timeout.ms": "60000"}, 0},
	}
	// Each bound of the broker is one of the group.
	for _, b := range groupBounds {
		if b.low != "" && brokerDefs[b.low].Default != "0" {
			tests = append(tests, refusal{one(b.name, brokerDefs[b.low].Default), 0}, refusal{one(b.name, step(b.low, -1)), invalid})
		}
		tests = append(tests, refusal{one(b.name, brokerDefs[b.high].Default), 0}, refusal{one(b.name, step(b.high, 1)), invalid})
	}
	for _, reset := range []string{"earliest", "latest", "by_duration:PT0S", "by_duration:p1dt2h3m4.5s", "by_duration:PT-1M+90S", "by_duration:-PT-5S", "by_duration:P0D"} {
		tests = append(tests, refusal{one("share.auto.offset.reset", reset), 0})
	}
	for _, reset := range []string{"none", "LATEST", "", "by_duration", "by_duration:", "by_duration:P", "by_duration:PT", "by_duration:P1DT", "by_duration:-PT5S", "by_duration:PT-0.1S",
		"by_duration:P1Y", "by_duration:1D", "by_duration:PT1.0000000001S", "by_duration:P99999999999999999999D", "by_duration:P9223372036854775807D"} {
		tests = append(tests, refusal{one("share.auto.offset.reset", reset), invalid})
	}
	checkRefusals(t, tests, Layers{Static: goldenStatic(t)}.ValidateGroupConfigs)
}

func step(broker string, by int64) string {
	d := brokerDefs[broker]
	v, _ := d.Parse(d.Default)
	return fmt.Sprint(v.Int + by)
}

// A broker config that groups fall back to must be one that a group could have.
func TestGroupDefaultsAreBounded(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{"group.consumer.session.timeout.ms": "44999", "group.share.heartbeat.interval.ms": "15001", "group.streams.num.standby.replicas": "3",
		"group.consumer.max.session.timeout.ms": "30000"} {
		_, _, err := NewBroker(one(name, value))
		if invalid, ok := errors.AsType[*ValueError](err); !ok || invalid.Allowed == "" {
			t.Errorf("%s=%s: %v", name, value, err)
		}
	}
	_, _, err := NewBroker(map[string]string{"group.share.min.session.timeout.ms": "5000", "group.share.session.timeout.ms": "5000"})
	if invalid, ok := errors.AsType[*ValueError](err); !ok || invalid.Name != "group.share.heartbeat.interval.ms" {
		t.Errorf("a session as short as the interval of heartbeats: %v", err)
	}
	static := goldenStatic(t)
	if err := (Layers{Static: static}).ValidateBrokerConfigs(one("group.consumer.assignment.interval.ms", "15001"), false); kafka.CodeOf(err) != kafka.ErrInvalidRequest {
		t.Errorf("a dynamic default beyond its bound: %v", err)
	}
}

func TestClientMetricsConfigsAreChecked(t *testing.T) {
	t.Parallel()
	const invalid = kafka.ErrInvalidConfig
	checkRefusals(t, []refusal{
		{nil, 0}, {goldenClientMetrics, 0},
		{one("no.such", "1"), kafka.ErrInvalidRequest}, {one("Interval.ms", "1000"), kafka.ErrInvalidRequest},
		{one("interval.ms", "100"), 0}, {one("interval.ms", "3600000"), 0}, {one("interval.ms", "99"), kafka.ErrInvalidRequest}, {one("interval.ms", "3600001"), kafka.ErrInvalidRequest},
		{one("interval.ms", "soon"), invalid}, {one("interval.ms", ""), invalid}, {one("metrics", ""), 0}, {one("metrics", "*"), 0}, {one("metrics", "a,,b"), invalid},
		{one("match", ""), 0}, {one("match", "client_id"), invalid}, {one("match", "client_id="), invalid}, {one("match", "client_id=a=b"), invalid}, {one("match", "client_id=a=="), 0},
		{one("match", "somebody=.*"), invalid}, {one("match", "client_id=["), invalid}, {one("match", "client_id=a)|(b"), invalid}, {one("match", "client_source_port = 90[0-9]+"), 0},
	}, ValidateClientMetricsConfigs)
}

func TestSubscriptionMatchesWholeValues(t *testing.T) {
	t.Parallel()
	s, err := NewClientMetricsSubscription(map[string]string{"match": "client_id=b,client_software_name = ignored,client_id=a.*|c", "metrics": "*", "interval.ms": "5000"})
	if err != nil || s.IntervalMs != 5000 || !slices.Equal(s.Metrics, []string{AllClientMetrics}) || len(s.Match) != 2 {
		t.Fatalf("%+v, %v", s, err)
	}
	id := s.Match[slices.IndexFunc(s.Match, func(m ClientMatch) bool { return m.Selector == SelectorClientID })].Pattern
	got := map[string]bool{}
	for _, name := range []string{"a", "ab", "c", "b", "cc", "xa", "a\nb"} {
		got[name] = id.MatchString(name)
	}
	if want := map[string]bool{"a": true, "ab": true, "c": true, "b": false, "cc": false, "xa": false, "a\nb": false}; !maps.Equal(got, want) {
		t.Errorf("matches %v", got)
	}
	if _, err := NewClientMetricsSubscription(one("match", "client_id=[")); err == nil {
		t.Error("a match that is not valid lets everybody in")
	}
}
