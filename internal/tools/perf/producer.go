package perf

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
	"github.com/moldau/moldau/internal/tools/pace"
)

// maxBufferedRecords lets buffer.memory be what bounds the records that wait.
const maxBufferedRecords = 1 << 20

// maxMetricsWait is how long batches may take to be counted after their records were acknowledged.
const maxMetricsWait = 2 * time.Second

// RunProducer is kafka-producer-perf-test.
func RunProducer(ctx context.Context, s cli.Streams, args []string) error {
	plan, err := planProducer(s, args)
	if err != nil {
		return err
	}
	opts := []kgo.Opt{kgo.MaxBufferedRecords(maxBufferedRecords)}
	if plan.transactionalID != "" {
		opts = append(opts, kgo.TransactionalID(plan.transactionalID))
	}
	var counts *meter
	if plan.printMetrics {
		counts = newMeter(time.Now())
		opts = append(opts, kgo.WithHooks(counts))
	}
	cl, err := client.NewProducer(s, plan.props, opts...)
	if err != nil {
		return fmt.Errorf("org.apache.kafka.common.KafkaException: Failed to construct kafka producer: %w", err)
	}
	defer cl.Close()
	p := &producer{plan: plan, streams: s, client: cl}
	if err := p.run(ctx); err != nil {
		return err
	}
	if counts != nil {
		counted, cancel := context.WithTimeout(ctx, maxMetricsWait)
		counts.await(counted, p.all.count())
		cancel()
		counts.producerTable(plan.props["client.id"], time.Now()).print(s)
	}
	if ctx.Err() != nil {
		return &cli.ExitError{Code: interruptedExit}
	}
	return nil
}

// producer is one run of the tool.
type producer struct {
	plan    *producerPlan
	streams cli.Streams
	client  *client.Client
	all     *stats
	steady  *stats // nil until the warm-up is over
	errMu   sync.Mutex
	// sent records come back with their buffers.
	records sync.Pool

	inTransaction bool
	begunAt       time.Time
}

func (p *producer) run(ctx context.Context) error {
	plan := p.plan
	if plan.warmup > 0 {
		p.streams.Printf("Warmup first %d records. Steady state results will print after the complete test summary.\n", plan.warmup)
	}
	if err := p.client.AwaitTopic(ctx, plan.topic); err != nil && ctx.Err() == nil {
		// What cannot be sent later fails record by record; a topic that never comes fails all.
		return fmt.Errorf("%s", client.Exception(err))
	}
	now := time.Now()
	p.all = newStats(p.streams, plan.records, plan.interval, false, now)
	pacer := pace.New(plan.throughput, now)
	progress := p.streams.Progress("Sending", plan.records)
	defer progress.Clear()
	for i := int64(0); i < plan.records && ctx.Err() == nil; i++ {
		if err := p.send(ctx, i); err != nil {
			return err
		}
		progress.Add(1)
		pacer.Wait(ctx, i+1)
	}
	progress.Clear()
	if err := p.finish(ctx); err != nil {
		return err
	}
	now = time.Now()
	p.all.printTotal(now)
	if p.steady != nil {
		p.steady.printTotal(now)
	}
	return nil
}

// send sends one record, in a transaction if these are wanted.
func (p *producer) send(ctx context.Context, number int64) error {
	record, ok := p.records.Get().(*kgo.Record)
	if !ok {
		record = &kgo.Record{}
	}
	value, err := p.plan.payloads.value(record.Value, number)
	if err != nil {
		return err
	}
	*record = kgo.Record{Topic: p.plan.topic, Value: value}
	started := time.Now()
	if p.plan.transactionalID != "" && !p.inTransaction {
		if err := p.client.BeginTransaction(); err != nil {
			return fmt.Errorf("beginning a transaction: %w", err)
		}
		p.inTransaction, p.begunAt = true, started
	}
	if p.plan.warmup > 0 && number == p.plan.warmup {
		p.steady = newStats(p.streams, p.plan.records-p.plan.warmup, p.plan.interval, true, started)
		p.all.suppress()
	}
	all, steady := p.all, p.steady
	p.client.Produce(ctx, record, func(r *kgo.Record, err error) {
		if err != nil {
			if ctx.Err() == nil {
				p.logFailure(r, err)
			}
			return
		}
		now, size := time.Now(), len(r.Value)
		all.record(now.Sub(started), size, now)
		if steady != nil {
			steady.record(now.Sub(started), size, now)
		}
		p.records.Put(r)
	})
	if p.inTransaction && started.Sub(p.begunAt) >= p.plan.duration {
		return p.commit(ctx)
	}
	return nil
}

func (p *producer) commit(ctx context.Context) error {
	p.inTransaction = false
	if err := p.client.Flush(ctx); err != nil {
		return fmt.Errorf("sending the records of the transaction: %w", err)
	}
	if err := p.client.EndTransaction(ctx, kgo.TryCommit); err != nil {
		return fmt.Errorf("%s", client.Exception(client.Convert(err, "endTransaction")))
	}
	return nil
}

// finish waits for the records under way. After an interruption it aborts the transaction.
func (p *producer) finish(ctx context.Context) error {
	if ctx.Err() == nil {
		if p.inTransaction {
			return p.commit(ctx)
		}
		return p.client.Flush(ctx)
	}
	if !p.inTransaction {
		return nil
	}
	ending, cancel := p.client.Context(context.WithoutCancel(ctx))
	defer cancel()
	if err := p.client.AbortBufferedRecords(ending); err != nil {
		return err
	}
	return p.client.EndTransaction(ending, kgo.TryAbort)
}

func (p *producer) logFailure(r *kgo.Record, err error) {
	err = client.DescribeTooLarge(client.Convert(err, "produce"), r, p.plan.maxRequestSize)
	p.errMu.Lock()
	defer p.errMu.Unlock()
	p.streams.Errorln(client.Exception(err))
}
