package topics

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

func text(s string) *string { return &s }

func testDescription(t *testing.T) *description {
	t.Helper()
	id := func(text string) kafka.UUID {
		parsed, err := kafka.ParseUUID(text)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	partition := func(index int32) client.Partition {
		return client.Partition{Index: index, Leader: 1, Replicas: []int32{1}, ISR: []int32{1}, ELR: []int32{}, LastKnownELR: []int32{}}
	}
	static, dynamic, byDefault := kafka.ConfigSourceStaticBroker, kafka.ConfigSourceDynamicTopic, kafka.ConfigSourceDefault
	return &description{
		topics: []client.Topic{
			{Name: "q1", ID: id("amy9U5-YQbSCDFe5-5RYKA"), Partitions: []client.Partition{partition(0)}},
			{Name: "q_2", ID: id("EZu7UYCsQPW-BGmjZeOlmQ"), Partitions: []client.Partition{partition(0), partition(1), partition(2)}},
		},
		configs: map[string][]client.Config{
			"q1": {
				{Name: "compression.type", Value: text("producer"), Source: byDefault},
				{Name: "min.insync.replicas", Value: text("1"), Source: kafka.ConfigSourceDynamicDefaultBroker},
				{Name: "segment.bytes", Value: text("1073741824"), Source: static},
			},
			"q_2": {
				{Name: "min.insync.replicas", Value: text("1"), Source: kafka.ConfigSourceDynamicDefaultBroker},
				{Name: "cleanup.policy", Value: text("compact,delete"), Source: dynamic},
				{Name: "segment.bytes", Value: text("1073741824"), Source: static},
				{Name: "retention.ms", Value: text("1000000"), Source: dynamic},
			},
		},
		liveBrokers: map[int32]bool{1: true},
	}
}

func printed(d *description, f filters) string {
	var out bytes.Buffer
	d.print(cli.Streams{Out: &out}, f)
	return out.String()
}

// TestDescribe compares with what Apache Kafka 4.3.1's tool printed.
func TestDescribe(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile("testdata/describe.golden")
	if err != nil {
		t.Fatal(err)
	}
	if got := printed(testDescription(t), filters{}); got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestDescribeFilters(t *testing.T) {
	t.Parallel()
	d := testDescription(t)
	q2 := d.topics[1].Partitions
	q2[0].Leader, q2[0].ISR = -1, nil
	q2[1].Replicas = []int32{1, 2}
	q2[2].Leader = 9
	*d.configs["q_2"][0].Value = "1"
	for _, test := range []struct {
		name string
		f    filters
		want string
	}{
		{"under-replicated", filters{underReplicated: true}, "q_2-0 q_2-1"},
		{"unavailable", filters{unavailable: true}, "q_2-0 q_2-2"},
		{"under min ISR", filters{underMin: true}, "q_2-0"},
		{"at min ISR", filters{atMin: true}, "q1-0 q_2-1 q_2-2"},
		{"two reports", filters{underMin: true, unavailable: true}, "q_2-0 q_2-2"},
	} {
		var lines []string
		for line := range strings.Lines(printed(d, test.f)) {
			words := strings.Fields(line)
			lines = append(lines, words[1]+"-"+words[3])
		}
		if got := strings.Join(lines, " "); got != test.want {
			t.Errorf("%s: %s; want %s", test.name, got, test.want)
		}
	}
	overrides := printed(d, filters{overridesOnly: true})
	if strings.Contains(overrides, "Partition:") || strings.Count(overrides, "\n") != 2 {
		t.Errorf("overrides only:\n%s", overrides)
	}
}

func TestDescribeReassignment(t *testing.T) {
	t.Parallel()
	d := testDescription(t)
	d.topics = d.topics[:1]
	p := &d.topics[0].Partitions[0]
	p.Replicas, p.ELR, p.LastKnownELR, p.Leader = []int32{1, 2, 3}, nil, nil, -1
	d.reassignments = map[kafka.TopicPartition]reassignment{{Topic: "q1"}: {replicas: []int32{1, 2, 3}, adding: []int32{3}, removing: []int32{1}}}
	lines := strings.Split(printed(d, filters{}), "\n")
	if !strings.Contains(lines[0], "\tReplicationFactor: 2\t") {
		t.Errorf("topic line %q", lines[0])
	}
	want := "\tTopic: q1\tPartition: 0\tLeader: none\tReplicas: 1,2,3\tIsr: 1\tAdding Replicas: 3\tRemoving Replicas: 1\tElr: N/A\tLastKnownElr: N/A"
	if lines[1] != want {
		t.Errorf("got  %q\nwant %q", lines[1], want)
	}
}

func TestDescribeTopicWithoutPartitions(t *testing.T) {
	t.Parallel()
	d := &description{topics: []client.Topic{{Name: "odd"}}}
	if got := printed(d, filters{}); got != "Topic: odd\tPartitionCount: 0\tReplicationFactor: 0\tConfigs: \n" {
		t.Errorf("%q", got)
	}
}

// TestCommandLines holds the complaints of Apache Kafka 4.3.1's tool about wrong options.
func TestCommandLines(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ args, want string }{
		{"", "Create, delete, describe, or change a topic."},
		{"--help", Summary},
		{"--list", "--bootstrap-server must be specified"},
		{"--bootstrap-server b:1 --create --list", "Command must include exactly one action: --list, --describe, --create, --alter or --delete"},
		{"--bootstrap-server b:1 --delete", `Missing required argument "[topic]"`},
		{"--bootstrap-server b:1 --alter --topic t", `Missing required argument "[partitions]"`},
		{"--bootstrap-server b:1 --alter --topic t --config a=b", `Option combination "[[bootstrap-server], [config]]" can't be used with option "[alter]" (To alter topic configurations, the kafka-configs tool can be used.)`},
		{"--bootstrap-server b:1 --create --topic t --replica-assignment 1 --partitions 2", `Option "[replica-assignment]" can't be used with option "[partitions]"`},
		{"--bootstrap-server b:1 --list --if-exists", `Option "[if-exists]" can't be used with option "[list]"`},
		{"--bootstrap-server b:1 --describe --topic t --if-not-exists", `Option "[if-not-exists]" can't be used with option "[describe]"`},
		{"--bootstrap-server b:1 --describe --under-replicated-partitions --topics-with-overrides", `Option "[under-replicated-partitions]" can't be used with option "[topics-with-overrides]"`},
		{"--bootstrap-server b:1 --describe --if-exists", "--topic or --topic-id is required to describe a topic"},
	} {
		var out, errs bytes.Buffer
		s := cli.Streams{Out: &out, Err: &errs}
		code := cli.Exit(s, Run(context.Background(), s, strings.Fields(test.args)))
		first, _, _ := strings.Cut(errs.String(), "\n")
		if code != 1 || first != test.want {
			t.Errorf("%s: exit %d, %q; want %q", test.args, code, first, test.want)
		}
	}
}

func TestNewTopic(t *testing.T) {
	t.Parallel()
	parse := func(args string) (*options, error) {
		o := newOptions()
		var err error
		o.Set, err = o.parser.Parse(strings.Fields(args))
		return o, err
	}
	o, err := parse("--topic t --partitions 3 --config a=1 --config b=x,y --config a=2")
	if err != nil {
		t.Fatal(err)
	}
	topic, err := newTopic(o)
	if err != nil || topic.NumPartitions != 3 || topic.ReplicationFactor != -1 || len(topic.Configs) != 2 || topic.Configs[1].Name != "a" || *topic.Configs[1].Value != "2" {
		t.Errorf("%+v %v", topic, err)
	}
	for _, test := range []struct{ args, want string }{
		{"--topic t --config a", `requirement failed: Invalid topic config: all configs to be added must be in the format "key=val".`},
		{"--topic t --config a=b=c", `requirement failed: Invalid topic config: all configs to be added must be in the format "key=val".`},
		{"--topic t --partitions abc", "Cannot parse argument 'abc' of option partitions"},
		{"--topic a --topic b", "Found multiple arguments for option topic, but you asked for only one"},
		{"--topic t --replica-assignment 1:1", "Partition replica lists may not contain duplicate entries: 1"},
		{"--topic t --replica-assignment 1:2,3", "Partition 1 has different replication factor: [3]"},
		{"--topic t --replica-assignment 1:x", `For input string: "x"`},
	} {
		o, err := parse(test.args)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := newTopic(o); err == nil || err.Error() != test.want {
			t.Errorf("%s: %v; want %s", test.args, err, test.want)
		}
	}
	o, err = parse("--topic t --replica-assignment 1:2,2:3")
	if err != nil {
		t.Fatal(err)
	}
	topic, err = newTopic(o)
	if err != nil || len(topic.ReplicaAssignment) != 2 || topic.ReplicaAssignment[1].Partition != 1 || topic.ReplicaAssignment[1].Replicas[1] != 3 {
		t.Errorf("%+v %v", topic, err)
	}
}
