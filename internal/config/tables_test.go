package config

import (
	"reflect"
	"strconv"
	"strings"
	"testing"
)

func TestRowsAreSound(t *testing.T) {
	t.Parallel()
	for _, defs := range [][]*Def{TopicDefs(), BrokerDefs(), GroupDefs(), ClientMetricsDefs()} {
		for _, d := range defs {
			if !d.NullDefault {
				if v, err := d.Parse(d.Default); err != nil && d.Default != "" || err == nil && v.Text != d.Default {
					t.Errorf("%s: default %q becomes %q, %v", d.Name, d.Default, v.Text, err)
				}
			}
			if d.Doc == "" || !strings.HasSuffix(d.Doc, ".") {
				t.Errorf("%s is not explained: %q", d.Name, d.Doc)
			}
		}
	}
	if len(TopicDefs()) != 34 || len(BrokerDefs()) < 360 {
		t.Errorf("%d topic and %d broker configs", len(TopicDefs()), len(BrokerDefs()))
	}
	for name, synonyms := range topicSynonyms {
		d, ok := TopicDef(name)
		if !ok {
			t.Fatalf("topic config %s has synonyms and no row", name)
		}
		for _, s := range synonyms {
			if broker, ok := BrokerDef(s.name); !ok || s.multiplier == 0 && broker.Type != d.Type {
				t.Errorf("%s falls back to %s, of another type", name, s.name)
			}
		}
	}
}

// otherValues are valid values that are no defaults, for rows whose type does not give one.
var otherValues = map[string]string{
	"advertised.listeners":                     "PLAINTEXT://elsewhere:1",
	"broker.rack":                              "r2",
	"controller.listener.names":                "CONTROLLER",
	"controller.quorum.bootstrap.servers":      "localhost:9093",
	"controller.quorum.voters":                 "1@localhost:9093",
	"cleanup.policy":                           "compact",
	"cluster.id":                               "another",
	"cordoned.log.dirs":                        "*",
	"compression.type":                         "zstd",
	"client.metrics.export.enable":             "true",
	"http.listen":                              "",
	"inter.broker.listener.name":               "plaintext",
	"listener.security.protocol.map":           "PLAINTEXT:SSL",
	"listeners":                                "PLAINTEXT://:9999",
	"log.cleanup.policy":                       "compact",
	"moldau.balancer.mode":                     "off",
	"log.dir":                                  "/other",
	"log.dirs":                                 "/a,/b",
	"log.message.timestamp.type":               "LogAppendTime",
	"max.connections.per.ip.overrides":         "127.0.0.1:5",
	"message.timestamp.type":                   "LogAppendTime",
	"metadata.log.dir":                         "/meta",
	"process.roles":                            "broker",
	"queued.max.request.bytes":                 "500000000",
	"replica.selector.class":                   "org.apache.kafka.common.replica.RackAwareReplicaSelector",
	"security.inter.broker.protocol":           "SSL",
	"log.retention.ms":                         "5",
	"log.retention.minutes":                    "5",
	"log.flush.interval.ms":                    "5",
	"log.roll.ms":                              "5",
	"log.cleaner.delete.retention.ms":          "5",
	"log.cleaner.min.compaction.lag.ms":        "5",
	"log.cleaner.max.compaction.lag.ms":        "5",
	"log.cleaner.min.cleanable.ratio":          "0.25",
	"log.cleaner.io.buffer.load.factor":        "0.25",
	"log.cleaner.io.max.bytes.per.second":      "5.0",
	"log.roll.jitter.ms":                       "5",
	"compression.gzip.level":                   "5",
	"compression.lz4.level":                    "5",
	"group.consumer.min.session.timeout.ms":    "44999",
	"group.consumer.min.heartbeat.interval.ms": "4999",
	"group.share.min.session.timeout.ms":       "44999",
	"group.share.min.heartbeat.interval.ms":    "4999",
	"group.streams.min.session.timeout.ms":     "44999",
	"group.streams.min.heartbeat.interval.ms":  "4999",
	"node.id":   "5",
	"broker.id": "5",
}

func otherValue(d *Def) string {
	if other, ok := otherValues[d.Name]; ok {
		return other
	}
	switch d.Type {
	case Bool:
		return map[string]string{"true": "false", "false": "true"}[d.Default]
	case Int, Short, Long:
		v, _ := d.Parse(d.Default)
		for _, delta := range []int64{1, -1} {
			text := strconv.FormatInt(v.Int+delta, 10)
			if _, err := d.Parse(text); err == nil {
				return text
			}
		}
	}
	return ""
}

