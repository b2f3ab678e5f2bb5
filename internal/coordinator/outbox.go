package coordinator

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/metrics"
)

const (
	// maxOutbox bounds what waits for one broker.
	maxOutbox = 10_000
	// maxOutboxBatch bounds what goes to a broker in one request.
	maxOutboxBatch = 256
	// slowSend is after what time a request holds up nobody any more, where others may be under way beside it.
	slowSend = 50 * time.Millisecond
)

// Call sends a request to another broker and returns its answer. An error does not tell whether
// the broker has done what was asked.
type Call func(ctx context.Context, broker int32, req kmsg.Request) (kmsg.Response, error)

// outbox sends work to other brokers. What waits for a broker goes in one request, and the next
// request when that is answered: as many transactions as there are share one round trip. While requests
// take long, there are up to lanes of them at a time: one shard of the broker that hangs holds up no other.
type outbox[W any] struct {
	name    string // of its goroutines
	spawner *env.Spawner
	lanes   int
	// send does the work of a batch; it returns when that has succeeded or failed.
	send    func(ctx context.Context, broker int32, batch []W)
	waiting *metrics.Gauge
	refused *metrics.Counter

	mu     sync.Mutex
	queues map[int32]*outboxQueue[W] // of the brokers that are being sent to
}

// outboxQueue is what waits for one broker.
type outboxQueue[W any] struct {
	work  []W
	lanes int // goroutines that send
	slow  int // those of them whose request takes long
}

func newOutbox[W any](name string, lanes int, spawner *env.Spawner, r *metrics.Registry, send func(ctx context.Context, broker int32, batch []W)) *outbox[W] {
	return &outbox[W]{
		name: name, lanes: lanes, spawner: spawner, send: send, queues: map[int32]*outboxQueue[W]{},
		waiting: r.Gauge("moldau_transaction_remote_waiting", "Work on transactions for other brokers that waits or is under way.", "kind", name),
		refused: r.Counter("moldau_transaction_remote_refused_total", "Work on transactions for other brokers that found too much waiting already.", "kind", name),
	}
}

// add queues work for a broker; false says that too much is waiting already.
func (o *outbox[W]) add(broker int32, work W) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	q := o.queues[broker]
	if q == nil {
		q = &outboxQueue[W]{}
		o.queues[broker] = q
	}
	if len(q.work) >= maxOutbox {
		o.refused.Inc()
		return false
	}
	q.work = append(q.work, work)
	o.waiting.Add(1)
	o.widenLocked(broker, q)
	return true
}

// widenLocked starts another lane where something waits that all present ones hold up.
func (o *outbox[W]) widenLocked(broker int32, q *outboxQueue[W]) {
	if len(q.work) > 0 && q.slow == q.lanes && q.lanes < o.lanes {
		q.lanes++
		o.spawner.Go(o.name, func(ctx context.Context) { o.drain(ctx, broker, q) })
	}
}

// drain sends to a broker until nothing waits for it.
func (o *outbox[W]) drain(ctx context.Context, broker int32, q *outboxQueue[W]) {
	for {
		o.mu.Lock()
		if len(q.work) == 0 || ctx.Err() != nil {
			o.waiting.Add(-int64(len(q.work)))
			q.work = nil
			if q.lanes--; q.lanes == 0 {
				delete(o.queues, broker)
			}
			o.mu.Unlock()
			return
		}
		batch := q.work[:min(len(q.work), maxOutboxBatch)]
		q.work = append([]W(nil), q.work[len(batch):]...)
		o.mu.Unlock()
		o.sendBatch(ctx, broker, q, batch)
		o.waiting.Add(-int64(len(batch)))
	}
}

func (o *outbox[W]) sendBatch(ctx context.Context, broker int32, q *outboxQueue[W], batch []W) {
	var isSlow, isOver bool // guarded by mu
	timer := time.AfterFunc(slowSend, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if !isOver {
			isSlow = true
			q.slow++
			o.widenLocked(broker, q)
		}
	})
	o.send(ctx, broker, batch)
	timer.Stop()
	o.mu.Lock()
	defer o.mu.Unlock()
	if isOver = true; isSlow {
		q.slow--
	}
}
