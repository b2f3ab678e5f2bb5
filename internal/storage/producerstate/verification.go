package producerstate

import (
	"math"

	"github.com/moldau/moldau/internal/kafka"
)

// Guard ties the first write of a transaction to the question, put to the transaction's
// coordinator, whether the partition belongs to it (KIP-890). A marker that comes in between
// takes the guard away, so that a write which was held up cannot open a transaction that nobody
// will end. NoGuard stands for none: the transaction is open already.
type Guard uint64

// NoGuard is no guard.
const NoGuard Guard = 0

// Unverified takes the place of a guard where transaction.partition.verification.enable is off.
const Unverified Guard = math.MaxUint64

// verification is a question that is under way, or answered and not used yet.
type verification struct {
	guard          Guard
	epoch          int16
	lowestSequence int32
	startedMs      int64
	// strict asks the first write of an unknown producer to begin at sequence 0: in transaction
	// version 2 every transaction has an epoch of its own.
	strict bool
}

// verifications are the questions by producer. The zero value is empty.
type verifications struct {
	byProducer map[int64]*verification
	last       Guard
}

// Verification describes a first write that is to be verified.
type Verification struct {
	ProducerID    int64
	Epoch         int16
	FirstSequence int32
	// Strict is set in transaction version 2.
	Strict bool
	NowMs  int64
}

// StartVerification returns the guard with which the write has to come, NoGuard if the
// producer's transaction is open, or why it cannot be written at all.
func (m *Manager) StartVerification(v Verification) (Guard, error) {
	if e := m.producers[v.ProducerID]; e != nil && v.Epoch < e.Epoch {
		return NoGuard, kafka.Errorf(kafka.ErrInvalidProducerEpoch, "producer %d writes with epoch %d, but epoch %d was seen already", v.ProducerID, v.Epoch, e.Epoch)
	}
	if m.HasOpenTransaction(v.ProducerID, v.Epoch) {
		return NoGuard, nil
	}
	return m.verifying.start(v), nil
}

// CheckGuard reports whether guard is the one that the producer's first write has to come with, or
// none is asked for.
func (m *Manager) CheckGuard(producerID int64, guard Guard) bool {
	v := m.verifying.byProducer[producerID]
	return guard == Unverified || v != nil && guard != NoGuard && v.guard == guard
}

func (s *verifications) start(v Verification) Guard {
	known := s.byProducer[v.ProducerID]
	switch {
	case known == nil:
		if s.byProducer == nil {
			s.byProducer = map[int64]*verification{}
		}
		s.last++
		known = &verification{guard: s.last, epoch: v.Epoch, lowestSequence: v.FirstSequence, startedMs: v.NowMs, strict: v.Strict}
		s.byProducer[v.ProducerID] = known
	case v.Epoch > known.epoch:
		known.epoch, known.lowestSequence = v.Epoch, v.FirstSequence
	case v.Epoch == known.epoch:
		known.lowestSequence = min(known.lowestSequence, v.FirstSequence)
	}
	return known.guard
}

// checkSequence keeps a later batch from overtaking the first one while that is being verified.
func (s *verifications) checkSequence(w Write, isUnknown bool) error {
	v := s.byProducer[w.ProducerID]
	switch {
	case v == nil:
		return nil
	case v.strict && isUnknown && w.FirstSequence != 0:
		return kafka.Errorf(kafka.ErrOutOfOrderSequenceNumber, "producer %d, of which nothing is known here, begins with sequence %d instead of 0", w.ProducerID, w.FirstSequence)
	case w.FirstSequence > v.lowestSequence:
		return kafka.Errorf(kafka.ErrOutOfOrderSequenceNumber, "producer %d sent sequence %d before %d, which is being verified", w.ProducerID, w.FirstSequence, v.lowestSequence)
	}
	return nil
}

func (s *verifications) remove(producerID int64) { delete(s.byProducer, producerID) }

func (s *verifications) expire(nowMs, expirationMs int64) {
	for id, v := range s.byProducer {
		if nowMs-v.startedMs >= expirationMs {
			delete(s.byProducer, id)
		}
	}
}
