package perf

import (
	"bytes"
	"context"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/tools/cli"
)

// TestStats holds the lines that Apache Kafka 4.3.1 prints.
func TestStats(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := cli.Streams{Out: &out}
	start := time.UnixMilli(1_000)
	st := newStats(s, 1000, 500*time.Millisecond, false, start)
	for i := range 1000 {
		st.record(time.Duration(i)*time.Millisecond, 100, start.Add(time.Duration(i)*time.Millisecond))
	}
	st.printTotal(start.Add(time.Second))
	want := "501 records sent, 1002.0 records/sec (0.10 MB/sec), 250.0 ms avg latency, 500.0 ms max latency.\n" +
		"1000 records sent, 1000.000000 records/sec (0.10 MB/sec), 499.50 ms avg latency, 999.00 ms max latency, 500 ms 50th, 950 ms 95th, 990 ms 99th, 999 ms 99.9th.\n"
	if out.String() != want {
		t.Errorf("%s\nwant %s", out.String(), want)
	}
	out.Reset()
	newStats(s, 1, time.Second, true, start).printTotal(start.Add(time.Second))
	want = "0 steady state records sent, 0.000000 records/sec (0.00 MB/sec), NaN ms avg latency, 0.00 ms max latency, 0 ms 50th, 0 ms 95th, 0 ms 99th, 0 ms 99.9th.\n"
	if out.String() != want {
		t.Errorf("%s\nwant %s", out.String(), want)
	}
}

func TestSteadyState(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	start := time.UnixMilli(1_000)
	st := newStats(cli.Streams{Out: &out}, 10, time.Second, true, start)
	st.record(time.Millisecond, 1, start.Add(time.Second))
	st.record(time.Millisecond, 1, start.Add(2*time.Second))
	if got := strings.Count(out.String(), "In steady state.\n1 records sent"); got != 1 || strings.Count(out.String(), "In steady") != 1 {
		t.Error(out.String())
	}
}

func TestPayloads(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"a\nb\n": "a|b", "\na": "a", "a\n\nb": "a||b", "\n": "", "a\n\n": "a|"} {
		if got := string(bytes.Join(splitPayloads(text, regexp.MustCompile(`\n`)), []byte("|"))); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	p := newPayloads()
	p.size = 21
	value, err := p.value(nil, 0)
	if err != nil || !regexp.MustCompile(`^[A-Z]{21}$`).Match(value) {
		t.Errorf("%q %v", value, err)
	}
	p.size, p.monotonic = 0, true
	if value, err := p.value(value, 42); err != nil || string(value) != "42" {
		t.Errorf("%q %v", value, err)
	}
	p.monotonic = false
	if _, err := p.value(nil, 0); err == nil {
		t.Error("a record without any payload")
	}
}

func TestDateFormat(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 15, 4, 5, 67_000_000, time.UTC)
	for pattern, want := range map[string]string{
		"yyyy-MM-dd HH:mm:ss:SSS": "2026-11-21 15:04:05:067", "d MMM yy hh 'at' a": "21 Nov 26 03 at PM", "EEEE''Z": "Saturday'+0000",
	} {
		f, err := newDateFormat(pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.format(at); got != want {
			t.Errorf("%s: %q, want %q", pattern, got, want)
		}
	}
	if _, err := newDateFormat("qq"); err == nil {
		t.Error("an unknown letter was accepted")
	}
}

