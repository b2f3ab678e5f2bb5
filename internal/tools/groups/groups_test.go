package groups

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

func capture(print func(cli.Streams)) string {
	var out bytes.Buffer
	print(cli.Streams{Out: &out, Err: &bytes.Buffer{}})
	return out.String()
}

// compare checks a text against what Apache Kafka 4.3.1's tool printed for the same state.
func compare(t *testing.T, name, got string) {
	t.Helper()
	want, err := os.ReadFile(filepath.Join("testdata", name+".golden"))
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

const (
	staticMember = "inst-1-2a15e4d6-20c3-412a-be81-5d71a3d4937c"
	otherMember  = "console-consumer-54225a49-444a-4c0e-94ba-619f334b7864"
)

func partitionsOf(topic string, indexes ...int32) []kafka.TopicPartition {
	return appendPartitions(nil, topic, indexes)
}

func liveGroup() *description {
	return &description{
		id: "live", state: "Stable", assignor: "range", coordinator: kgo.BrokerMetadata{NodeID: 1, Host: "localhost", Port: 27096},
		members: []groupMember{
			{id: staticMember, instanceID: "inst-1", clientID: "console-consumer", host: "/127.0.0.1", assignment: partitionsOf("q1", 1, 0, 2)},
			{id: otherMember, clientID: "console-consumer", host: "/127.0.0.1", assignment: partitionsOf("q1", 3, 4, 5)},
		},
	}
}

func TestPrintOffsets(t *testing.T) {
	t.Parallel()
	offsets, ends := map[kafka.TopicPartition]committed{}, map[kafka.TopicPartition]client.ListedOffset{}
	for i, end := range []int64{1, 0, 4, 1, 4, 2} {
		tp := kafka.TopicPartition{Topic: "q1", Partition: int32(i)}
		offsets[tp] = committed{end, 0}
		ends[tp] = client.ListedOffset{Offset: end}
	}
	offsets[kafka.TopicPartition{Topic: "q1", Partition: 1}] = committed{0, -1}
	var rows []offsetRow
	for _, m := range liveGroup().members {
		rows = append(rows, rowsOf(m.assignment, offsets, ends, m.id, m.host, m.clientID)...)
	}
	compare(t, "offsets_live", capture(func(s cli.Streams) { printOffsets(s, "live", rows, false) }))
	compare(t, "offsets_live_verbose", capture(func(s cli.Streams) { printOffsets(s, "live", rows, true) }))
}

func TestLagNeedsBothOffsets(t *testing.T) {
	t.Parallel()
	tp := kafka.TopicPartition{Topic: "t"}
	failed := errors.New("no leader")
	for _, test := range []struct {
		offsets map[kafka.TopicPartition]committed
		ends    map[kafka.TopicPartition]client.ListedOffset
		want    string
	}{
		{map[kafka.TopicPartition]committed{tp: {3, -1}}, map[kafka.TopicPartition]client.ListedOffset{tp: {Offset: 10}}, "3 10 7"},
		{nil, map[kafka.TopicPartition]client.ListedOffset{tp: {Offset: 10}}, "- 10 -"},
		{map[kafka.TopicPartition]committed{tp: {3, -1}}, nil, "3 - -"},
		{map[kafka.TopicPartition]committed{tp: {3, -1}}, map[kafka.TopicPartition]client.ListedOffset{tp: {Offset: -1, Err: failed}}, "3 - -"},
	} {
		row := rowsOf([]kafka.TopicPartition{tp}, test.offsets, test.ends, "-", "-", "-")[0]
		if got := orMissing(row.offset) + " " + orMissing(row.logEnd) + " " + orMissing(row.lag()); got != test.want {
			t.Errorf("%s; want %s", got, test.want)
		}
	}
}

func TestPrintMembersAndState(t *testing.T) {
	t.Parallel()
	compare(t, "members", capture(func(s cli.Streams) { printMembers(s, liveGroup(), true, false) }))
	compare(t, "members_verbose", capture(func(s cli.Streams) { printMembers(s, liveGroup(), true, true) }))
	compare(t, "members_none", capture(func(s cli.Streams) { printMembers(s, &description{id: "g1", state: "Empty"}, true, false) }))
	compare(t, "state", capture(func(s cli.Streams) { printState(s, liveGroup(), false) }))
	empty := &description{id: "g1", state: "Empty", coordinator: kgo.BrokerMetadata{NodeID: 1, Host: "localhost", Port: 27092}}
	compare(t, "state_empty_verbose", capture(func(s cli.Streams) { printState(s, empty, true) }))
}

func TestPrintMixedMembers(t *testing.T) {
	t.Parallel()
	epoch, yes, no := int32(4), true, false
	g := &description{id: "g", state: "Stable", targetEpoch: &epoch, members: []groupMember{
		{id: "a", clientID: "c", host: "h", epoch: &epoch, upgraded: &yes, assignment: partitionsOf("t", 0), target: partitionsOf("t", 0)},
		{id: "b", clientID: "c", host: "h", epoch: &epoch, upgraded: &no, target: append(partitionsOf("u", 1, 0), partitionsOf("t", 10, 2)...)},
	}}
	lines := strings.Split(capture(func(s cli.Streams) { printMembers(s, g, true, true) }), "\n")
	if !strings.HasSuffix(lines[1], "TARGET-ASSIGNMENT    UPGRADED") || !strings.HasSuffix(lines[2], "t:0                  true") || !strings.HasSuffix(lines[3], "t:2,10;u:0,1         false") {
		t.Errorf("%q", lines)
	}
}

func TestCheckState(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		state, out, errs string
		printable, fails bool
	}{
		{"Stable", "", "", true, false},
		{"Empty", "", "\nConsumer group 'g' has no active members.\n", true, false},
		{"PreparingRebalance", "", "\nWarning: Consumer group 'g' is rebalancing.\n", true, false},
		{"Dead", "\nError: Consumer group 'g' does not exist.\n", "", false, false},
		{"Odd", "", "", false, true},
		{"", "", "", false, true},
	} {
		var out, errs bytes.Buffer
		printable, err := checkState(cli.Streams{Out: &out, Err: &errs}, &description{id: "g", state: test.state})
		if printable != test.printable || (err != nil) != test.fails || out.String() != test.out || errs.String() != test.errs {
			t.Errorf("%q: %t %v %q %q", test.state, printable, err, out.String(), errs.String())
		}
	}
}

