package producerstate

import (
	"cmp"
	"math"
	"slices"

	"github.com/moldau/moldau/internal/kafka"
)

// Manager holds the state of all producers of one log. The zero value is empty and ready.
// Its owner serializes the calls.
type Manager struct {
	producers map[int64]*Entry
	open      int // producers with an open transaction
}

// Len returns the number of producers.
func (m *Manager) Len() int { return len(m.producers) }

// Reset forgets everything.
func (m *Manager) Reset() { *m = Manager{} }

// Entries returns copies of all entries, sorted by producer id.
func (m *Manager) Entries() []Entry {
	entries := make([]Entry, 0, len(m.producers))
	for _, e := range m.sorted() {
		entries = append(entries, *e)
	}
	return entries
}

// sorted returns the entries themselves by producer id.
func (m *Manager) sorted() []*Entry {
	entries := make([]*Entry, 0, len(m.producers))
	for _, e := range m.producers {
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b *Entry) int { return cmp.Compare(a.ProducerID, b.ProducerID) })
	return entries
}

// FindDuplicate returns the remembered batch of the same epoch with exactly the sequence
// range of w.
func (m *Manager) FindDuplicate(w Write) (Batch, bool) {
	e := m.producers[w.ProducerID]
	if e == nil || e.Epoch != w.Epoch {
		return Batch{}, false
	}
	for i := range int(e.count) {
		if b := e.at(i); b.LastSequence == w.LastSequence && b.FirstSequence() == w.FirstSequence {
			return b, true
		}
	}
	return Batch{}, false
}

// Check reports whether w may follow what its producer wrote before: the epoch is not older,
// a new epoch starts at sequence 0, within an epoch sequences have no gap. A producer without
// state may start anywhere, since retention or expiry may have forgotten it. With
// checkSequence false (coordinators, whose batches have no sequences) only the epoch counts.
func (m *Manager) Check(w Write, checkSequence bool) error {
	e := m.producers[w.ProducerID]
	if e == nil || e.Epoch == kafka.NoProducerEpoch {
		return nil
	}
	if w.Epoch < e.Epoch {
		return kafka.Errorf(kafka.ErrInvalidProducerEpoch, "producer %d wrote with epoch %d, but epoch %d was seen already",
			w.ProducerID, w.Epoch, e.Epoch)
	}
	if e.TxnFirstOffset >= 0 && !w.Transactional {
		return kafka.Errorf(kafka.ErrInvalidTxnState, "producer %d wrote outside of its open transaction", w.ProducerID)
	}
	if !checkSequence {
		return nil
	}
	if w.Epoch != e.Epoch {
		if w.FirstSequence != 0 {
			return kafka.Errorf(kafka.ErrOutOfOrderSequenceNumber, "producer %d begins epoch %d with sequence %d instead of 0",
				w.ProducerID, w.Epoch, w.FirstSequence)
		}
		return nil
	}
	last := e.LastSequence()
	if int64(w.FirstSequence) != int64(last)+1 && !(w.FirstSequence == 0 && last == math.MaxInt32) {
		return kafka.Errorf(kafka.ErrOutOfOrderSequenceNumber, "producer %d sent sequence %d after %d",
			w.ProducerID, w.FirstSequence, last)
	}
	return nil
}

// HasOpenTransaction reports whether the producer has a transaction open in this epoch.
func (m *Manager) HasOpenTransaction(producerID int64, epoch int16) bool {
	e := m.producers[producerID]
	return e != nil && e.Epoch == epoch && e.TxnFirstOffset >= 0
}

// Apply records that w is in the log, after an append or in a replay. It checks nothing.
func (m *Manager) Apply(w Write) {
	e := m.entry(w.ProducerID)
	e.setEpoch(w.Epoch)
	e.add(Batch{
		LastSequence: w.LastSequence, OffsetDelta: int32(w.LastOffset - w.FirstOffset),
		LastOffset: w.LastOffset, TimestampMs: w.TimestampMs,
	})
	e.LastTimestampMs = w.TimestampMs
	if w.Transactional && e.TxnFirstOffset < 0 {
		e.TxnFirstOffset = w.FirstOffset
		m.open++
	}
}

// ApplyMarker records that a marker that ends the producer's transaction is in the log.
func (m *Manager) ApplyMarker(producerID int64, epoch int16, coordinatorEpoch int32, timestampMs int64) {
	e := m.entry(producerID)
	e.setEpoch(epoch)
	e.CoordinatorEpoch = coordinatorEpoch
	e.LastTimestampMs = timestampMs
	if e.TxnFirstOffset >= 0 {
		e.TxnFirstOffset = kafka.NoOffset
		m.open--
	}
}

// FirstOpenTransaction returns the smallest offset that belongs to an open transaction.
func (m *Manager) FirstOpenTransaction() (offset int64, ok bool) {
	if m.open == 0 {
		return 0, false
	}
	offset = math.MaxInt64
	for _, e := range m.producers {
		if e.TxnFirstOffset >= 0 {
			offset = min(offset, e.TxnFirstOffset)
		}
	}
	return offset, true
}

// Expire forgets producers without open transaction that wrote nothing for expirationMs, and
// returns how many.
func (m *Manager) Expire(nowMs, expirationMs int64) int {
	expired := 0
	for id, e := range m.producers {
		if isExpired(e, nowMs, expirationMs) {
			delete(m.producers, id)
			expired++
		}
	}
	if len(m.producers) == 0 {
		m.producers = nil
	}
	return expired
}

func isExpired(e *Entry, nowMs, expirationMs int64) bool {
	return e.TxnFirstOffset < 0 && nowMs-e.LastTimestampMs >= expirationMs
}

func (m *Manager) entry(producerID int64) *Entry {
	if e := m.producers[producerID]; e != nil {
		return e
	}
	e := newEntry(producerID)
	m.put(&e)
	return &e
}

func (m *Manager) put(e *Entry) {
	if m.producers == nil {
		m.producers = make(map[int64]*Entry, 1)
	}
	if old := m.producers[e.ProducerID]; old != nil && old.TxnFirstOffset >= 0 {
		m.open--
	}
	m.producers[e.ProducerID] = e
	if e.TxnFirstOffset >= 0 {
		m.open++
	}
}
