package txn

import (
	"slices"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/shard"
)

// Pauses between attempts to write the markers that a partition refused.
const (
	firstMarkerRetryMs = 2 // a new leader may hear of it a moment later
	maxMarkerRetryMs   = 1000
)

// Delivery is a transaction's markers on their way.
type Delivery struct {
	// Partition of __transaction_state that owns the transaction, and the coordinator's epoch there.
	Partition        int32
	CoordinatorEpoch int32
	// Markers.Partitions are those that still lack theirs.
	Markers

	retryMs int64
	dueMs   int64
}

// Outcome is what has become of a delivery that was tried.
type Outcome int8

const (
	// OutcomeRetry says that some partitions are to be tried again.
	OutcomeRetry Outcome = iota
	// OutcomeWritten says that all markers are written: the transaction is to be completed.
	OutcomeWritten
	// OutcomeCanceled says that the markers are out of date: another coordinator owns the
	// transaction or the producer has gone on.
	OutcomeCanceled
)

// Sender is the queue of markers on their way: at most one delivery per transactional id. It has
// one owner and no locks.
type Sender struct {
	byID  map[string]*Delivery
	ready []*Delivery
	later []*Delivery // waiting for their retry
}

// NewSender returns an empty queue.
func NewSender() *Sender { return &Sender{byID: map[string]*Delivery{}} }

// Len is the number of transactions whose markers are on their way.
func (s *Sender) Len() int { return len(s.byID) }

// Add takes a transaction's markers, unless it has the same ones already: a shard that was loaded
// again asks for all that are not complete. What a shard of an earlier epoch still has to tell comes too late.
func (s *Sender) Add(d *Delivery) {
	old := s.byID[d.TransactionalID]
	if old != nil && old.Partition == d.Partition && (old.CoordinatorEpoch > d.CoordinatorEpoch || old.isFor(d)) {
		return
	}
	if old != nil {
		s.remove(old)
	}
	s.byID[d.TransactionalID] = d
	s.ready = append(s.ready, d)
}

// isFor reports whether both are the same markers in the same epoch.
func (d *Delivery) isFor(other *Delivery) bool {
	return d.CoordinatorEpoch == other.CoordinatorEpoch && d.Producer == other.Producer && d.StartMs == other.StartMs && d.PreparedMs == other.PreparedMs
}

// Take returns a delivery to try, nil if none is due. It is the caller's until Written.
func (s *Sender) Take(nowMs int64) *Delivery {
	s.later = slices.DeleteFunc(s.later, func(d *Delivery) bool {
		if d.dueMs <= nowMs {
			s.ready = append(s.ready, d)
			return true
		}
		return false
	})
	if len(s.ready) == 0 {
		return nil
	}
	d := s.ready[0]
	s.ready = s.ready[1:]
	return d
}

// NextDeadlineMs is when Take may have something that it does not have now.
func (s *Sender) NextDeadlineMs() int64 {
	next := shard.NoDeadline
	for _, d := range s.later {
		next = min(next, d.dueMs)
	}
	return next
}

// Written gives a delivery back with what each of its partitions answered. A delivery that was
// replaced meanwhile is canceled; one with OutcomeWritten stays until Completed or Retry.
func (s *Sender) Written(d *Delivery, codes []kafka.ErrorCode, nowMs int64) Outcome {
	if s.byID[d.TransactionalID] != d {
		return OutcomeCanceled
	}
	var again []kafka.TopicPartition
	for i, code := range codes {
		switch code {
		case kafka.ErrNone:
		case kafka.ErrUnknownTopicOrPartition:
			// The topic was deleted, and with it everything of the transaction in this partition.
		case kafka.ErrInvalidProducerEpoch, kafka.ErrTransactionCoordinatorFenced:
			s.remove(d)
			return OutcomeCanceled
		default:
			again = append(again, d.Partitions[i])
		}
	}
	d.Partitions = again
	if len(again) == 0 {
		return OutcomeWritten
	}
	s.Retry(d, nowMs)
	return OutcomeRetry
}

// Retry keeps a delivery that could not be finished for another attempt.
func (s *Sender) Retry(d *Delivery, nowMs int64) {
	if s.byID[d.TransactionalID] != d {
		return
	}
	d.retryMs = min(max(2*d.retryMs, firstMarkerRetryMs), maxMarkerRetryMs)
	d.dueMs = nowMs + d.retryMs
	s.later = append(s.later, d)
}

// Completed removes a delivery whose transaction has ended.
func (s *Sender) Completed(d *Delivery) {
	if s.byID[d.TransactionalID] == d {
		s.remove(d)
	}
}

// Drop forgets the deliveries of a partition that this broker no longer coordinates.
func (s *Sender) Drop(partition int32) {
	for id, d := range s.byID { // the order does not matter
		if d.Partition == partition {
			s.remove(s.byID[id])
		}
	}
}

func (s *Sender) remove(d *Delivery) {
	delete(s.byID, d.TransactionalID)
	same := func(other *Delivery) bool { return other == d }
	s.later = slices.DeleteFunc(s.later, same)
	s.ready = slices.DeleteFunc(s.ready, same)
}
