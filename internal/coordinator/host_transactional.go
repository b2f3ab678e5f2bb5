package coordinator

import (
	"fmt"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/replica"
	"github.com/moldau/moldau/internal/shard"
	"github.com/moldau/moldau/internal/storage/producerstate"
)

// applyTransactional appends what a step has for a transaction: a batch of the producer, or the
// marker. The log may refuse it, as the producer may be fenced; that fails the request and not the
// shard. Only what was appended is replayed into the state.
func (h *host[S]) applyTransactional(effects shard.Effects) {
	if !h.flush() { // what earlier steps have comes first
		return
	}
	err := h.appendTransactional(effects)
	switch {
	case err == nil:
		h.responses = append(h.responses, effects.Responses...)
	case isRefusal(err):
		h.refuse(effects, err)
	case kafka.CodeOf(err) == kafka.ErrNotEnoughReplicas:
		h.refuse(effects, coordinatorCode(err))
	default:
		h.fail(err)
		return
	}
	h.flush()
}

func (h *host[S]) appendTransactional(effects shard.Effects) error {
	m, started := h.runtime.metrics, h.runtime.o.Clock.Now()
	batch, options, err := h.transactionalBatch(effects)
	if err != nil {
		return fmt.Errorf("append to %s: %w", h.tp, err)
	}
	count := int64(batch.Count())
	endOffset, err := h.runtime.o.Log.AppendTransactional(h.tp, h.leaderEpoch, batch, options)
	if err != nil {
		m.appendFailure.Inc()
		return fmt.Errorf("append to %s: %w", h.tp, err)
	}
	m.appendSeconds.Observe(h.runtime.o.Clock.Now().Sub(started).Seconds())
	m.appends.Inc()
	m.appendRecords.Add(count)
	h.endOffset = endOffset
	h.endSpell()
	if effects.Marker != nil {
		h.shard.ReplayEndTransaction(effects.Marker.ProducerID, effects.Marker.Committed)
		return nil
	}
	for i, rec := range effects.Records {
		p := shard.Position{Offset: endOffset - count + int64(i), ProducerID: effects.Producer.ID}
		if err := h.shard.Replay(p, rec); err != nil {
			return fmt.Errorf("replay what was appended to %s: %w", h.tp, err)
		}
	}
	return nil
}

func (h *host[S]) transactionalBatch(effects shard.Effects) (record.Batch, replica.TransactionalAppend, error) {
	if k := effects.Marker; k != nil {
		batch, err := k.Batch(h.nowMs)
		return batch, replica.TransactionalAppend{TransactionVersion: k.TransactionVersion}, err
	}
	o := record.NoProducer(record.CodecNone)
	o.Transactional, o.ProducerID, o.ProducerEpoch = true, effects.Producer.ID, effects.Producer.Epoch
	b := record.NewBuilder(o)
	for _, rec := range effects.Records {
		b.Append(h.nowMs, rec.Key, rec.Value, nil)
	}
	batch, err := b.Build()
	return batch, replica.TransactionalAppend{Guard: producerstate.Guard(effects.Producer.Guard)}, err
}

// refuse answers those who wait for effects that have none.
func (h *host[S]) refuse(effects shard.Effects, err error) {
	for _, response := range effects.Responses {
		h.responses = append(h.responses, shard.Response{Token: response.Token, Err: err})
	}
}

// isRefusal tells a batch that the log does not accept from a log that does not work.
func isRefusal(err error) bool {
	switch kafka.CodeOf(err) {
	case kafka.ErrInvalidProducerEpoch, kafka.ErrInvalidTxnState, kafka.ErrTransactionCoordinatorFenced,
		kafka.ErrOutOfOrderSequenceNumber, kafka.ErrMessageTooLarge, kafka.ErrRecordListTooLarge:
		return true
	}
	return false
}