func TestPrintDeletions(t *testing.T) {
	t.Parallel()
	missing := client.FromCode(int16(kafka.ErrGroupIDNotFound), nil)
	compare(t, "delete_missing", capture(func(s cli.Streams) { printDeletions(s, map[string]error{"nope": missing}) }))
	if got := capture(func(s cli.Streams) { printDeletions(s, map[string]error{"b": nil, "a": nil}) }); got != "Deletion of requested consumer groups ('a', 'b') was successful.\n" {
		t.Errorf("%q", got)
	}
	mixed := capture(func(s cli.Streams) { printDeletions(s, map[string]error{"b": nil, "a": missing}) })
	if !strings.HasSuffix(mixed, "\n\nThese consumer groups were deleted successfully: 'b'\n") {
		t.Errorf("%q", mixed)
	}
}

func TestPrintDeletedOffsets(t *testing.T) {
	t.Parallel()
	subscribed := client.FromCode(int16(kafka.ErrGroupSubscribedToTopic), nil)
	d := &deletion{group: subscribed, partitions: map[kafka.TopicPartition]error{}}
	for _, tp := range partitionsOf("q1", 0, 1, 2, 3, 4, 5) {
		d.partitions[tp] = subscribed
	}
	compare(t, "delete_offsets_subscribed", capture(func(s cli.Streams) { printDeletedOffsets(s, "live", d) }))
	d = &deletion{partitions: map[kafka.TopicPartition]error{{Topic: "nope", Partition: -1}: client.FromCode(int16(kafka.ErrUnknownTopicOrPartition), nil)}}
	compare(t, "delete_offsets_unknown_topic", capture(func(s cli.Streams) { printDeletedOffsets(s, "g1", d) }))
}

