package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestNothingGivenIsEnough(t *testing.T) {
	t.Parallel()
	b, w, err := NewBroker(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []Listener{{"PLAINTEXT", "PLAINTEXT", "localhost", 9092}}
	if b.NodeID != 1 || !reflect.DeepEqual(b.Listeners, want) || !reflect.DeepEqual(b.AdvertisedListeners, want) || b.HTTPListen != "localhost:9080" ||
		b.InterBrokerListener != "PLAINTEXT" || len(b.LogDirs) != 1 || b.MetadataLogDir != b.LogDirs[0] || len(w.Unused) != 0 || b.Rack != nil {
		t.Errorf("%+v, %+v", b, w)
	}
	if b.Explicit("default.replication.factor") || b.OffsetsTopicReplicationFactor != 3 {
		t.Error("the replication factor of offsets is explicit or not 3")
	}
}

// The stock server.properties of Apache Kafka 4.3.
func TestKafkasOwnPropertiesStart(t *testing.T) {
	t.Parallel()
	b := goldenStatic(t)
	if !reflect.DeepEqual(b.Listeners, []Listener{{"PLAINTEXT", "PLAINTEXT", "localhost", 24094}}) ||
		!reflect.DeepEqual(b.ControllerListeners, []Listener{{"CONTROLLER", "PLAINTEXT", "localhost", 24095}}) ||
		!reflect.DeepEqual(b.AdvertisedControllerListeners, b.ControllerListeners) ||
		len(b.AdvertisedListeners) != 1 || b.OffsetsTopicReplicationFactor != 1 || !b.Explicit("offsets.topic.replication.factor") {
		t.Errorf("%+v", b)
	}
	properties, err := ParseProperties(strings.NewReader(golden(t, "server.properties")))
	if err != nil {
		t.Fatal(err)
	}
	_, w, err := NewBroker(properties)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(w.Unused, " ")
	for _, name := range []string{"num.network.threads", "ssl.keystore.password"} {
		if !strings.Contains(got, name) {
			t.Errorf("%s is not among the unused: %s", name, got)
		}
	}
	if b.IsClustered() {
		t.Error("a file for one node asks for several")
	}
	if strings.Contains(got, "log.dirs") || strings.Contains(got, "secret") {
		t.Errorf("unused are %s", got)
	}
}

func TestNewBrokerRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		properties string // name=value, separated by blanks
		want       string
	}{
		{"num.partition=3", "Unknown broker config name: num.partition (did you mean num.partitions?)"},
		{"confluent.balancer.enable=true", "Unknown broker config name: confluent.balancer.enable"},
		{"leader.replication.throttled.rate=5", "Unknown broker config name"},
		{"num.partitions=0", "Invalid value 0 for configuration num.partitions: at least 1 is required"},
		{"num.partitions=many", "a whole number of 32 bits is required"},
		{"node.id=-1", "at least 0"},
		{"broker.id=-1", "at least 0"},
		{"node.id=1 broker.id=2", "must be the same"},
		{"process.roles=broker", "needs controller.quorum.voters"},
		{"process.roles=broker,broker", "needs controller.quorum.voters"},
		{"process.roles=zookeeper", "process.roles"},
		{"listeners=", "not empty"},
		{"listeners=localhost:9092", "NAME://host:port"},
		{"listeners=PLAINTEXT://localhost", "NAME://host:port"},
		{"listeners=PLAINTEXT://localhost:99999", "a port from 0 to 65535"},
		{"listeners=PLAINTEXT://:1,plaintext://:2", "given twice"},
		{"listeners=A://:1", "must give a security protocol for A"},
		{"listeners=SSL://:1", "SSL is not supported yet"},
		{"listeners=A://:1 listener.security.protocol.map=A:SASL_SSL", "SASL_SSL is not supported yet"},
		{"listener.security.protocol.map=A", "NAME:PROTOCOL"},
		{"listener.security.protocol.map=A:TLS", "NAME:PROTOCOL"},
		{"listener.security.protocol.map=A:SSL,a:SSL", "must be given once"},
		{"listeners=A://:1,B://:1 listener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT", "a port of its own"},
		{"listeners=A://1.2.3.4:1,B://5.6.7.8:1 listener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT", "a port of its own"},
		{"controller.listener.names=C", "each must be one of listeners"},
		{"controller.listener.names=PLAINTEXT", "must not be in controller.listener.names"},
		{"advertised.listeners=B://h:1", "must give a security protocol for B"},
		{"advertised.listeners=SSL://h:1", "the name of one of listeners"},
		{"listeners=PLAINTEXT://0.0.0.0:1", "clients can connect to"},
		{"advertised.listeners=PLAINTEXT://0.0.0.0:1", "clients can connect to"},
		{"inter.broker.listener.name=X", "one of advertised.listeners"},
		{"inter.broker.listener.name=PLAINTEXT security.inter.broker.protocol=PLAINTEXT", "only one may be"},
		{"security.inter.broker.protocol=SSL", "one of advertised.listeners"},
		{"controller.quorum.voters=2@a:1", "a controller must be among the voters, this one as 1@host:port"},
		{"advertised.listeners=C://:3 listeners=PLAINTEXT://:1,C://:2 controller.listener.names=C", "at least one must not be in controller.listener.names"},
		{"authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "authorization is not supported yet"},
		{"log.retention.ms=0", "at least 1, or -1"},
		{"log.retention.hours=0", "at least 1, or -1"},
		{"log.cleaner.dedupe.buffer.size=1048576", "more than 1 MiB"},
		{"cordoned.log.dirs=/not/there", "one of log.dirs"},
		{"log.roll.ms=0", "log.roll.ms"},
		{"log.roll.jitter.ms=-1", "log.roll.jitter.ms"},
		{"log.cleaner.min.compaction.lag.ms=2 log.cleaner.max.compaction.lag.ms=1", "min.compaction.lag.ms"},
		{"queued.max.request.bytes=1000", "socket.request.max.bytes"},
		{"group.min.session.timeout.ms=10 group.max.session.timeout.ms=9", "group.max.session.timeout.ms"},
		{"replica.fetch.wait.max.ms=20000 replica.lag.time.max.ms=19999", "at most replica.lag.time.max.ms"},
		{"replica.fetch.wait.max.ms=20000 replica.socket.timeout.ms=19999", "at most replica.socket.timeout.ms"},
		{"default.replication.factor=0", "default.replication.factor"},
		{"max.connections.per.ip=0", "overrides"},
		{"max.connections.per.ip.overrides=1.2.3.4", "address:number"},
		{"max.connections.per.ip.overrides=1.2.3.4:x", "address:number"},
		{"listener.name.x.max.connections=-1", "max.connections"},
	}
	for _, test := range tests {
		_, _, err := NewBroker(fields(test.properties))
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", test.properties, err, test.want)
		}
	}
}

