package perf

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

const (
	latencySummary    = "This tool measures the time from sending a record to receiving it."
	roundTripTimeout  = time.Minute
	latencyReportEach = 1000
	positionalWarning = "WARNING: Positional argument usage is deprecated and will be removed in Apache Kafka 5.0. " +
		"Please use named arguments instead: --bootstrap-server, --topic, --num-records, --producer-acks, --record-size, --command-config"
	positionalUsage = "Invalid number of arguments. Expected 5 or 6 positional arguments, but got %d. Usage: bootstrap-server topic num-records producer-acks record-size [optional] command-config"
)

type latencyOptions struct {
	*cli.Set
	parser                                                    *cli.Parser
	bootstrap, topic, records, acks, size                     *cli.Option
	keySize, headerKeySize, headerValueSize, headers, command *cli.Option
}

func newLatencyOptions() *latencyOptions {
	p := cli.NewParser()
	optional := func(name, help string) *cli.Option {
		return p.Add(cli.Option{Name: name, Arg: cli.OptionalArg, ArgName: "Integer: bytes", Default: "0", Help: help})
	}
	return &latencyOptions{
		parser:          p,
		bootstrap:       p.Value("bootstrap-server", "String: bootstrap-server", "REQUIRED: brokers to connect to, host:port,..."),
		topic:           p.Value("topic", "String: topic-name", "REQUIRED: the topic to use; created with one partition if absent."),
		records:         p.Value("num-records", "Integer: count", "REQUIRED: how many records to send."),
		acks:            p.Value("producer-acks", "String: producer-acks", "REQUIRED: acknowledgements to wait for, 1 or all."),
		size:            p.Value("record-size", "Integer: bytes", "REQUIRED: the size of each record's value."),
		keySize:         optional("record-key-size", "The size of each record's key."),
		headerKeySize:   optional("record-header-key-size", "The size of each header's key."),
		headerValueSize: optional("record-header-size", "The size of each header's value; -1: null."),
		headers:         optional("num-headers", "How many headers each record has."),
		command:         p.Add(cli.Option{Name: "command-config", Arg: cli.OptionalArg, ArgName: "String: config-file", Help: "File with client properties."}),
	}
}

// RunLatency is kafka-e2e-latency.
func RunLatency(ctx context.Context, s cli.Streams, args []string) error {
	args, err := namePositional(s, args)
	if err != nil {
		return err
	}
	o := newLatencyOptions()
	if o.Set, err = o.parser.Parse(args); err != nil {
		return o.parser.UsageError(s, "%s", err)
	}
	if done, err := o.HelpOrVersion(s, latencySummary); done {
		return err
	}
	if err := o.check(s); err != nil {
		return err
	}
	props, err := client.LoadCommandConfig(o.Set, o.command)
	if err != nil {
		return err
	}
	l := &latency{streams: s, topic: o.String(o.topic), options: o, random: rand.New(rand.NewPCG(0, 0))}
	return l.run(ctx, props)
}

// namePositional turns the former command line without options into today's.
func namePositional(s cli.Streams, args []string) ([]string, error) {
	names := []string{"--bootstrap-server", "--topic", "--num-records", "--producer-acks", "--record-size", "--command-config"}
	named := slices.ContainsFunc(args, func(arg string) bool { return slices.Contains(names[:5], arg) })
	// Help and version ask for words, which Kafka's tool counts as positions.
	if len(args) == 0 || named || len(args) == 1 && strings.HasPrefix(args[0], "-") {
		return args, nil
	}
	if len(args) != 5 && len(args) != 6 {
		return nil, fmt.Errorf(positionalUsage, len(args))
	}
	s.Println(positionalWarning)
	var words []string
	for i, arg := range args {
		words = append(words, names[i], arg)
	}
	return words, nil
}

func (o *latencyOptions) check(s cli.Streams) error {
	if err := o.CheckRequired(s, o.bootstrap, o.topic, o.records, o.acks, o.size); err != nil {
		return err
	}
	if acks := o.String(o.acks); acks != "1" && acks != "all" {
		return o.parser.UsageError(s, "Invalid value for --producer-acks. Latency testing requires synchronous acknowledgement. Please use '1' or 'all'.")
	}
	records := o.Int(o.records)
	sizes := []struct {
		option  *cli.Option
		minimum int32
		words   string
	}{
		{o.size, 0, "a non-negative integer."}, {o.keySize, 0, "a non-negative integer."}, {o.headerKeySize, 0, "a non-negative integer."},
		{o.headerValueSize, -1, "a non-negative integer or -1 for null header value."}, {o.headers, 0, "a non-negative integer."},
	}
	for _, size := range sizes {
		o.Int(size.option)
	}
	if err := o.Err(); err != nil {
		return o.parser.UsageError(s, "%s", err)
	}
	if records <= 0 {
		return o.parser.UsageError(s, "Value for --num-records must be a positive integer.")
	}
	for _, size := range sizes {
		if o.Int(size.option) < size.minimum {
			return o.parser.UsageError(s, "Value for --%s must be %s", size.option.Name, size.words)
		}
	}
	return nil
}

// latency is one run of the tool.
type latency struct {
	streams            cli.Streams
	options            *latencyOptions
	topic              string
	random             *rand.Rand
	producer, consumer *client.Client
}

func (l *latency) run(ctx context.Context, props client.Properties) error {
	o := l.options
	props["bootstrap.servers"] = o.String(o.bootstrap)
	props["linger.ms"], props["acks"] = "0", o.String(o.acks)
	var err error
	if l.producer, err = client.NewProducer(l.streams, props); err != nil {
		return err
	}
	defer l.producer.Close()
	ends, err := l.ends(ctx)
	if err != nil {
		return err
	}
	delete(props, "group.id")
	if l.consumer, err = client.NewConsumer(l.streams, props, kgo.ConsumePartitions(ends)); err != nil {
		return err
	}
	defer l.consumer.Close()
	return l.measure(ctx)
}