func TestPlan(t *testing.T) {
	t.Parallel()
	plan := resetPlan{"b": {{Topic: "t", Partition: 10}: 5, {Topic: "t", Partition: 2}: 7}, "a,x": {{Topic: "u"}: 0}}
	text, err := plan.csv(false)
	if err != nil || text != "\"a,x\",u,0,0\nb,t,2,7\nb,t,10,5\n" {
		t.Errorf("%q %v", text, err)
	}
	again, err := parsePlan(text, []string{"a,x", "b"})
	if err != nil || again["b"][kafka.TopicPartition{Topic: "t", Partition: 10}] != 5 || len(again) != 2 {
		t.Errorf("%v %v", again, err)
	}
	one, err := parsePlan("t,0,4\nt, 1, 5\n", []string{"g"})
	if err != nil || one["g"][kafka.TopicPartition{Topic: "t", Partition: 1}] != 5 {
		t.Errorf("%v %v", one, err)
	}
	for _, bad := range []string{"t,0", "t,x,1", "t,0,y", "\"", "g,t,0,1,2"} {
		if _, err := parsePlan(bad, []string{"g"}); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	printed := capture(func(s cli.Streams) { printPlan(s, resetPlan{"g1": {{Topic: "q1"}: 1}}) })
	if want := "\nGROUP           TOPIC           PARTITION  NEW-OFFSET\ng1              q1              0          1\n"; printed != want {
		t.Errorf("%q", printed)
	}
	if got := capture(func(s cli.Streams) { printPlan(s, resetPlan{}) }); got != "\n" {
		t.Errorf("an empty plan: %q", got)
	}
}

func TestDatetime(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"2020-01-01T00:00:00.000": 1577836800000, "2020-01-01T00:00:00.500Z": 1577836800500, "2020-01-01T01:00:00.000+01:00": 1577836800000,
		"2020-01-01T01:00:00.000+0100": 1577836800000, "2020-01-01T01:00:00.000+01": 1577836800000,
	} {
		if got, err := cli.ParseDatetime(text); err != nil || got != want {
			t.Errorf("%s: %d %v; want %d", text, got, err, want)
		}
	}
	for _, bad := range []string{"foo", "2020-01-01", "2020-13-01T00:00:00.000", "2020-01-01T", "2020-01-01Tx"} {
		if _, err := cli.ParseDatetime(bad); err == nil || !strings.Contains(err.Error(), "java.text.ParseException: ") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"PT0S": 0, "P1D": 24 * time.Hour, "PT1H30M": 90 * time.Minute, "P1DT1S": 24*time.Hour + time.Second, "PT1.5S": 1500 * time.Millisecond,
		"PT-1M": -time.Minute, "-PT1M": -time.Minute, "pt10m": 10 * time.Minute, "PT-0.5S": -500 * time.Millisecond, "P-1DT+2H": -22 * time.Hour,
	} {
		if got, err := cli.ParseDuration(text); err != nil || got != want {
			t.Errorf("%s: %v %v; want %v", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "P", "PT", "foo", "1D", "P1H", "P1DT", "PT1.5M", "P99999999999999999999D"} {
		if _, err := cli.ParseDuration(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestTopicArguments(t *testing.T) {
	t.Parallel()
	got, err := parseTopicPartitions("t:0,2")
	if err != nil || len(got) != 2 || got[1].Partition != 2 {
		t.Errorf("%v %v", got, err)
	}
	for arg, want := range map[string]string{
		"q1:x": "Invalid partition 'x' specified in topic arg 'q1:x''", "a:b:c": "Invalid topic arg 'a:b:c', expected topic name and partitions",
		"a:": "Invalid topic arg 'a:', expected topic name and partitions",
	} {
		if _, err := parseTopicPartitions(arg); err == nil || err.Error() != want {
			t.Errorf("%s: %v; want %s", arg, err, want)
		}
	}
}

func TestParseNames(t *testing.T) {
	t.Parallel()
	got, err := parseNames("stable, EMPTY", consumerStates, "state")
	if err != nil || strings.Join(got, " ") != "Stable Empty" {
		t.Errorf("%q %v", got, err)
	}
	if _, err := parseNames("foo", consumerTypes, "types"); err == nil || err.Error() != "Invalid types list 'foo'. Valid types are: Consumer, Classic" {
		t.Errorf("%v", err)
	}
}

func TestPrintListings(t *testing.T) {
	t.Parallel()
	got := capture(func(s cli.Streams) {
		printListings(s, []listing{{"console-consumer-16239", "Classic", "Empty"}}, true, true)
	})
	want := "GROUP                            TYPE                 STATE               \nconsole-consumer-16239           Classic              Empty               \n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestCommandLines(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ args, want string }{
		{"--list", `Missing required argument "[bootstrap-server]"`},
		{"--bootstrap-server b:1", "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, --delete-offsets, --validate-regex"},
		{"--bootstrap-server b:1 --describe", "Option [describe] takes one of these options: [group], [all-groups]"},
		{"--bootstrap-server b:1 --describe --group g --members --state", "Option [describe] takes at most one of these options: [members], [offsets], [state]"},
		{"--bootstrap-server b:1 --describe --group g --state foo", "Option [describe] does not take a value for [state]"},
		{"--bootstrap-server b:1 --list --members", "Option(s) [members] are unavailable given other options on the command line"},
		{"--bootstrap-server b:1 --reset-offsets --group g --topic t --to-earliest --dry-run --execute", "Option [reset-offsets] only accepts one of [execute] and [dry-run]"},
		{"--bootstrap-server b:1 --reset-offsets --dry-run --group g --topic t --to-earliest --to-latest", `Option "[to-earliest]" can't be used with option "[to-latest]"`},
		{"--bootstrap-server b:1 --reset-offsets --group g --topic t", dryRunWarning},
		{"--bootstrap-server b:1 --delete --group g --topic t", "The consumer does not support topic-specific offset deletion from a consumer group."},
		{"--bootstrap-server b:1 --delete-offsets --group g", "Option [delete-offsets] takes the following options: [group], [topic]"},
		{"--bootstrap-server b:1 --describe --group g --all-groups", `Option "[group]" can't be used with option "[all-groups]"`},
	} {
		var errs bytes.Buffer
		s := cli.Streams{Out: &bytes.Buffer{}, Err: &errs}
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // no server is asked
		code := cli.Exit(s, Run(ctx, s, strings.Fields(test.args)))
		if first, _, _ := strings.Cut(errs.String(), "\n"); first != test.want || (code != 1 && test.want != dryRunWarning) {
			t.Errorf("%s: exit %d, %q; want %q", test.args, code, first, test.want)
		}
	}
}

func TestValidateRegex(t *testing.T) {
	t.Parallel()
	for expression, want := range map[string]string{
		"a.*": "The regular expression `a.*` is valid.\n", "a[": "The regular expression `a[` is invalid: missing closing ].\n",
	} {
		if got := capture(func(s cli.Streams) { validateRegex(s, expression) }); got != want {
			t.Errorf("%q; want %q", got, want)
		}
	}
}

func TestAbsentTopicWithPartitions(t *testing.T) {
	t.Parallel()
	const want = "java.util.concurrent.ExecutionException: org.apache.kafka.common.errors.UnknownTopicOrPartitionException: This server does not host this topic-partition."
	if got := errorText(wrapped(client.FromCode(int16(kafka.ErrUnknownTopicOrPartition), nil))); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if err := errors.New("no broker"); wrapped(err) != err {
		t.Errorf("%q, want %q", wrapped(err), err)
	}
}

func FuzzClassicAssignment(f *testing.F) {
	assignment := kmsg.NewConsumerMemberAssignment()
	topic := kmsg.NewConsumerMemberAssignmentTopic()
	topic.Topic, topic.Partitions = "t", []int32{0, 1}
	assignment.Topics = append(assignment.Topics, topic)
	f.Add(assignment.AppendTo(nil))
	f.Add([]byte{0, 0, 0x7f, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		partitions, err := classicAssignment(data)
		if err == nil && len(partitions) > len(data) {
			t.Errorf("%d partitions from %d bytes", len(partitions), len(data))
		}
	})
}

func FuzzPlan(f *testing.F) {
	f.Add("t,0,1\ng,t,1,2\n")
	f.Fuzz(func(t *testing.T, text string) {
		if plan, err := parsePlan(text, []string{"g"}); err == nil {
			if _, err := plan.csv(false); err != nil {
				t.Error(err)
			}
		}
	})
}