func fields(text string) map[string]string {
	properties := map[string]string{}
	for field := range strings.FieldsSeq(text) {
		name, value, _ := strings.Cut(field, "=")
		properties[name] = value
	}
	return properties
}

func TestNewBrokerAccepts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		properties string
		want       string
	}{
		{"broker.id=7", "7 [PLAINTEXT://localhost:9092] [PLAINTEXT://localhost:9092] PLAINTEXT [moldau-data]"},
		{"listeners=PLAINTEXT://:0", "1 [PLAINTEXT://:0] [PLAINTEXT://:0] PLAINTEXT [moldau-data]"},
		{"listeners=PLAINTEXT://[::1]:5", "1 [PLAINTEXT://[::1]:5] [PLAINTEXT://[::1]:5] PLAINTEXT [moldau-data]"},
		{"listeners=in://0.0.0.0:1,out://0.0.0.0:2 listener.security.protocol.map=IN:plaintext,OUT:PLAINTEXT advertised.listeners=out://kafka.example:9,IN://h:1 inter.broker.listener.name=in log.dirs=/a,/b",
			"1 [IN://0.0.0.0:1 OUT://0.0.0.0:2] [OUT://kafka.example:9 IN://h:1] IN [/a /b]"},
		{"listeners=A://1.2.3.4:1,B://[::1]:1 listener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT", "1 [A://1.2.3.4:1 B://[::1]:1] [A://1.2.3.4:1 B://[::1]:1] A [moldau-data]"},
		{"log.dir=/x controller.quorum.voters=1@localhost:9093", "1 [PLAINTEXT://localhost:9092] [PLAINTEXT://localhost:9092] PLAINTEXT [/x]"},
		{"listener.name.plaintext.whatever=1 config.providers.env.x=1 metrics.context.a=b", "1 [PLAINTEXT://localhost:9092] [PLAINTEXT://localhost:9092] PLAINTEXT [moldau-data]"},
	}
	for _, test := range tests {
		b, _, err := NewBroker(fields(test.properties))
		if err != nil {
			t.Errorf("%s: %v", test.properties, err)
			continue
		}
		if got := fmt.Sprintln(b.NodeID, b.Listeners, b.AdvertisedListeners, b.InterBrokerListener, b.LogDirs); got != test.want+"\n" {
			t.Errorf("%s gives\n %s, want\n %s", test.properties, got, test.want)
		}
	}
}

