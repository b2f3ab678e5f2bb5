package verifiable

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
	"github.com/moldau/moldau/internal/tools/pace"
)

const producerDeprecated = "Option --producer.config has been deprecated and will be removed in a future version. Use --command-config instead."

func producerParser() *cli.OptionParser {
	return &cli.OptionParser{
		Program:     "verifiable-producer",
		Description: "Sends increasing numbers to a topic and prints as JSON what has been acknowledged and what has not.",
		Arguments: []cli.Argument{
			{Long: "--topic", Metavar: "TOPIC", Required: true, Help: "the topic to send to"},
			{Long: "--max-messages", Metavar: "MAX-MESSAGES", Bits: 32, Default: "-1", Help: "how many to send; -1: until interrupted"},
			{Long: "--throughput", Metavar: "THROUGHPUT", Bits: 32, Default: "-1", Help: "about so many records per second; -1: as many as possible"},
			{Long: "--acks", Metavar: "ACKS", Bits: 32, Default: "-1", Choices: []string{"0", "1", "-1"}, Help: "acknowledgements to wait for"},
			{Long: "--producer.config", Metavar: "CONFIG-FILE", Help: "(DEPRECATED) the former name of --command-config"},
			{Long: "--message-create-time", Metavar: "CREATE-TIME", Bits: 64, Default: "-1", Help: "timestamp of the first record in milliseconds since 1970"},
			{Long: "--value-prefix", Metavar: "VALUE-PREFIX", Bits: 32, Help: "a number that stands before each value, with a dot"},
			{Long: "--repeating-keys", Metavar: "REPEATING-KEYS", Bits: 32, Help: "keys from 0 up to this number, and again from 0"},
			{Long: "--command-config", Metavar: "CONFIG-FILE", Help: "file with producer properties, which win over the options"},
			{Long: "--bootstrap-server", Metavar: "HOST1:PORT1[,HOST2:PORT2[...]]", Required: true, Help: "brokers to connect to"},
		},
	}
}

// RunProducer is kafka-verifiable-producer.
func RunProducer(ctx context.Context, s cli.Streams, args []string) error {
	parser := producerParser()
	set, err := parser.Parse(s, args)
	if err != nil {
		return err
	}
	props := client.Properties{"bootstrap.servers": set.Value("--bootstrap-server"), "acks": set.Value("--acks")}
	if err := mergeFile(s, parser, set, props, "--producer.config", producerDeprecated); err != nil {
		return err
	}
	p := newProducer(s, set)
	if p.client, err = client.NewProducer(s, props, p.options()...); err != nil {
		return fmt.Errorf("org.apache.kafka.common.KafkaException: Failed to construct kafka producer: %w", err)
	}
	defer p.client.Close()
	p.run(ctx)
	if ctx.Err() != nil {
		return &cli.ExitError{Code: interruptedExit}
	}
	return nil
}

// mergeFile adds the properties of a file, which win.
func mergeFile(s cli.Streams, parser *cli.OptionParser, set *cli.Parsed, props client.Properties, former, deprecated string) error {
	option := "--command-config"
	if set.Has(former) {
		if set.Has(option) {
			return parser.Fail(s, "Options %s and --command-config are mutually exclusive.", former)
		}
		s.Println(deprecated)
		option = former
	}
	if !set.Has(option) {
		return nil
	}
	file, err := cli.LoadProperties(set.Value(option))
	if err != nil {
		return parser.Fail(s, "%s", err)
	}
	maps.Copy(props, file)
	return nil
}

// producer is one run of the tool.
type producer struct {
	events     events
	client     *client.Client
	topic      string
	limit      int64 // negative: none
	throughput int64
	prefix     string
	keys       int64 // 0: no keys
	createTime int64 // -1: now
	started    time.Time
	sent       int64
	acked      atomic.Int64
}

func newProducer(s cli.Streams, set *cli.Parsed) *producer {
	p := &producer{events: events{streams: s}, topic: set.Value("--topic"), started: time.Now()}
	p.limit, _ = set.Number("--max-messages")
	p.throughput, _ = set.Number("--throughput")
	p.createTime, _ = set.Number("--message-create-time")
	p.keys, _ = set.Number("--repeating-keys")
	if set.Has("--value-prefix") {
		p.prefix = set.Value("--value-prefix") + "."
	}
	return p
}

// options are those of a client that sends records of another time: the library counts
// delivery.timeout.ms from a record's timestamp, so that one of the past would have failed before it is
// sent. The wait at the end of run stays bounded.
func (p *producer) options() []kgo.Opt {
	if p.createTime == -1 {
		return nil
	}
	return []kgo.Opt{kgo.RecordDeliveryTimeout(0)}
}

func (p *producer) run(ctx context.Context) {
	p.events.print(named("startup_complete"))
	pacer := pace.New(float64(p.throughput), p.started)
	for i := int64(0); (p.limit < 0 || i < p.limit) && ctx.Err() == nil; i++ {
		p.send(ctx, i)
		pacer.Wait(ctx, i+1)
	}
	// What has been sent is told of, interrupted or not; a broker that is gone bounds the wait.
	ending, cancel := p.client.Context(context.WithoutCancel(ctx))
	defer cancel()
	if p.client.Flush(ending) != nil {
		_ = p.client.AbortBufferedRecords(context.WithoutCancel(ctx)) // each record is told of by its callback
	}
	p.events.print(named("shutdown_complete"))
	elapsedMs := float64(time.Since(p.started).Milliseconds())
	p.events.print(struct {
		event
		Sent       int64      `json:"sent"`
		Acked      int64      `json:"acked"`
		Target     int64      `json:"target_throughput"`
		Throughput javaDouble `json:"avg_throughput"`
	}{named("tool_data"), p.sent, p.acked.Load(), p.throughput, javaDouble(1000 * (float64(p.acked.Load()) / elapsedMs))})
}

func (p *producer) record(number int64) *kgo.Record {
	r := &kgo.Record{Topic: p.topic, Value: []byte(p.prefix + strconv.FormatInt(number, 10))}
	if p.keys > 0 {
		r.Key = strconv.AppendInt(nil, number%p.keys, 10)
	}
	if p.createTime != -1 {
		r.Timestamp = time.UnixMilli(p.createTime)
		p.createTime += time.Since(p.started).Milliseconds()
	}
	return r
}

func (p *producer) send(ctx context.Context, number int64) {
	p.sent++
	p.client.Produce(context.WithoutCancel(ctx), p.record(number), func(r *kgo.Record, err error) {
		if err != nil {
			p.events.print(failure(r, client.Convert(err, "produce")))
			return
		}
		p.acked.Add(1)
		p.events.print(struct {
			event
			Key       *string `json:"key"`
			Value     *string `json:"value"`
			Offset    int64   `json:"offset"`
			Topic     string  `json:"topic"`
			Partition int32   `json:"partition"`
		}{named("producer_send_success"), text(r.Key), text(r.Value), r.Offset, r.Topic, r.Partition})
	})
}

func failure(r *kgo.Record, err error) any {
	class, message, _ := strings.Cut(client.Exception(err), ": ")
	return struct {
		event
		Topic     string  `json:"topic"`
		Key       *string `json:"key"`
		Value     *string `json:"value"`
		Exception string  `json:"exception"`
		Message   string  `json:"message"`
	}{named("producer_send_error"), r.Topic, text(r.Key), text(r.Value), "class " + class, message}
}
