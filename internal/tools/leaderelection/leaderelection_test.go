package leaderelection

import (
	"bytes"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
)

// TestCommandLines has the words of Apache Kafka 4.3.1's tool.
func TestCommandLines(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"--bootstrap-server x:1 --topic a": "Missing required option(s): election-type\n",
		"--topic a":                        "Missing required option(s): bootstrap-server, election-type\n",
		"--bootstrap-server x:1 --election-type unclean --topic a":                            "Missing required option(s): partition\n",
		"--bootstrap-server x:1 --election-type unclean --all-topic-partitions --partition 1": "Option partition is only allowed if topic is used\n",
		"--bootstrap-server x:1 --election-type unclean":                                      "One and only one of the following options is required: topic, all-topic-partitions, path-to-json-file\n",
		"--bootstrap-server x:1 --election-type odd --topic a --partition 0":                  "Cannot parse argument 'odd' of option election-type\n",
		"--bootstrap-server x:1 --election-type unclean --topic a --partition b":              "Cannot parse argument 'b' of option partition\n",
	} {
		var messages bytes.Buffer
		s := cli.Streams{Out: &bytes.Buffer{}, Err: &messages}
		if code := cli.Exit(s, Run(t.Context(), s, strings.Fields(line))); code != 1 || messages.String() != want {
			t.Errorf("%s: %d %q, want %q", line, code, &messages, want)
		}
	}
}

func TestPartitionFile(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]string{
		`{"partitions": [{"topic": "b", "partition": 1}, {"topic": "a", "partition": 0}]}`: "",
		`{`:                                "Replica election data is empty",
		`[]`:                               "expected form",
		`{}`:                               "missing \"partitions\" field",
		`{"partitions": [{"topic": "b"}]}`: "entry 1",
		`{"partitions": [{"topic": "b", "partition": 1}, {"topic": "b", "partition": 1}]}`: "duplicate partitions: [b-1]",
	} {
		all, err := parsePartitions([]byte(content))
		if want == "" && (err != nil || len(all) != 2 || all[0].Topic != "a") || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v %v, want %q", content, all, err, want)
		}
	}
	if all, err := parsePartitions([]byte(`{"partitions": []}`)); err != nil || all == nil {
		t.Errorf("no partition became all partitions: %v %v", all, err)
	}
}

func TestResults(t *testing.T) {
	t.Parallel()
	resp := kmsg.NewPtrElectLeadersResponse()
	topic := kmsg.NewElectLeadersResponseTopic()
	topic.Topic = "mixed"
	for i, code := range []kafka.ErrorCode{0, kafka.ErrElectionNotNeeded, kafka.ErrUnknownTopicOrPartition, 0, kafka.ErrElectionNotNeeded} {
		p := kmsg.NewElectLeadersResponseTopicPartition()
		p.Partition, p.ErrorCode = int32(i), int16(code)
		if i == 2 {
			p.ErrorMessage = kmsg.StringPtr("No such topic as none")
		}
		topic.Partitions = append(topic.Partitions, p)
	}
	resp.Topics = append(resp.Topics, topic)
	var out bytes.Buffer
	err := printResults(cli.Streams{Out: &out}, "UNCLEAN", resp)
	want := "Successfully completed leader election (UNCLEAN) for partitions mixed-0, mixed-3\n" +
		"Valid replica already elected for partitions mixed-1, mixed-4\n" +
		"Error completing leader election (UNCLEAN) for partition: mixed-2: org.apache.kafka.common.errors.UnknownTopicOrPartitionException: No such topic as none\n"
	if out.String() != want || err == nil || err.Error() != "1 replica(s) could not be elected" {
		t.Errorf("%v\n%s", err, &out)
	}
}