func TestConnectionLimitsPerAddress(t *testing.T) {
	t.Parallel()
	b, _, err := NewBroker(map[string]string{"max.connections.per.ip.overrides": "127.0.0.1:5, ::1:6,host:0", "max.connections.per.ip": "0"})
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]int32{"127.0.0.1": 5, "::1": 6, "host": 0}; !reflect.DeepEqual(b.MaxConnectionsPerIPOverrides, want) {
		t.Errorf("limits are %v", b.MaxConnectionsPerIPOverrides)
	}
}

func TestParseProperties(t *testing.T) {
	t.Parallel()
	got, err := ParseProperties(strings.NewReader("# comment\n! comment\na=1\nb : 2\nc 3\na=4\nd=x\\\n  y\ne=${a}\nf=\nlog.dirs=/tmp/ä\n"))
	want := map[string]string{"a": "4", "b": "2", "c": "3", "d": "xy", "e": "${a}", "f": "", "log.dirs": "/tmp/ä"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{`a=\uZZZZ`, strings.Repeat("#", maxPropertiesBytes+1)} {
		if _, err := ParseProperties(strings.NewReader(bad)); err == nil {
			t.Errorf("%.20s is accepted", bad)
		}
	}
	if _, err := ParseProperties(failing{}); err == nil {
		t.Error("a reader's error is lost")
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, fmt.Errorf("disk on fire") }

func FuzzParseProperties(f *testing.F) {
	f.Add("a=b\nlisteners=PLAINTEXT://:9092\n")
	f.Add("node.id = 5\\\n6\n#\u00e4\n")
	f.Add("log.dirs:/a,/b\nlisteners=A://[::1]:1,B://0.0.0.0:2\nlistener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT")
	f.Add("max.connections.per.ip.overrides=:,1:2\nlog.retention.hours=-1")
	f.Fuzz(func(t *testing.T, text string) {
		properties, err := ParseProperties(strings.NewReader(text))
		if err != nil {
			return
		}
		b, _, err := NewBroker(properties)
		if err != nil {
			return
		}
		l := Layers{Static: b, DynamicBroker: properties}
		l.DescribeBroker(1)
		l.DescribeTopic(properties, 1)
		l.Topic(properties)
		if _, err := l.Current(); err != nil && l.ValidateBrokerConfigs(properties, true) == nil {
			t.Errorf("valid for a dynamic change, and yet: %v", err)
		}
	})
}