// TestCommandLines holds the complaints of Apache Kafka 4.3.1's tools.
func TestCommandLines(t *testing.T) {
	t.Parallel()
	producer := "--bootstrap-server b:1 --topic t --num-records 10 --throughput -1 "
	latency := "--bootstrap-server b:1 --topic t --num-records 1 --record-size 1 "
	for _, test := range []struct {
		run        func(context.Context, cli.Streams, []string) error
		args, want string
	}{
		{RunProducer, "--topic t", "argument --num-records is required"},
		{RunProducer, producer, "one of the arguments --record-size --payload-file --payload-monotonic is required"},
		{RunProducer, producer + "--record-size 1 --payload-monotonic", "argument --payload-monotonic: not allowed with argument --record-size"},
		{RunProducer, producer + "--record-size 0", "--record-size should be greater than zero."},
		{RunProducer, producer + "--record-size 1 --warmup-records 10", tooManyWarmup},
		{RunProducer, producer + "--record-size 1 --producer-props a=b --command-property c=d", "--command-property and --producer-props cannot be specified together."},
		{RunProducer, producer + "--record-size 1 --command-property a=b c", "java.lang.IllegalArgumentException: Invalid property: c"},
		{RunProducer, "--throughput x", `argument --throughput: could not convert 'x' to Double (For input string: "x")`},
		{RunConsumer, "--bootstrap-server b:1 --topic t", "Exactly one of the following arguments is required: [messages], [num-records]"},
		{RunConsumer, "--bootstrap-server b:1 --num-records 1", "Exactly one of the following arguments is required: [topic], [include]"},
		{RunConsumer, "", consumerSummary},
		{RunLatency, "a b", "Invalid number of arguments. Expected 5 or 6 positional arguments, but got 2. Usage: bootstrap-server topic num-records producer-acks record-size [optional] command-config"},
		{RunLatency, latency + "--producer-acks 0", "Invalid value for --producer-acks. Latency testing requires synchronous acknowledgement. Please use '1' or 'all'."},
		{RunLatency, latency + "--producer-acks 1 --record-header-size -2", "Value for --record-header-size must be a non-negative integer or -1 for null header value."},
		{RunLatency, "--topic t", `Missing required argument "[bootstrap-server]"`},
	} {
		var errs bytes.Buffer
		s := cli.Streams{Out: io.Discard, Err: &errs}
		code := cli.Exit(s, test.run(t.Context(), s, strings.Fields(test.args)))
		if code != 1 || !strings.Contains(errs.String(), test.want) {
			t.Errorf("%s: exit %d, %q; want %q", test.args, code, errs.String(), test.want)
		}
	}
}

func TestCheckReceived(t *testing.T) {
	t.Parallel()
	sent := &kgo.Record{Key: []byte{}, Value: []byte("v"), Headers: []kgo.RecordHeader{{Key: "h"}}}
	if err := checkReceived(sent, []*kgo.Record{sent}); err != nil {
		t.Error(err)
	}
	for name, received := range map[string][]*kgo.Record{
		"nothing": nil, "two": {sent, sent}, "value": {{Key: []byte{}, Value: []byte("w")}}, "null key": {{Value: []byte("v")}},
		"header": {{Key: []byte{}, Value: []byte("v"), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte{}}}}},
	} {
		if err := checkReceived(sent, received); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

// TestMetricsAwaitBatches has batches counted after their records were acknowledged, as the client does.
func TestMetricsAwaitBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		m := newMeter(start)
		for range 3 {
			time.AfterFunc(time.Second, func() { m.OnProduceBatchWritten(kgo.BrokerMetadata{}, "t", 0, kgo.ProduceBatchMetrics{NumRecords: 5}) })
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		m.await(ctx, 15)
		if m.sent() != 15 || time.Since(start) != time.Second {
			t.Errorf("%v records after %v", m.sent(), time.Since(start))
		}
		m.await(ctx, 16)
		if time.Since(start) != time.Minute {
			t.Errorf("gave up after %v", time.Since(start))
		}
	})
}

