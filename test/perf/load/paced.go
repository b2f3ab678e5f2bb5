package load

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// pacer sends records when they are due, whatever has become of the ones before (an open loop).
// Latency counts from when a record was due, so that a stall counts for every record it delays.
type pacer struct {
	client       *kgo.Client
	value        []byte
	interval     time.Duration
	warmUp       int // records whose latency is dropped
	sent         int
	failed       atomic.Pointer[error]
	mu           sync.Mutex // guards acknowledged against the client's callbacks
	acknowledged Samples
}

func (o *Order) newPacer(topic string) (*pacer, error) {
	opts, err := o.producerOptions(topic)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	return &pacer{client: client, value: o.values()[0], interval: time.Second / time.Duration(o.Rate), warmUp: o.WarmUp}, nil
}

// run sends until done is closed and waits for the acknowledgements.
func (p *pacer) run(ctx context.Context, done <-chan struct{}) error {
	began := time.Now()
	for ; ; p.sent++ {
		due := began.Add(time.Duration(p.sent) * p.interval)
		if wait := time.Until(due); wait > 0 {
			time.Sleep(wait)
		}
		select {
		case <-done:
			return p.finish(ctx)
		default:
		}
		p.client.Produce(ctx, p.record(due, p.sent >= p.warmUp), p.done)
	}
}

const stampBytes = 9 // when a record was due, and whether it counts

func (p *pacer) record(due time.Time, counts bool) *kgo.Record {
	value := make([]byte, max(len(p.value), stampBytes))
	copy(value, p.value)
	binary.LittleEndian.PutUint64(value, uint64(due.UnixNano()))
	value[8] = 0
	if counts {
		value[8] = 1
	}
	return &kgo.Record{Value: value}
}

// sinceDue returns how late it is for a record, and whether it counts.
func sinceDue(r *kgo.Record) (time.Duration, bool) {
	due := time.Unix(0, int64(binary.LittleEndian.Uint64(r.Value)))
	return time.Since(due), r.Value[8] == 1
}

func (p *pacer) done(r *kgo.Record, err error) {
	if err != nil {
		p.failed.CompareAndSwap(nil, &err)
		return
	}
	if late, counts := sinceDue(r); counts {
		p.mu.Lock()
		p.acknowledged.add(late)
		p.mu.Unlock()
	}
}

func (p *pacer) finish(ctx context.Context) error {
	if err := p.client.Flush(ctx); err != nil {
		return err
	}
	if err := p.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// paced produces at a fixed rate while a consumer reads the end of the topic.
func (o *Order) paced(ctx context.Context) (*Result, error) {
	p, err := o.newPacer(o.Topic)
	if err != nil {
		return nil, err
	}
	defer p.client.Close()
	follower, err := o.follow(ctx)
	if err != nil {
		return nil, err
	}
	defer follower.client.Close()
	m, err := startMeter(o.BrokerPIDs)
	if err != nil {
		return nil, err
	}
	// The warm-up is part of what the meter sees: its cost per record is the same.
	length := time.Duration(o.Seconds)*time.Second + time.Duration(o.WarmUp)*p.interval
	pacing, stop := context.WithTimeout(ctx, length)
	defer stop()
	if err := p.run(ctx, pacing.Done()); err != nil {
		return nil, err
	}
	if !o.MayMiss {
		if err := follower.until(ctx, p.sent); err != nil {
			return nil, err
		}
	}
	result, err := m.stop(p.sent, o.ValueBytes)
	if err != nil {
		return nil, err
	}
	result.Acknowledged = p.acknowledged.Percentiles()
	if !o.MayMiss {
		result.EndToEnd = follower.endToEnd.Percentiles()
	}
	return result, nil
}

// follower reads a topic from its start.
type follower struct {
	client   *kgo.Client
	read     atomic.Int64  // records
	more     chan struct{} // has something after read was raised
	ended    chan struct{} // closed by the reader when it ends, for the reason err
	err      error
	mu       sync.Mutex // guards endToEnd
	endToEnd Samples
}

// follow begins to read the topic, which is empty yet.
func (o *Order) follow(ctx context.Context) (*follower, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(o.seeds()...), kgo.ConsumeTopics(o.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return nil, err
	}
	if err := client.Ping(ctx); err != nil {
		client.Close()
		return nil, err
	}
	f := &follower{client: client, more: make(chan struct{}, 1), ended: make(chan struct{})}
	go f.run(ctx)
	return f, nil
}

func (f *follower) run(ctx context.Context) {
	defer close(f.ended)
	for {
		fetches := f.client.PollFetches(ctx)
		if fetches.IsClientClosed() {
			return
		}
		if f.err = fetches.Err(); f.err != nil {
			return
		}
		f.mu.Lock()
		fetches.EachRecord(func(r *kgo.Record) {
			if late, counts := sinceDue(r); counts {
				f.endToEnd.add(late)
			}
		})
		f.mu.Unlock()
		f.read.Add(int64(fetches.NumRecords()))
		select {
		case f.more <- struct{}{}:
		default:
		}
	}
}

// until returns once so many records have been read.
func (f *follower) until(ctx context.Context, records int) error {
	for f.read.Load() < int64(records) {
		select {
		case <-f.more:
		case <-f.ended:
			return fmt.Errorf("the consumer ended after %d of %d records: %w", f.read.Load(), records, f.err)
		case <-ctx.Done():
			return fmt.Errorf("the consumer had %d of %d records: %w", f.read.Load(), records, ctx.Err())
		}
	}
	return nil
}
