package config

import (
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/kafka"
)

func layers(t *testing.T, static string) Layers {
	t.Helper()
	b, _, err := NewBroker(fields(static))
	if err != nil {
		t.Fatal(err)
	}
	return Layers{Static: b}
}

func TestTopicFallsBackToTheBroker(t *testing.T) {
	t.Parallel()
	tests := []struct {
		static, dynamicDefault, dynamicBroker, topic string
		got                                          func(TopicConfig) int64
		want                                         int64
	}{
		{"", "", "", "", func(c TopicConfig) int64 { return c.RetentionMs }, 168 * hourMs},
		{"log.retention.hours=1", "", "", "", func(c TopicConfig) int64 { return c.RetentionMs }, hourMs},
		{"log.retention.hours=-1", "", "", "", func(c TopicConfig) int64 { return c.RetentionMs }, -1},
		{"log.retention.hours=1 log.retention.minutes=2", "", "", "", func(c TopicConfig) int64 { return c.RetentionMs }, 2 * minuteMs},
		{"log.retention.hours=1 log.retention.minutes=2 log.retention.ms=3", "", "", "", func(c TopicConfig) int64 { return c.RetentionMs }, 3},
		{"log.retention.ms=3", "log.retention.ms=4", "", "", func(c TopicConfig) int64 { return c.RetentionMs }, 4},
		{"log.retention.ms=3", "log.retention.ms=4", "log.retention.ms=5", "", func(c TopicConfig) int64 { return c.RetentionMs }, 5},
		{"log.retention.ms=3", "log.retention.ms=4", "log.retention.ms=5", "retention.ms=6", func(c TopicConfig) int64 { return c.RetentionMs }, 6},
		{"log.retention.ms=3", "log.retention.ms=junk log.retention.hours=9 unknown=1", "", "", func(c TopicConfig) int64 { return c.RetentionMs }, 3},
		{"log.roll.hours=2", "", "", "", func(c TopicConfig) int64 { return c.SegmentMs }, 2 * hourMs},
		{"log.roll.jitter.hours=2", "", "", "", func(c TopicConfig) int64 { return c.SegmentJitterMs }, 2 * hourMs},
		{"log.flush.scheduler.interval.ms=7", "", "", "", func(c TopicConfig) int64 { return c.FlushMs }, 7},
		{"log.flush.scheduler.interval.ms=7 log.flush.interval.ms=8", "", "", "", func(c TopicConfig) int64 { return c.FlushMs }, 8},
		{"message.max.bytes=9", "", "", "", func(c TopicConfig) int64 { return int64(c.MaxMessageBytes) }, 9},
		{"", "", "", "internal.segment.bytes=100", func(c TopicConfig) int64 { return int64(c.SegmentBytes) }, 100},
		{"", "", "", "segment.bytes=1048576", func(c TopicConfig) int64 { return int64(c.SegmentBytes) }, 1 << 20},
	}
	for _, test := range tests {
		l := layers(t, test.static)
		l.DynamicDefault, l.DynamicBroker = fields(test.dynamicDefault), fields(test.dynamicBroker)
		if got := test.got(l.Topic(fields(test.topic))); got != test.want {
			t.Errorf("%+v: %d", test, got)
		}
	}
	both := layers(t, "log.cleanup.policy=compact,delete").Topic(nil)
	none := layers(t, "").Topic(map[string]string{"cleanup.policy": ""})
	if !both.Compact || !both.Delete || none.Compact || none.Delete {
		t.Errorf("policies are %+v, %+v", both, none)
	}
}

// TestReplicationFactorsFollowTheBrokers: where nobody has set them they are shown as topics get them.
func TestReplicationFactorsFollowTheBrokers(t *testing.T) {
	t.Parallel()
	for static, want := range map[string]map[int]string{
		"":                             {1: "1", 2: "2", 3: "3", 7: "3"},
		"default.replication.factor=2": {1: "2", 2: "2", 3: "2", 7: "2"},
	} {
		for brokers, value := range want {
			for _, e := range layers(t, static).DescribeBroker(brokers) {
				if e.Name == "default.replication.factor" && (*e.Value != value || *e.Synonyms[0].Value != value || (e.Source == kafka.ConfigSourceDefault) != (static == "")) {
					t.Errorf("%q, %d brokers: %q from %v, %v", static, brokers, *e.Value, e.Source, e.Synonyms)
				}
			}
		}
	}
	for brokers, value := range map[int]string{1: "3", 2: "2", 3: "3", 7: "3"} { // one that is alone shows Kafka's
		for _, e := range layers(t, "").DescribeBroker(brokers) {
			if (e.Name == "offsets.topic.replication.factor" || e.Name == "transaction.state.log.replication.factor") && *e.Value != value {
				t.Errorf("%d brokers: %s is %q", brokers, e.Name, *e.Value)
			}
		}
	}
}

