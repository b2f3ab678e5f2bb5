package coordinator

import (
	"context"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/metrics"
)

const (
	// maxOutbox bounds what waits for one broker.
	maxOutbox = 10_000
	// maxOutboxBatch bounds what goes to a broker in one request.
	maxOutboxBatch = 256
)

// Call sends a request to another broker and returns its answer. An error does not tell whether
// the broker has done what was asked.
type Call func(ctx context.Context, broker int32, req kmsg.Request) (kmsg.Response, error)

// outbox sends work to other brokers. What waits for a broker goes in one request, and the next
// request when that is answered: as many transactions as there are share one round trip.
type outbox[W any] struct {
	name    string // of its goroutines
	spawner *env.Spawner
	// send does the work of a batch; it returns when that has succeeded or failed.
	send    func(ctx context.Context, broker int32, batch []W)
	waiting *metrics.Gauge
	refused *metrics.Counter

	mu     sync.Mutex
	queues map[int32][]W // of the brokers that are being sent to; a goroutine each
}

func newOutbox[W any](name string, spawner *env.Spawner, r *metrics.Registry, send func(ctx context.Context, broker int32, batch []W)) *outbox[W] {
	return &outbox[W]{
		name: name, spawner: spawner, send: send, queues: map[int32][]W{},
		waiting: r.Gauge("moldau_transaction_remote_waiting", "Work on transactions for other brokers that waits or is under way.", "kind", name),
		refused: r.Counter("moldau_transaction_remote_refused_total", "Work on transactions for other brokers that found too much waiting already.", "kind", name),
	}
}

// add queues work for a broker; false says that too much is waiting already.
func (o *outbox[W]) add(broker int32, work W) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	queue, running := o.queues[broker]
	if len(queue) >= maxOutbox {
		o.refused.Inc()
		return false
	}
	o.queues[broker] = append(queue, work)
	o.waiting.Add(1)
	if !running {
		o.spawner.Go(o.name, func(ctx context.Context) { o.drain(ctx, broker) })
	}
	return true
}

// drain sends to a broker until nothing waits for it.
func (o *outbox[W]) drain(ctx context.Context, broker int32) {
	for {
		o.mu.Lock()
		queue := o.queues[broker]
		if len(queue) == 0 || ctx.Err() != nil {
			o.waiting.Add(-int64(len(queue)))
			delete(o.queues, broker)
			o.mu.Unlock()
			return
		}
		batch := queue[:min(len(queue), maxOutboxBatch)]
		o.queues[broker] = append([]W(nil), queue[len(batch):]...)
		o.mu.Unlock()
		o.send(ctx, broker, batch)
		o.waiting.Add(-int64(len(batch)))
	}
}