// Usage is a promise to the operator: a used config changes something, others nothing.
func TestUsageIsTrue(t *testing.T) {
	t.Parallel()
	effect := func(properties map[string]string) any {
		b, _, err := NewBroker(properties)
		if err != nil {
			return err.Error()
		}
		layers := Layers{Static: b}
		topic, unclean := layers.Topic(nil), layers.UncleanElections(nil)
		without := *b
		without.given = nil
		return []any{without, topic, unclean}
	}
	plain := effect(nil)
	for _, d := range BrokerDefs() {
		other := otherValue(d)
		if other == "" && d.Name != "http.listen" || d.Usage == DynamicOnly {
			if d.Usage == Used {
				t.Errorf("no other value for %s", d.Name)
			}
			continue
		}
		changes := !reflect.DeepEqual(effect(map[string]string{d.Name: other}), plain)
		switch d.Name {
		case "inter.broker.listener.name":
			changes = true // there is only one listener to name
		}
		if changes != (d.Usage == Used) {
			t.Errorf("%s=%s: usage is %d, and it has an effect: %t", d.Name, other, d.Usage, changes)
		}
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"num.partition":       "num.partitions",
		"log.dris":            "log.dirs",
		"advertised.listener": "advertised.listeners",
		"something.else":      "",
		"":                    "",
	} {
		if got := nearest(name, BrokerDefs()); got != want {
			t.Errorf("nearest to %q is %q, want %q", name, got, want)
		}
	}
}

func TestListenerConfigsHaveTheRowOfTheirBase(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"listener.name.external.ssl.keystore.password":       "ssl.keystore.password",
		"listener.name.external.plain.sasl.jaas.config":      "sasl.jaas.config",
		"listener.name.external.max.connections":             "max.connections",
		"listener.name.external.something.that.nobody.knows": "",
		"ssl.nothing": "",
	} {
		d, ok := BrokerDef(name)
		if ok != (want != "") || ok && d.Name != want {
			t.Errorf("%s has the row %+v", name, d)
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, raw, text, allowed string
	}{
		{"preallocate", "TRUE", "true", ""},
		{"preallocate", "yes", "", "true or false"},
		{"segment.bytes", " 1048576 ", "1048576", ""},
		{"segment.bytes", "1048575", "", "at least 1048576"},
		{"segment.bytes", "2147483648", "", "32 bits"},
		{"retention.ms", "-1", "-1", ""},
		{"retention.ms", "-2", "", "at least -1"},
		{"retention.ms", "1.5", "", "64 bits"},
		{"retention.ms", "", "", "64 bits"},
		{"min.cleanable.dirty.ratio", "1e-5", "1.0E-5", ""},
		{"min.cleanable.dirty.ratio", ".25", "0.25", ""},
		{"min.cleanable.dirty.ratio", "1", "1.0", ""},
		{"min.cleanable.dirty.ratio", "1.1", "", "from 0 to 1"},
		{"min.cleanable.dirty.ratio", "NaN", "", "a number"},
		{"cleanup.policy", "compact, delete", "compact,delete", ""},
		{"cleanup.policy", "", "", ""},
		{"cleanup.policy", "compact,compact", "compact", ""}, // as Kafka since KIP-1161
		{"cleanup.policy", "erase", "", "compact, delete"},
		{"compression.type", "lz5", "", "one of uncompressed"},
		{"compression.gzip.level", "0", "", "-1 or"},
		{"compression.gzip.level", "-1", "-1", ""},
		{"compression.zstd.level", "-131072", "-131072", ""},
		{"leader.replication.throttled.replicas", "*", "*", ""},
		{"leader.replication.throttled.replicas", "0:1,1:2", "0:1,1:2", ""},
		{"leader.replication.throttled.replicas", "0:1,x", "", "partition:broker"},
	}
	for _, test := range tests {
		d, ok := TopicDef(test.name)
		if !ok {
			t.Fatal(test.name)
		}
		v, err := d.Parse(test.raw)
		switch {
		case test.allowed == "" && (err != nil || v.Text != test.text):
			t.Errorf("%s=%q is %q, %v", test.name, test.raw, v.Text, err)
		case test.allowed != "" && (err == nil || !strings.Contains(err.Error(), test.allowed) || !strings.Contains(err.Error(), test.name)):
			t.Errorf("%s=%q: %v, want %q", test.name, test.raw, err, test.allowed)
		}
	}
}

func TestPasswordsAreNeverPrinted(t *testing.T) {
	t.Parallel()
	d := &Def{Name: "x.password", Type: Password, Valid: nonEmptyListOf()}
	if _, err := d.Parse("hunter2"); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error is %v", err)
	}
	b, _, err := NewBroker(map[string]string{"ssl.key.password": "hunter2", "listener.name.x.ssl.key.password": "hunter2", "listener.name.x.plugin.token": "hunter2"})
	if err != nil {
		t.Fatal(err)
	}
	l := Layers{Static: b, DynamicDefault: map[string]string{"listener.name.x.ssl.key.password": "hunter2"}}
	for _, e := range append(l.DescribeBroker(1), l.DescribeBrokerDefaults()...) {
		if strings.Contains(lineOf(e), "hunter2") {
			t.Errorf("described as %s", lineOf(e))
		}
	}
}
