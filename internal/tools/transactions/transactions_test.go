package transactions

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

func TestCommandLines(t *testing.T) {
	t.Parallel()
	const b = "--bootstrap-server b:1 "
	for _, test := range []struct{ args, want string }{
		{"", "kafka-transactions: error: too few arguments"},
		{b, "kafka-transactions: error: too few arguments"},
		{"list", "kafka-transactions: error: argument --bootstrap-server is required"},
		{b + "nonsense", "kafka-transactions: error: invalid choice: 'nonsense' (choose from 'list', 'describe', 'describe-producers', 'abort', 'find-hanging', 'forceTerminateTransaction')"},
		{"list " + b, "kafka-transactions: error: unrecognized arguments: '--bootstrap-server'"},
		{b + "list --duration-filter x", `kafka-transactions: error: argument --duration-filter: could not convert 'x' to Long (For input string: "x")`},
		{b + "list --duration-filter", "kafka-transactions: error: argument --duration-filter: expected one argument"},
		{b + "abort --topic t --partition 99999999999", `kafka-transactions: error: argument --partition: could not convert '99999999999' to Integer (For input string: "99999999999")`},
		{b + "abort --topic t --partition 0 --producer-epoch 40000", `kafka-transactions: error: argument --producer-epoch: could not convert '40000' to Short (For input string: "40000")`},
		{b + "describe", "kafka-transactions: error: argument --transactional-id is required"},
		{b + "describe-producers --topic t", "kafka-transactions: error: argument --partition is required"},
		{b + "forceTerminateTransaction", "kafka-transactions: error: argument --transactionalId is required"},
	} {
		var errs bytes.Buffer
		s := cli.Streams{Out: &bytes.Buffer{}, Err: &errs}
		code := cli.Exit(s, Run(context.Background(), s, strings.Fields(test.args)))
		lines := strings.Split(strings.TrimSpace(errs.String()), "\n")
		if last := lines[len(lines)-1]; code != 1 || last != test.want || !strings.HasPrefix(lines[0], "usage: kafka-transactions ") {
			t.Errorf("%s: exit %d, %q; want %q", test.args, code, errs.String(), test.want)
		}
	}
	for args, want := range map[string]string{
		"abort --topic t --partition 0":                                    "The transaction to abort must be identified either with --start-offset (for brokers on 3.0 or above) or with --producer-id, --producer-epoch, and --coordinator-epoch (for older brokers)",
		"abort --topic t --partition 0 --producer-id 5":                    "Missing required argument --producer-epoch",
		"abort --topic t --partition 0 --producer-id 5 --producer-epoch 3": "Missing required argument --coordinator-epoch",
		"find-hanging": "The `find-hanging` command requires either --topic or --broker-id to limit the scope of the search",
		"find-hanging --broker-id 1 --partition 0": "The --partition argument requires --topic to be provided",
	} {
		var errs bytes.Buffer
		s := cli.Streams{Out: &bytes.Buffer{}, Err: &errs}
		code := cli.Exit(s, Run(context.Background(), s, strings.Fields("--bootstrap-server 127.0.0.1:1 "+args)))
		if code != 1 || strings.TrimSpace(errs.String()) != want {
			t.Errorf("%s: exit %d, %q", args, code, errs.String())
		}
	}
	for _, help := range []string{"-h", "--version", "-v", "list -h", "--bootstrap-server b:1 abort --help"} {
		var out bytes.Buffer
		s := cli.Streams{Out: &out, Err: &out}
		if code := cli.Exit(s, Run(context.Background(), s, strings.Fields(help))); code != 0 || out.Len() == 0 {
			t.Errorf("%s: exit %d, %q", help, code, out.String())
		}
	}
}

// Every action and option of Kafka's tool is there, and no other.
func TestHelpNamesEveryOption(t *testing.T) {
	t.Parallel()
	for action, want := range map[string]string{
		"list": "--duration-filter --transactional-id-pattern", "describe": "--transactional-id", "describe-producers": "--broker-id --topic --partition",
		"abort": "--topic --partition --start-offset --producer-id --producer-epoch --coordinator-epoch", "find-hanging": "--broker-id --max-transaction-timeout --topic --partition",
		"forceTerminateTransaction": "--transactionalId",
	} {
		var out bytes.Buffer
		s := cli.Streams{Out: &out, Err: &out}
		_ = Run(context.Background(), s, []string{action, "-h"})
		_, list, _ := strings.Cut(out.String(), "show this help message and exit\n")
		var got []string
		for line := range strings.Lines(list) {
			got = append(got, strings.Fields(line)[0])
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q", action, got)
		}
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	c := &command{streams: cli.Streams{Out: &out}}
	c.streams.Table([]string{"Id", "State"}, [][]string{{"größer", "Empty"}, {"x", "CompleteCommit"}})
	if want := "Id    \tState         \t\ngrößer\tEmpty         \t\nx     \tCompleteCommit\t\n"; out.String() != want {
		t.Errorf("%q", out.String())
	}
	if stateName("Ongoing") != "Ongoing" || stateName("Brandnew") != "Unknown" || orNone(-1) != "None" || orNone(0) != "0" {
		t.Error("states, or numbers that are absent")
	}
}

func TestWhatAnswersMean(t *testing.T) {
	t.Parallel()
	spec := abortSpec{kafka.TopicPartition{Topic: "t"}, 5, 3, 0}
	const what = "WriteTxnMarkers request with AbortTransactionSpec(topicPartition=t-0, producerId=5, producerEpoch=3, coordinatorEpoch=0) failed "
	for code, want := range map[kafka.ErrorCode]string{
		kafka.ErrNone: "", kafka.ErrNotLeaderOrFollower: "again", kafka.ErrUnknownTopicOrPartition: "again",
		kafka.ErrClusterAuthorizationFailed:   what + "due to cluster authorization error",
		kafka.ErrInvalidProducerEpoch:         what + "due an invalid producer epoch",
		kafka.ErrTransactionCoordinatorFenced: what + "since the provided coordinator epoch 0 has been fenced by the active coordinator",
		kafka.ErrInvalidTxnState:              what + "due to unexpected error: " + client.FromCode(int16(kafka.ErrInvalidTxnState), nil).Error(),
	} {
		again, err := markerError(spec, code)
		if got := outcome(again, err); got != want {
			t.Errorf("marker, %v: %q", code, got)
		}
	}
	for _, c := range []struct {
		code   kafka.ErrorCode
		broker int32
		want   string
	}{
		{kafka.ErrNone, anyBroker, ""}, {kafka.ErrUnknownTopicOrPartition, 4, "again"}, {kafka.ErrNotLeaderOrFollower, anyBroker, "again"},
		{kafka.ErrNotLeaderOrFollower, 4, "Failed to describe active producers for partition t-0 on brokerId 4"},
		{kafka.ErrTopicAuthorizationFailed, 4, "Failed to describe active producers for partition t-0 due to authorization failure on topic `t`"},
		{kafka.ErrUnknownServerError, 4, "Failed to describe active producers for partition t-0 due to unexpected error"},
	} {
		p := kmsg.NewDescribeProducersResponseTopicPartition()
		p.ErrorCode = int16(c.code)
		again, err := producersError(spec.tp, c.broker, &p)
		if got := outcome(again, err); got != c.want {
			t.Errorf("producers, %v: %q", c.code, got)
		}
	}
	if _, err := markerCode(kmsg.NewPtrWriteTxnMarkersResponse()); err == nil {
		t.Error("an answer without markers was taken")
	}
}

func outcome(again bool, err error) string {
	switch {
	case err != nil:
		return err.Error()
	case again:
		return "again"
	}
	return ""
}