func TestCurrentHasTheDynamicValues(t *testing.T) {
	t.Parallel()
	l := layers(t, "max.connections=5")
	l.DynamicDefault = map[string]string{"max.connections": "6", "num.partitions": "9"}
	b, err := l.Current()
	if err != nil {
		t.Fatal(err)
	}
	if b.MaxConnections != 6 || b.NumPartitions != 1 || l.Static.MaxConnections != 5 || b.Explicit("num.partitions") {
		t.Errorf("%d connections, %d partitions", b.MaxConnections, b.NumPartitions)
	}
}

func TestValidateTopicConfigs(t *testing.T) {
	t.Parallel()
	l := layers(t, "log.cleaner.min.compaction.lag.ms=10")
	for text, want := range map[string]string{
		"":                         "",
		"retention.ms=-1":          "",
		"cleanup.policy=compact":   "",
		"segment.bytes=1048576":    "",
		"internal.segment.bytes=1": "",
		"retention.mss=1":          "Unknown topic config name: retention.mss (did you mean retention.ms?)",
		"log.retention.ms=1":       "Unknown topic config name",
		"segment.bytes=1048575":    "Invalid value 1048575 for configuration segment.bytes: at least 1048576 is required",
		"max.compaction.lag.ms=5":  "min.compaction.lag.ms (10) must not exceed max.compaction.lag.ms (5)",
		"min.compaction.lag.ms=3 max.compaction.lag.ms=2": "must not exceed",
		"remote.storage.enable=true":                      "tiered storage",
	} {
		err := l.ValidateTopicConfigs(nil, fields(text))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || kafka.CodeOf(err) != kafka.ErrInvalidConfig) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestTieredStorageIsNotTurnedOffByAccident(t *testing.T) {
	t.Parallel()
	l, on := layers(t, ""), fields("remote.storage.enable=true")
	if err := l.ValidateTopicConfigs(on, fields("remote.storage.enable=true retention.ms=5")); err != nil {
		t.Errorf("a topic that has it already: %v", err)
	}
	if err := l.ValidateTopicConfigs(on, nil); err == nil {
		t.Error("turned off without a word on the remote data")
	}
	if err := l.ValidateTopicConfigs(on, fields("remote.log.delete.on.disable=true")); err != nil {
		t.Error(err)
	}
}

func TestValidateBrokerConfigs(t *testing.T) {
	t.Parallel()
	l := layers(t, "socket.request.max.bytes=1000")
	tests := []struct {
		text      string
		perBroker bool
		want      string
	}{
		{"", true, ""},
		{"log.retention.ms=1 message.max.bytes=5", false, ""},
		{"log.retention.ms=0", false, "at least 1, or -1"},
		{"message.max.bytes=-1", false, "at least 0"},
		{"num.partitions=3", true, "Cannot update these configs dynamically: num.partitions"},
		{"listeners=PLAINTEXT://:1", true, ""},
		{"advertised.listeners=PLAINTEXT://h:1", true, "Cannot update these configs dynamically: advertised.listeners"},
		{"cordoned.log.dirs=*", true, ""},
		{"cordoned.log.dirs=/a", true, "one of log.dirs"},
		{"num.io.threads=16", true, ""},
		{"num.io.threads=17", true, "double"},
		{"num.io.threads=3", true, "half"},
		{"max.connections=0", true, "at least 1"},
		{"log.local.retention.ms=-1", true, "log.retention.ms (604800000)"},
		{"log.retention.ms=-5", true, ""},
		{"cordoned.log.dirs=/a", false, "broker id must be specified"},
		{"message.max.byte=1", false, "did you mean message.max.bytes?"},
		{"ssl.keystore.type=PEM", true, "only for one listener"},
		{"listener.name.x.ssl.keystore.type=PEM", true, ""},
		{"listener.name.x.some.plugin=1", true, ""},
		{"leader.replication.throttled.rate=5", true, ""},
		{"log.cleaner.min.compaction.lag.ms=2 log.cleaner.max.compaction.lag.ms=1", false, "log.cleaner.min.compaction.lag.ms"},
	}
	for _, test := range tests {
		err := l.ValidateBrokerConfigs(fields(test.text), test.perBroker)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || kafka.CodeOf(err) != kafka.ErrInvalidRequest) {
			t.Errorf("%q: %v, want %q", test.text, err, test.want)
		}
	}
}
