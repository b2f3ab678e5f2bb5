package coordinator

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/shard"
	"github.com/moldau/moldau/internal/txn"
)

// maxDeliveries is how many transactions may have their markers written at the same time. Those that wait for the same
// broker share its next request, as in Kafka; a broker that hangs must not hold up the markers for all others.
const maxDeliveries = 1_000

// markerSender drives the queue of markers: it has them written by the leaders of the partitions,
// and the transactions completed by the coordinator.
type markerSender struct {
	clock    env.Clock
	markers  *markerRouter
	complete func(ctx context.Context, d *txn.Delivery) error
	// coordinates reports whether this broker still owns a partition of __transaction_state in an epoch.
	coordinates func(partition, leaderEpoch int32) bool

	retries  *metrics.Counter
	canceled *metrics.Counter
	wake     chan struct{} // the queue has something new
	slots    chan struct{} // as many as there are deliveries under way

	mu    sync.Mutex
	queue *txn.Sender
}

func newMarkerSender(clock env.Clock, r *metrics.Registry, markers *markerRouter, complete func(ctx context.Context, d *txn.Delivery) error, coordinates func(partition, leaderEpoch int32) bool) *markerSender {
	m := &markerSender{clock: clock, markers: markers, complete: complete, coordinates: coordinates, queue: txn.NewSender(), wake: make(chan struct{}, 1), slots: make(chan struct{}, maxDeliveries)}
	r.GaugeFunc("moldau_transaction_markers_pending", "Transactions whose markers are being written.", func() float64 {
		m.mu.Lock()
		defer m.mu.Unlock()
		return float64(m.queue.Len())
	})
	m.retries = r.Counter("moldau_transaction_marker_retries_total", "Attempts to write the markers of a transaction that have to be repeated.")
	m.canceled = r.Counter("moldau_transaction_markers_canceled_total", "Transactions whose markers turned out to be out of date.")
	return m
}

func (m *markerSender) start(spawner *env.Spawner) {
	spawner.Go("transaction-marker-sender", func(ctx context.Context) { m.run(ctx, spawner) })
}

func (m *markerSender) add(d *txn.Delivery) {
	m.mu.Lock()
	m.queue.Add(d)
	m.mu.Unlock()
	m.wakeUp()
}

func (m *markerSender) wakeUp() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *markerSender) drop(partition int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queue.Drop(partition)
}

func (m *markerSender) take() (d *txn.Delivery, wait time.Duration) {
	now := m.clock.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := m.queue.Take(now.UnixMilli()); d != nil {
		return d, 0
	}
	const longestWait = time.Hour
	if next := m.queue.NextDeadlineMs(); next != shard.NoDeadline {
		return nil, min(time.UnixMilli(next).Sub(now), longestWait)
	}
	return nil, longestWait
}

// run is the goroutine that begins deliveries.
func (m *markerSender) run(ctx context.Context, spawner *env.Spawner) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		d, wait := m.take()
		if d != nil {
			select {
			case m.slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			spawner.Go("transaction-delivery", func(ctx context.Context) {
				m.deliver(ctx, d)
				<-m.slots
				m.wakeUp() // it may have to be tried again
			})
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-m.wake:
		}
	}
}

func (m *markerSender) deliver(ctx context.Context, d *txn.Delivery) {
	codes := m.markers.write(ctx, MarkerWork{Partitions: d.Partitions, Marker: shard.Marker{
		ProducerID: d.Producer.ID, Epoch: d.Producer.Epoch, CoordinatorEpoch: d.CoordinatorEpoch, Committed: d.Commit, TransactionVersion: d.TransactionVersion,
	}})
	if ctx.Err() != nil {
		return // the next start writes them again
	}
	m.mu.Lock()
	outcome := m.queue.Written(d, codes, m.clock.Now().UnixMilli())
	left := len(d.Partitions) // from now on somebody else may try them again
	m.mu.Unlock()
	switch outcome {
	case txn.OutcomeRetry:
		m.retries.Inc()
		slog.Debug("markers of a transaction have to be written again", "transactionalId", d.TransactionalID, "partitions", left)
	case txn.OutcomeCanceled:
		m.canceled.Inc()
		slog.Info("the markers of a transaction are out of date", "transactionalId", d.TransactionalID, "producerId", d.Producer.ID, "producerEpoch", d.Producer.Epoch)
	case txn.OutcomeWritten:
		code := kafka.CodeOf(m.complete(ctx, d))
		// A shard whose log has refused the record answers the same, is loaded again and asks for its markers, maybe
		// while this delivery is still in the queue and takes their place: it may only go if another broker owns it.
		done := code == kafka.ErrNone || code == kafka.ErrNotCoordinator && !m.coordinates(d.Partition, d.CoordinatorEpoch)
		m.mu.Lock()
		defer m.mu.Unlock()
		if done {
			m.queue.Completed(d)
		} else {
			m.retries.Inc()
			m.queue.Retry(d, m.clock.Now().UnixMilli())
		}
	}
}
