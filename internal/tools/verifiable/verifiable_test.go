package verifiable

import (
	"bytes"
	"errors"
	"io"
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

var timestamps = regexp.MustCompile(`"timestamp":\d+`)

// TestEvents holds the order of members that Apache Kafka 4.3.1's tools print.
func TestEvents(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	c := &consumer{events: events{streams: cli.Streams{Out: &out}}, limit: 3, verbose: true}
	fetches := kgo.Fetches{{Topics: []kgo.FetchTopic{{Topic: "t2", Partitions: []kgo.FetchPartition{{Records: []*kgo.Record{
		{Topic: "t2", Key: []byte("0"), Value: []byte("7.0"), Offset: 4}, {Topic: "t2", Value: []byte("<"), Offset: 5},
	}}}}}}}
	c.received(fetches)
	c.limit = 3
	c.received(fetches)
	c.rebalanced("partitions_assigned")(t.Context(), nil, map[string][]int32{"t2": {1, 0}})
	c.events.print(failure(&kgo.Record{Topic: "t2", Value: []byte("0")}, &client.Error{Code: kafka.ErrMessageTooLarge, Message: "too large"}))
	want := `{"T","name":"record_data","key":"0","value":"7.0","topic":"t2","partition":0,"offset":4}
{"T","name":"record_data","key":null,"value":"<","topic":"t2","partition":0,"offset":5}
{"T","name":"records_consumed","count":2,"partitions":[{"topic":"t2","partition":0,"count":2,"minOffset":4,"maxOffset":5}]}
{"T","name":"record_data","key":"0","value":"7.0","topic":"t2","partition":0,"offset":4}
{"T","name":"records_consumed","count":2,"partitions":[{"topic":"t2","partition":0,"count":1,"minOffset":4,"maxOffset":4}]}
{"T","name":"partitions_assigned","partitions":[{"topic":"t2","partition":0},{"topic":"t2","partition":1}]}
{"T","name":"producer_send_error","topic":"t2","key":null,"value":"0","exception":"class org.apache.kafka.common.errors.RecordTooLargeException","message":"too large"}
`
	if got := timestamps.ReplaceAllString(out.String(), `"T"`); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

func TestJavaDouble(t *testing.T) {
	t.Parallel()
	for number, want := range map[float64]string{0: "0.0", 6.25: "6.25", math.Inf(1): `"Infinity"`, 1e9: "1.0E9"} {
		if got, err := javaDouble(number).MarshalJSON(); err != nil || string(got) != want {
			t.Errorf("%v: %s %v", number, got, err)
		}
	}
}

func TestCommandLines(t *testing.T) {
	t.Parallel()
	var errs bytes.Buffer
	s := cli.Streams{Out: io.Discard, Err: &errs}
	if code := cli.Exit(s, RunProducer(t.Context(), s, strings.Fields("--topic t --acks 2"))); code != 1 || !strings.Contains(errs.String(), "argument --acks: invalid choice: '2' (choose from {0,1,-1})") {
		t.Errorf("exit %d, %s", code, errs.String())
	}
	if err := RunConsumer(t.Context(), s, nil); !errors.Is(err, cli.ErrHelp) {
		t.Error(err)
	}
}