// ends creates the topic if it is absent and returns its end offsets, from which to read.
func (l *latency) ends(ctx context.Context) (map[string]map[int32]kgo.Offset, error) {
	if err := l.producer.Connect(ctx, "metadata"); err != nil {
		return nil, err
	}
	limit, cancel := l.producer.Context(ctx)
	defer cancel()
	admin := kadm.NewClient(l.producer.Client)
	topics, err := admin.ListTopics(limit, l.topic)
	if err != nil {
		return nil, client.Convert(err, "listTopics")
	}
	if !topics.Has(l.topic) {
		l.streams.Printf("Topic \"%s\" does not exist. Will create topic with 1 partition(s) and replication factor = 1\n", l.topic)
		created, err := admin.CreateTopic(limit, 1, 1, nil, l.topic)
		if err != nil || created.Err != nil {
			l.streams.Printf("Creation of topic %s failed\n", l.topic)
			return nil, fmt.Errorf("%s", client.Exception(client.Convert(cmp.Or(err, created.Err), "createTopics")))
		}
	}
	if err := l.producer.AwaitTopic(limit, l.topic); err != nil {
		return nil, err
	}
	listed, err := admin.ListEndOffsets(limit, l.topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, client.Convert(err, "listOffsets")
	}
	return listed.KOffsets(), nil
}

func (l *latency) measure(ctx context.Context) error {
	count := int(l.options.Int(l.options.records))
	latencies := make([]int64, 0, min(count, maxSamples))
	var total time.Duration
	for i := range count {
		record := l.record()
		started := time.Now()
		if err := l.producer.ProduceSync(ctx, record).FirstErr(); err != nil {
			return l.failed(ctx, fmt.Errorf("%s", client.Exception(client.Convert(err, "produce"))))
		}
		wait, cancel := context.WithTimeout(ctx, roundTripTimeout)
		received := l.consumer.PollFetches(wait).Records()
		cancel()
		elapsed := time.Since(started)
		if err := checkReceived(record, received); err != nil {
			return l.failed(ctx, err)
		}
		if i%latencyReportEach == 0 {
			l.streams.Printf("%d\t%s\n", i, cli.JavaFloat(float64(elapsed.Nanoseconds())/1e6, 64))
		}
		total += elapsed
		latencies = append(latencies, elapsed.Milliseconds())
	}
	slices.Sort(latencies)
	l.streams.Printf("Avg latency: %s ms\n", cli.Decimal(float64(total.Nanoseconds())/float64(count)/1e6, 4))
	l.streams.Printf("Percentiles: 50th = %d, 99th = %d, 99.9th = %d\n", percentile(latencies, 0.5), percentile(latencies, 0.99), percentile(latencies, 0.999))
	return nil
}

// failed lets an interruption win over the errors that it causes.
func (l *latency) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return &cli.ExitError{Code: interruptedExit}
	}
	return err
}

func (l *latency) record() *kgo.Record {
	o := l.options
	record := &kgo.Record{Topic: l.topic, Key: l.letters(o.keySize), Value: l.letters(o.size)}
	for range o.Int(o.headers) {
		header := kgo.RecordHeader{Key: string(l.letters(o.headerKeySize))}
		if o.Int(o.headerValueSize) >= 0 {
			header.Value = l.letters(o.headerValueSize)
		}
		record.Headers = append(record.Headers, header)
	}
	return record
}

// letters is one letter, repeated, as in Kafka's tool.
func (l *latency) letters(size *cli.Option) []byte {
	return bytes.Repeat([]byte{'A' + byte(l.random.IntN(26))}, int(l.options.Int(size)))
}

// checkReceived compares what came with what was sent.
func checkReceived(sent *kgo.Record, received []*kgo.Record) error {
	if len(received) == 0 {
		return fmt.Errorf("poll() timed out before finding a result (timeout:[%dms])", roundTripTimeout.Milliseconds())
	}
	got := received[0]
	switch {
	case !bytes.Equal(got.Value, sent.Value):
		return fmt.Errorf("The message value read [%s] did not match the message value sent [%s]", got.Value, sent.Value) //nolint:staticcheck // the words of Kafka's tools
	case got.Key == nil:
		return fmt.Errorf("Expected message key but received null") //nolint:staticcheck // likewise
	case !bytes.Equal(got.Key, sent.Key):
		return fmt.Errorf("The message key read [%s] did not match the message key sent [%s]", got.Key, sent.Key) //nolint:staticcheck // likewise
	case len(sent.Headers) > 0 && len(got.Headers) == 0:
		return fmt.Errorf("Expected message headers but received none") //nolint:staticcheck // likewise
	case len(sent.Headers) > 0 && len(sent.Headers) != len(got.Headers):
		return fmt.Errorf("Header count mismatch between sent and received messages") //nolint:staticcheck // likewise
	case len(received) != 1:
		return fmt.Errorf("Only one result was expected during this test. We found [%d]", len(received)) //nolint:staticcheck // likewise
	}
	for i, h := range sent.Headers {
		if r := got.Headers[i]; r.Key != h.Key || !bytes.Equal(r.Value, h.Value) || (r.Value == nil) != (h.Value == nil) {
			return fmt.Errorf("The message header read [%s:%s] did not match the message header sent [%s:%s]", r.Key, r.Value, h.Key, h.Value) //nolint:staticcheck // likewise
		}
	}
	return nil
}
