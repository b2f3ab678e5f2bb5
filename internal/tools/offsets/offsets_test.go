package offsets

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

func testCluster() *client.Cluster {
	topic := func(name string, count int32) client.Topic {
		t := client.Topic{Name: name, IsInternal: kafka.IsInternalTopic(name)}
		for i := range count {
			t.Partitions = append(t.Partitions, client.Partition{Index: i})
		}
		return t
	}
	return &client.Cluster{Topics: []client.Topic{topic("__consumer_offsets", 6), topic("q1", 6), topic("q_2", 3)}}
}

func TestRules(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		rules           string
		excludeInternal bool
		want            string
	}{
		{"q1:0,q_2:1-,:5", false, "__consumer_offsets-5 q1-0 q1-5 q_2-1 q_2-2"},
		{"q1:0,q_2:1-,:5", true, "q1-0 q1-5 q_2-1 q_2-2"},
		{"q.*:-2", false, "q1-0 q1-1 q_2-0 q_2-1"},
		{"q1:1-3", false, "q1-1 q1-2"},
		{"q_2", false, "q_2-0 q_2-1 q_2-2"},
		{"nope", false, ""},
	} {
		rules, err := parseRules(test.rules)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Trim(fmt.Sprint(matching(testCluster(), rules, test.excludeInternal)), "[]"); got != test.want {
			t.Errorf("%s: %s; want %s", test.rules, got, test.want)
		}
	}
	for _, bad := range []string{"a:x", "a:1-2-3", "[", "a:99999999999"} {
		if _, err := parseRules(bad); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	tp := func(partition int32) kafka.TopicPartition {
		return kafka.TopicPartition{Topic: "t", Partition: partition}
	}
	listed := map[kafka.TopicPartition]client.ListedOffset{
		tp(2): {Offset: 5}, tp(10): {Offset: 0}, tp(3): {Offset: -1}, tp(4): {Offset: -1, Err: client.FromCode(int16(kafka.ErrUnsupportedVersion), nil)},
	}
	var out, errs bytes.Buffer
	write(cli.Streams{Out: &out, Err: &errs}, []kafka.TopicPartition{tp(2), tp(3), tp(4), tp(10), tp(11)}, listed)
	if out.String() != "t:10:0\nt:2:5\n" {
		t.Errorf("%q", out.String())
	}
	want := "Skip getting offsets for topic-partition t-11 due to error: the broker did not answer for it\n" +
		"Skip getting offsets for topic-partition t-4 due to error: org.apache.kafka.common.errors.UnsupportedVersionException: The version of API is not supported.\n"
	if errs.String() != want {
		t.Errorf("%q", errs.String())
	}
}

func TestCommandLines(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ args, want string }{
		{"", summary},
		{"--topic q1", `Missing required argument "[bootstrap-server]"`},
		{"--bootstrap-server foo", "Please provide valid host:port like host1:9091,host2:9092"},
		{"--bootstrap-server b:1 --foo", "Error occurred: foo is not a recognized option"},
		{"--bootstrap-server b:1 --topic q1 --topic-partitions a", "Error occurred: --topic-partitions cannot be used with --topic or --partitions"},
		{"--bootstrap-server b:1 --partitions x", "Error occurred: --partitions expects a comma separated list of numeric partition ids, but received: x"},
		{"--bootstrap-server b:1 --time foo", "Error occurred: Malformed time argument foo. Please use -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or earliest-local / -5 or latest-tiered / -6 or earliest-pending-upload, or a specified long format timestamp"},
	} {
		var errs bytes.Buffer
		s := cli.Streams{Out: &bytes.Buffer{}, Err: &errs}
		code := cli.Exit(s, Run(context.Background(), s, strings.Fields(test.args)))
		if first, _, _ := strings.Cut(errs.String(), "\n"); code != 1 || first != test.want {
			t.Errorf("%s: exit %d, %q; want %q", test.args, code, first, test.want)
		}
	}
	for text, want := range map[string]int64{"latest": -1, "-2": -2, "max-timestamp": -3, "0": 0, "1700000000000": 1700000000000} {
		if got, err := parseTime(text); err != nil || got != want {
			t.Errorf("%s: %d %v", text, got, err)
		}
	}
}
