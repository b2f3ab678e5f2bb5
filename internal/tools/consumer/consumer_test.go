package consumer

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
)

func testRecord() *kgo.Record {
	return &kgo.Record{
		Topic: "t", Partition: 2, Offset: 7, Key: []byte("k"), Value: []byte("v"), Timestamp: time.UnixMilli(1700000000123), LeaderEpoch: 3,
		Headers: []kgo.RecordHeader{{Key: "h1", Value: []byte("x")}, {Key: "h2"}},
	}
}

func TestFormatter(t *testing.T) {
	t.Parallel()
	all := "print.timestamp=true print.partition=true print.offset=true print.delivery=true print.epoch=true print.headers=true print.key=true"
	for _, test := range []struct{ properties, want string }{
		{"", "v\n"},
		{"print.key=true", "k\tv\n"},
		{"print.value=false", ""},
		{"print.key=true print.value=false", "k\n"},
		{all, "CreateTime:1700000000123\tPartition:2\tOffset:7\tDelivery:NOT_PRESENT\tEpoch:NOT_PRESENT\th1:x,h2:null\tk\tv\n"},
		{all + " key.separator=| headers.separator=; line.separator=# null.literal=NIL", "CreateTime:1700000000123|Partition:2|Offset:7|Delivery:NOT_PRESENT|Epoch:NOT_PRESENT|h1:x;h2:NIL|k|v#"},
	} {
		f, err := newRecordFormatter(cli.ParseKeyValues(strings.Fields(test.properties)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := f.format(nil, testRecord())
		if err != nil || string(got) != test.want {
			t.Errorf("%s: %q %v; want %q", test.properties, got, err, test.want)
		}
	}
	f, err := newRecordFormatter(map[string]string{"print.key": "true", "print.headers": "TRUE"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := f.format([]byte("before "), &kgo.Record{}); err != nil || string(got) != "before NO_HEADERS\tnull\tnull\n" {
		t.Errorf("%q %v", got, err)
	}
}

func TestDeserializers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ class, data, want string }{
		{"StringDeserializer", "a\xffb", "a\uFFFDb"}, {"LongDeserializer", "\xff\xff\xff\xff\xff\xff\xff\xfe", "-2"}, {"IntegerDeserializer", "\x00\x00\x01\x00", "256"},
		{"ShortDeserializer", "\xff\xff", "-1"}, {"DoubleDeserializer", "\x3f\xf0\x00\x00\x00\x00\x00\x00", "1.0"}, {"FloatDeserializer", "\x7f\xc0\x00\x00", "NaN"},
		{"DoubleDeserializer", "\x41\x67\xd7\x84\x00\x00\x00\x00", "1.25E7"}, {"BooleanDeserializer", "\x01", "true"}, {"BytesDeserializer", "a\\\x00", `a\x5C\x00`},
	} {
		f, err := newRecordFormatter(map[string]string{"value.deserializer": "org.apache.kafka.common.serialization." + test.class})
		if err != nil {
			t.Fatal(err)
		}
		got, err := f.format(nil, &kgo.Record{Value: []byte(test.data)})
		if err != nil || string(got) != test.want+"\n" {
			t.Errorf("%s %q: %q %v; want %q", test.class, test.data, got, err, test.want)
		}
	}
	f, err := newRecordFormatter(map[string]string{"value.deserializer": "LongDeserializer"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.format(nil, testRecord()); err == nil || err.Error() != "Size of data received by LongDeserializer is not 8" {
		t.Errorf("%v", err)
	}
	if _, err := newRecordFormatter(map[string]string{"key.deserializer": "x.Y"}); err == nil {
		t.Error("an unknown class was accepted")
	}
}

func offsetRecord(t testing.TB, version int16) *kgo.Record {
	t.Helper()
	key := kmsg.NewOffsetCommitKey()
	key.Version, key.Group, key.Topic, key.Partition = 1, "g<1>", "q1", 5
	value := kmsg.NewOffsetCommitValue()
	value.Version, value.Offset, value.LeaderEpoch, value.CommitTimestamp = version, 2, -1, 1795246426269
	id, err := kafka.ParseUUID("amy9U5-YQbSCDFe5-5RYKA")
	if err != nil {
		t.Fatal(err)
	}
	value.TopicID = id
	return &kgo.Record{Key: key.AppendTo(nil), Value: value.AppendTo(nil), Offset: 3}
}

// TestOffsetsFormatter holds the form in which Apache Kafka 4.3.1 prints committed offsets.
func TestOffsetsFormatter(t *testing.T) {
	t.Parallel()
	f, err := newOffsetsFormatter(nil)
	if err != nil {
		t.Fatal(err)
	}
	const key = `{"key":{"type":1,"data":{"group":"g<1>","topic":"q1","partition":5}},"value":`
	for version, want := range map[int16]string{
		4: key + `{"version":4,"data":{"offset":2,"leaderEpoch":-1,"metadata":"","commitTimestamp":1795246426269,"topicId":"amy9U5-YQbSCDFe5-5RYKA"}}}`,
		3: key + `{"version":3,"data":{"offset":2,"leaderEpoch":-1,"metadata":"","commitTimestamp":1795246426269}}}`,
	} {
		got, err := f.format(nil, offsetRecord(t, version))
		if err != nil || string(got) != want {
			t.Errorf("version %d: %s %v\nwant %s", version, got, err, want)
		}
	}
	tombstone := offsetRecord(t, 4)
	tombstone.Value = nil
	if got, err := f.format(nil, tombstone); err != nil || string(got) != key+"null}" {
		t.Errorf("%s %v", got, err)
	}
	for name, r := range map[string]*kgo.Record{"no key": {}, "another type": {Key: []byte{0, 2, 0, 0}}} {
		if got, err := f.format(nil, r); err != nil || len(got) != 0 {
			t.Errorf("%s: %s %v", name, got, err)
		}
	}
	for name, r := range map[string]*kgo.Record{"no type": {Key: []byte{0}}, "torn key": {Key: []byte{0, 1, 0, 9}}, "torn value": {Key: tombstone.Key, Value: []byte{0, 4, 1}}} {
		if _, err := f.format(nil, r); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestGroupMetadataFormatter(t *testing.T) {
	t.Parallel()
	key := kmsg.NewGroupMetadataKey()
	key.Version, key.Group = 2, "g"
	value := kmsg.NewGroupMetadataValue()
	value.Version, value.ProtocolType, value.Generation, value.CurrentStateTimestamp = 3, "consumer", 1, 1795246520297
	value.Protocol, value.Leader = kmsg.StringPtr("range"), kmsg.StringPtr("m")
	m := kmsg.NewGroupMetadataValueMember()
	m.MemberID, m.ClientID, m.ClientHost, m.RebalanceTimeoutMillis, m.SessionTimeoutMillis, m.Subscription = "m", "c", "/127.0.0.1", 300000, 45000, []byte{0, 3}
	value.Members = append(value.Members, m)
	f, err := newGroupMetadataFormatter(nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.format(nil, &kgo.Record{Key: key.AppendTo(nil), Value: value.AppendTo(nil)})
	want := `{"key":{"type":2,"data":{"group":"g"}},"value":{"version":3,"data":{"protocolType":"consumer","generation":1,"protocol":"range","leader":"m",` +
		`"currentStateTimestamp":1795246520297,"members":[{"memberId":"m","groupInstanceId":null,"clientId":"c","clientHost":"/127.0.0.1",` +
		`"rebalanceTimeout":300000,"sessionTimeout":45000,"subscription":"AAM=","assignment":""}]}}}`
	if err != nil || string(got) != want {
		t.Errorf("%s %v\nwant %s", got, err, want)
	}
}

func parse(t *testing.T, args string) *options {
	t.Helper()
	o := newOptions()
	set, err := o.parser.Parse(strings.Fields(args))
	if err != nil {
		t.Fatalf("%s: %v", args, err)
	}
	o.Set = set
	return o
}

func TestPlan(t *testing.T) {
	t.Parallel()
	s := cli.Streams{Out: io.Discard, Err: io.Discard}
	for _, test := range []struct{ args, name, want string }{
		{"", "auto.offset.reset", "latest"}, {"--from-beginning", "auto.offset.reset", "earliest"}, {"--command-property auto.offset.reset=none", "auto.offset.reset", "none"},
		{"--from-beginning --command-property auto.offset.reset=earliest", "auto.offset.reset", "earliest"}, {"", "isolation.level", "read_uncommitted"},
		{"--isolation-level read_committed", "isolation.level", "read_committed"}, {"--command-property isolation.level=read_committed", "isolation.level", "read_committed"},
		{"--group g", "group.id", "g"}, {"--command-property group.id=g", "group.id", "g"}, {"", "group.id", ""}, {"", "client.id", "console-consumer"},
	} {
		p, err := parse(t, "--bootstrap-server b:1 --topic t "+test.args).plan(s)
		if err != nil || p.props[test.name] != test.want {
			t.Errorf("%s: %s is %q, %v; want %q", test.args, test.name, p.props[test.name], err, test.want)
		}
	}
	p, err := parse(t, "--bootstrap-server b:1 --topic t --partition 3 --offset 12 --max-messages 0 --timeout-ms 1500").plan(s)
	if err != nil || p.partition != 3 || p.offset != 12 || p.maxMessages != 0 || p.timeout != 1500*time.Millisecond {
		t.Errorf("%+v %v", p, err)
	}
	for offset, want := range map[string]startOffset{"earliest": atStart, "LATEST": atEnd, "0": 0} {
		if p, err := parse(t, "--bootstrap-server b:1 --topic t --partition 0 --offset "+offset).plan(s); err != nil || p.offset != want {
			t.Errorf("--offset %s: %+v %v", offset, p, err)
		}
	}
	if p, err := parse(t, "--bootstrap-server b:1 --topic t --partition 0 --from-beginning").plan(s); err != nil || p.offset != atStart {
		t.Errorf("%+v %v", p, err)
	}
	if p, err := parse(t, "--bootstrap-server b:1 --topic t --timeout-ms -1").plan(s); err != nil || p.timeout != 0 {
		t.Errorf("%+v %v", p, err)
	}
}

func TestCommandLines(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ args, want string }{
		{"", Summary},
		{"--bootstrap-server b:1", "Exactly one of the following arguments is required: [topic], [include]"},
		{"--bootstrap-server b:1 --topic a --include b", "Exactly one of the following arguments is required: [topic], [include]"},
		{"--topic t", `Missing required argument "[bootstrap-server]"`},
		{"--bootstrap-server b:1 --topic t --offset 1", "The partition is required when offset is specified."},
		{"--bootstrap-server b:1 --include t --partition 1", "The topic is required when partition is specified."},
		{"--bootstrap-server b:1 --topic t --partition 1 --offset 1 --from-beginning", "Options from-beginning and offset cannot be specified together."},
		{"--bootstrap-server b:1 --topic t --partition 1 --offset -1", "The provided offset value '-1' is incorrect. Valid values are 'earliest', 'latest', or a non-negative long."},
		{"--bootstrap-server b:1 --topic t --partition 1 --group g", "Options group and partition cannot be specified together."},
		{"--bootstrap-server b:1 --topic t --from-beginning --consumer-property auto.offset.reset=latest", "Can't simultaneously specify --from-beginning and 'auto.offset.reset=latest', please remove one option"},
		{"--bootstrap-server b:1 --topic t --group g2 --consumer-property group.id=g3", "The group ids provided in different places (directly using '--group', via '--consumer-property', or via '--consumer.config') do not match. Detected group ids: 'g2', 'g3'"},
		{"--bootstrap-server b:1 --topic t --property a=b --formatter-property c=d", "Options --property and --formatter-property cannot be specified together."},
		{"--bootstrap-server b:1 --topic t --formatter x.Y", "x.Y is not a formatter of this tool"},
		{"--bootstrap-server b:1 --topic t --max-messages x", "Cannot parse argument 'x' of option max-messages"},
	} {
		var errs bytes.Buffer
		s := cli.Streams{Out: io.Discard, Err: &errs}
		code := cli.Exit(s, Run(context.Background(), s, strings.Fields(test.args)))
		if first, _, _ := strings.Cut(errs.String(), "\n"); code != 1 || first != test.want {
			t.Errorf("%s: exit %d, %q; want %q", test.args, code, first, test.want)
		}
	}
}

func TestCommitterPositions(t *testing.T) {
	t.Parallel()
	c := &committer{fixed: true, interval: time.Second, lastAt: time.UnixMilli(0), positions: map[string]map[int32]kgo.EpochOffset{}}
	if !c.due().IsZero() {
		t.Error("a commit is due without positions")
	}
	starts := map[string]map[int32]kgo.Offset{"t": {0: kgo.NewOffset().At(5), 1: kgo.NewOffset().AtEnd()}}
	if _, err := c.resolve(context.Background(), starts); err != nil {
		t.Fatal(err)
	}
	c.printed([]*kgo.Record{{Topic: "t", Partition: 0, Offset: 7, LeaderEpoch: 2}})
	if got := c.positions["t"]; len(got) != 1 || got[0] != (kgo.EpochOffset{Epoch: 2, Offset: 8}) {
		t.Errorf("%v", got)
	}
	if got := c.due(); !got.Equal(time.UnixMilli(1000)) {
		t.Errorf("due at %v", got)
	}
	c.lost(context.Background(), nil, map[string][]int32{"t": {0}, "u": {3}})
	if len(c.positions["t"]) != 0 {
		t.Errorf("%v", c.positions)
	}
}

func FuzzCoordinatorFormatters(f *testing.F) {
	record := offsetRecord(f, 4)
	f.Add(record.Key, record.Value)
	f.Add([]byte{0, 2, 0, 1, 'g'}, []byte{0, 3, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(_ *testing.T, key, value []byte) {
		for _, class := range []string{"Offsets", "GroupMetadata", "TransactionLog"} {
			formatter, err := formatters["org.apache.kafka.tools.consumer."+class+"MessageFormatter"](nil)
			if err == nil {
				_, _ = formatter.format(nil, &kgo.Record{Key: key, Value: value})
			}
		}
	})
}