// TestMetrics holds the form of what --print-metrics prints.
func TestMetrics(t *testing.T) {
	t.Parallel()
	start := time.UnixMilli(1_000)
	m := newMeter(start)
	m.OnBrokerConnect(kgo.BrokerMetadata{}, 0, nil, nil)
	m.OnBrokerConnect(kgo.BrokerMetadata{}, 0, nil, io.EOF)
	m.OnBrokerE2E(kgo.BrokerMetadata{}, 0, kgo.BrokerE2E{BytesWritten: 300, BytesRead: 40, TimeToWrite: time.Millisecond, ReadWait: 2 * time.Millisecond})
	m.OnBrokerE2E(kgo.BrokerMetadata{}, 0, kgo.BrokerE2E{BytesWritten: 100, ReadErr: io.EOF})
	m.OnProduceBatchWritten(kgo.BrokerMetadata{}, "t", 0, kgo.ProduceBatchMetrics{NumRecords: 5, UncompressedBytes: 239, CompressedBytes: 89})
	var out bytes.Buffer
	m.producerTable("c", start.Add(2*time.Second)).print(cli.Streams{Out: &out})
	want := `
Metric Name Value
producer-metrics:batch-size-avg:{client-id=c} : 150.000
producer-metrics:batch-size-max:{client-id=c} : 150.000
producer-metrics:compression-rate-avg:{client-id=c} : 0.500
producer-metrics:connection-close-total:{client-id=c} : 0.000
producer-metrics:connection-count:{client-id=c} : 1.000
producer-metrics:connection-creation-total:{client-id=c} : 1.000
producer-metrics:incoming-byte-rate:{client-id=c} : 20.000
producer-metrics:incoming-byte-total:{client-id=c} : 40.000
producer-metrics:outgoing-byte-rate:{client-id=c} : 200.000
producer-metrics:outgoing-byte-total:{client-id=c} : 400.000
producer-metrics:produce-throttle-time-avg:{client-id=c} : NaN
producer-metrics:produce-throttle-time-max:{client-id=c} : NaN
producer-metrics:record-send-rate:{client-id=c} : 2.500
producer-metrics:record-send-total:{client-id=c} : 5.000
producer-metrics:records-per-request-avg:{client-id=c} : 5.000
producer-metrics:request-latency-avg:{client-id=c} : 3.000
producer-metrics:request-latency-max:{client-id=c} : 3.000
producer-metrics:request-rate:{client-id=c} : 1.000
producer-metrics:request-size-avg:{client-id=c} : 200.000
producer-metrics:request-size-max:{client-id=c} : 300.000
producer-metrics:request-total:{client-id=c} : 2.000
producer-metrics:response-rate:{client-id=c} : 0.500
producer-metrics:response-total:{client-id=c} : 1.000
producer-topic-metrics:byte-rate:{client-id=c, topic=t} : 75.000
producer-topic-metrics:byte-total:{client-id=c, topic=t} : 150.000
producer-topic-metrics:record-send-rate:{client-id=c, topic=t} : 2.500
producer-topic-metrics:record-send-total:{client-id=c, topic=t} : 5.000
`
	if got := regexp.MustCompile(" +").ReplaceAllString(out.String(), " "); got != want {
		t.Errorf("got %s", got)
	}
	for line := range strings.Lines(strings.TrimPrefix(out.String(), "\n")) {
		if column := len("producer-topic-metrics:record-send-total:{client-id=c, topic=t}"); line[column:column+3] != " : " && line[column:column+3] != "   " {
			t.Errorf("%q is not in columns", line)
		}
	}
	out.Reset()
	read := newMeter(start)
	read.OnBrokerThrottle(kgo.BrokerMetadata{}, 30*time.Millisecond, true)
	read.consumerTable("c", consumed{records: 10, bytes: 500}, start.Add(2*time.Second)).print(cli.Streams{Out: &out})
	for _, line := range []string{"consumer-fetch-manager-metrics:bytes-consumed-rate:{client-id=c} : 250.000\n", "consumer-fetch-manager-metrics:fetch-throttle-time-max:{client-id=c} : 30.000\n",
		"consumer-fetch-manager-metrics:records-per-request-avg:{client-id=c} : Infinity\n", "consumer-coordinator-metrics:join-time-avg:{client-id=c} : NaN\n"} {
		if !strings.Contains(regexp.MustCompile(" +").ReplaceAllString(out.String(), " "), line) {
			t.Errorf("no %q in %s", line, &out)
		}
	}
}
