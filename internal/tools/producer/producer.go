package producer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

const (
	errorLogger = "org.apache.kafka.clients.producer.internals.ErrorLoggingCallback"
	// flushTimeout bounds how long an interrupted tool goes on sending.
	flushTimeout = 10 * time.Second
	// interruptedExit is the exit code after Ctrl-C.
	interruptedExit = 130
)

// Run is kafka-console-producer.
func Run(ctx context.Context, s cli.Streams, args []string) error {
	o := newOptions()
	set, err := o.parser.Parse(args)
	if err != nil {
		return o.parser.UsageError(s, "%s", err)
	}
	o.Set = set
	if done, err := o.HelpOrVersion(s, Summary); done {
		return err
	}
	if err := o.check(s); err != nil {
		return err
	}
	p, err := open(s, o)
	if err != nil {
		return err
	}
	defer p.client.Close()
	return p.run(ctx)
}

// producer is one run of the tool.
type producer struct {
	streams cli.Streams
	client  *client.Client
	reader  *lineReader
	topic   string
	sync    bool
	known   bool // the topic's metadata has been seen
	// maxRequestSize bounds a record's bytes (max.request.size).
	maxRequestSize int
	errMu          sync.Mutex
}

func open(s cli.Streams, o *options) (*producer, error) {
	if class := o.String(o.lineReader); class != lineReaderClass {
		return nil, fmt.Errorf("java.lang.ClassNotFoundException: %s (this tool has only %s)", class, lineReaderClass)
	}
	readerProps, err := o.readerProperties()
	if err != nil {
		return nil, err
	}
	prompt := func() {}
	if cli.IsTerminal(s.In) && cli.IsTerminal(s.Out) {
		prompt = func() { s.Printf(">") }
	}
	reader, err := newLineReader(s.In, readerProps, prompt)
	if err != nil {
		return nil, kafkaException(err)
	}
	props, err := o.producerProperties()
	if err != nil {
		return nil, err
	}
	p := &producer{streams: s, reader: reader, topic: o.String(o.topic), sync: o.Has(o.sync), maxRequestSize: 1 << 20}
	if size, err := strconv.Atoi(props["max.request.size"]); err == nil {
		p.maxRequestSize = size
	}
	if err := o.Err(); err != nil {
		return nil, err
	}
	if p.client, err = client.NewProducer(s, props); err != nil {
		return nil, fmt.Errorf("org.apache.kafka.common.config.ConfigException: %w", err)
	}
	return p, nil
}

func kafkaException(err error) error {
	return fmt.Errorf("org.apache.kafka.common.KafkaException: %w", err)
}

type line struct {
	record *kgo.Record
	err    error
}

func (p *producer) run(ctx context.Context) error {
	lines := make(chan line)
	asked := make(chan struct{}, 1)
	defer close(asked)
	go p.readLines(ctx, asked, lines)
	for {
		asked <- struct{}{}
		select {
		case <-ctx.Done():
			p.flush(context.WithoutCancel(ctx))
			return &cli.ExitError{Code: interruptedExit}
		case next := <-lines:
			if next.err != nil {
				p.flush(context.WithoutCancel(ctx))
			}
			switch {
			case errors.Is(next.err, io.EOF):
				return nil
			case next.err != nil:
				return kafkaException(next.err)
			}
			if err := p.send(ctx, next.record); err != nil {
				return err
			}
		}
	}
}

// readLines reads one line whenever it is asked to, so that the prompt comes when the tool is
// ready for the next line.
func (p *producer) readLines(ctx context.Context, asked <-chan struct{}, lines chan<- line) {
	for range asked {
		record, err := p.reader.next()
		select {
		case lines <- line{record, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

func (p *producer) send(ctx context.Context, record *kgo.Record) error {
	record.Topic = p.topic
	if !p.known {
		if err := p.client.AwaitTopic(ctx, p.topic); err != nil {
			return p.failed(record, err)
		}
		p.known = true
	}
	if p.sync {
		_, err := p.client.ProduceSync(ctx, record).First()
		return p.failed(record, client.Convert(err, "produce"))
	}
	p.client.Produce(ctx, record, func(r *kgo.Record, err error) {
		if err != nil && ctx.Err() == nil {
			p.logFailure(r, client.Convert(err, "produce"))
		}
	})
	return nil
}

// failed ends the tool if each record is waited for; else the failure is only reported, as
// Kafka's tool does.
func (p *producer) failed(record *kgo.Record, err error) error {
	if err == nil {
		return nil
	}
	if p.sync {
		p.streams.Errorln(client.Exception(err))
		return cli.Failed
	}
	p.logFailure(record, err)
	return nil
}

func (p *producer) logFailure(record *kgo.Record, err error) {
	err = client.DescribeTooLarge(err, record, p.maxRequestSize)
	size := func(b []byte) string {
		if b == nil {
			return "null"
		}
		return fmt.Sprintf("%d bytes", len(b))
	}
	p.errMu.Lock()
	defer p.errMu.Unlock()
	p.streams.Log("ERROR", fmt.Sprintf("Error when sending message to topic %s with key: %s, value: %s with error:", p.topic, size(record.Key), size(record.Value)), errorLogger)
	p.streams.Errorln(client.Exception(err))
}

func (p *producer) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, max(flushTimeout, p.client.MaxBlock))
	defer cancel()
	// What could not be sent has been reported by its own callback.
	_ = p.client.Flush(ctx)
}
