// Package load is the client side of the measurements. The harness runs itself as a child for
// each order, so that clients have a process, a heap and a CPU clock of their own.
package load

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Mode is what clients are to do.
type Mode string

// The modes.
const (
	Produce Mode = "produce" // as fast as acknowledgements come
	Consume Mode = "consume" // everything that the topic has
	Paced   Mode = "paced"   // produce at a fixed rate, and consume at its end
	CatchUp Mode = "catch-up"
)

// Order is one piece of work for the clients.
type Order struct {
	Mode       Mode
	Addr       string // or several, by comma
	Topic      string
	BrokerPIDs []int // whose CPU time is taken
	Records    int   // to produce, or to read
	WarmUp     int   // records to produce before the clocks start
	ValueBytes int
	Text       bool // values compress as words do, else they are random
	Acks       string
	Linger     time.Duration
	Codec      string
	Producers  int
	Keys       int    // how many keys there are; 0: records have none
	Rate       int    // records a second, of Paced and CatchUp
	Seconds    int    // of Paced, after the warm-up
	MayMiss    bool   // of Paced: retention is at work, the consumer need not have read everything
	LiveTopic  string // of CatchUp: what is produced to meanwhile
}

// Result is what the clients have seen.
type Result struct {
	Records          int
	ValueBytes       int64
	Seconds          float64
	BrokerCPUSeconds float64
	ClientCPUSeconds float64
	// Acknowledged is from when a record was handed to the client, or was due, to its
	// acknowledgement; EndToEnd from when it was due until a consumer had it.
	Acknowledged, EndToEnd Percentiles
}

// Gigabytes of record values.
func (r *Result) Gigabytes() float64 { return float64(r.ValueBytes) / 1e9 }

// Main does the order that in holds as JSON and writes its result to out.
func Main(ctx context.Context, in []byte, out io.Writer) error {
	var o Order
	if err := json.Unmarshal(in, &o); err != nil {
		return err
	}
	result, err := o.run(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(result)
}

func (o *Order) run(ctx context.Context) (*Result, error) {
	switch o.Mode {
	case Produce:
		return o.produce(ctx)
	case Consume:
		return o.consume(ctx)
	case Paced:
		return o.paced(ctx)
	case CatchUp:
		return o.catchUp(ctx)
	}
	return nil, fmt.Errorf("there is no mode %q", o.Mode)
}

func (o *Order) seeds() []string { return strings.Split(o.Addr, ",") }

// producerOptions are franz-go's defaults but for what the order names.
func (o *Order) producerOptions(topic string) ([]kgo.Opt, error) {
	opts := []kgo.Opt{kgo.SeedBrokers(o.seeds()...), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(o.Linger)}
	switch o.Acks {
	case "all":
	case "1":
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	default:
		return nil, fmt.Errorf("acks is %q; it is 1 or all", o.Acks)
	}
	switch o.Codec {
	case "none":
		opts = append(opts, kgo.ProducerBatchCompression(kgo.NoCompression()))
	case "lz4":
		opts = append(opts, kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	default:
		return nil, fmt.Errorf("codec is %q; it is none or lz4", o.Codec)
	}
	if o.Producers > 1 { // together they buffer as many records as one would
		opts = append(opts, kgo.MaxBufferedRecords(max(1, 50_000/o.Producers)))
	}
	return opts, nil
}
