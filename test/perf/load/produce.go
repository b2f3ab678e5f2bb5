package load

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const samplesWanted = 50_000 // of latency; taking the time of every record would cost the client more than sending it

// produce sends the records of all producers and waits for their acknowledgements.
func (o *Order) produce(ctx context.Context) (*Result, error) {
	producers := make([]*producer, max(1, o.Producers))
	stride := max(1, o.Records/samplesWanted)
	for i := range producers {
		p, err := o.newProducer(i, stride)
		if err != nil {
			return nil, err
		}
		defer p.client.Close()
		producers[i] = p
	}
	all := func(records int) error {
		var wait sync.WaitGroup
		errs := make([]error, len(producers))
		for i, p := range producers {
			share := records / len(producers)
			if i < records%len(producers) {
				share++
			}
			wait.Go(func() { errs[i] = p.send(ctx, share) })
		}
		wait.Wait()
		return errors.Join(errs...)
	}
	if err := all(o.WarmUp); err != nil {
		return nil, err
	}
	for _, p := range producers {
		p.latencies = nil
	}
	m, err := startMeter(o.BrokerPIDs)
	if err != nil {
		return nil, err
	}
	if err := all(o.Records); err != nil {
		return nil, err
	}
	result, err := m.stop(o.Records, o.ValueBytes)
	if err != nil {
		return nil, err
	}
	var latencies Samples
	for _, p := range producers {
		latencies = append(latencies, p.latencies...)
	}
	result.Acknowledged = latencies.Percentiles()
	return result, nil
}

// producer is one client with what it sends.
type producer struct {
	client    *kgo.Client
	values    [][]byte
	keys      [][]byte
	random    *rand.Rand
	stride    int // of the records whose latency is taken
	failed    atomic.Pointer[error]
	mu        sync.Mutex // guards latencies, between send and the client's callbacks
	latencies Samples
}

func (o *Order) newProducer(i, stride int) (*producer, error) {
	opts, err := o.producerOptions(o.Topic)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	return &producer{client: client, values: o.values(), keys: o.keys(), random: rand.New(rand.NewPCG(1, uint64(i))), stride: stride}, nil
}

// send returns when all are acknowledged.
func (p *producer) send(ctx context.Context, records int) error {
	var slab []kgo.Record
	for i := range records {
		if len(slab) == 0 {
			slab = make([]kgo.Record, min(256, records-i))
		}
		r := &slab[0]
		slab = slab[1:]
		r.Value = p.values[i%len(p.values)]
		if p.keys != nil {
			r.Key = p.keys[p.random.IntN(len(p.keys))]
		}
		if i%p.stride != 0 {
			p.client.Produce(ctx, r, p.acknowledged)
			continue
		}
		handed := time.Now()
		p.client.Produce(ctx, r, func(r *kgo.Record, err error) {
			p.acknowledged(r, err)
			p.mu.Lock()
			p.latencies.add(time.Since(handed))
			p.mu.Unlock()
		})
	}
	if err := p.client.Flush(ctx); err != nil {
		return err
	}
	if err := p.failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (p *producer) acknowledged(_ *kgo.Record, err error) {
	if err != nil {
		p.failed.CompareAndSwap(nil, &err)
	}
}

var words = []string{"order", "user", "shipped", "paid", "created", "event", "status", "id", "1024", "true", "null", "item", "price", "total", "city", "name", "stream", "partition"}

// values are what records carry in turn.
func (o *Order) values() [][]byte {
	random := rand.New(rand.NewPCG(7, 7))
	values := make([][]byte, 256)
	for i := range values {
		value := make([]byte, 0, o.ValueBytes+16)
		for len(value) < o.ValueBytes {
			if o.Text {
				value = append(append(value, words[random.IntN(len(words))]...), ' ')
			} else {
				value = binary.LittleEndian.AppendUint64(value, random.Uint64())
			}
		}
		values[i] = value[:o.ValueBytes]
	}
	return values
}

func (o *Order) keys() [][]byte {
	var keys [][]byte
	for i := range o.Keys {
		keys = append(keys, binary.BigEndian.AppendUint64(nil, uint64(i)))
	}
	return keys
}
