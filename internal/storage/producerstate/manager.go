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
	open      []openTransaction // by first offset
	verifying verifications
}

// openTransaction is a transaction without its marker.
type openTransaction struct{ firstOffset, producerID int64 }

// CompletedTransaction is a transaction that its marker has just ended.
type CompletedTransaction struct {
	ProducerID  int64
	FirstOffset int64
}

// Len returns the number of producers.
func (m *Manager) Len() int { return len(m.producers) }

// Reset forgets everything, but not which guards were given: who has one may come with it yet.
func (m *Manager) Reset() { *m = Manager{verifying: verifications{last: m.verifying.last}} }

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
		if checkSequence {
			return m.verifying.checkSequence(w, true)
		}
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
	if err := m.verifying.checkSequence(w, e.count == 0); err != nil {
		return err
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

// EpochOf returns the producer's epoch, or kafka.NoProducerEpoch.
func (m *Manager) EpochOf(producerID int64) int16 {
	if e := m.producers[producerID]; e != nil {
		return e.Epoch
	}
	return kafka.NoProducerEpoch
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
	if !w.Transactional {
		return
	}
	if e.TxnFirstOffset < 0 {
		e.TxnFirstOffset = w.FirstOffset
		m.opened(e)
	}
	m.verifying.remove(w.ProducerID)
}

// Marker is what ends a transaction: the control batch's header and value, and how it was sent.
type Marker struct {
	ProducerID       int64
	Epoch            int16
	CoordinatorEpoch int32
	TimestampMs      int64
	// TransactionVersion is the one in which the coordinator ends the transaction. From version 2
	// on its marker carries an epoch that no write of the transaction had.
	TransactionVersion int16
}

// CheckMarker reports whether the marker may end the producer's transaction. In version 2 its
// epoch is above the producer's (KIP-1228), so that a marker that was held up cannot end the next
// transaction; the same epoch is a repetition where no transaction is open (KAFKA-19999).
func (m *Manager) CheckMarker(k Marker) error {
	e := m.producers[k.ProducerID]
	if e == nil {
		return nil
	}
	stale := k.Epoch < e.Epoch
	if k.TransactionVersion >= strictMarkersFrom && k.Epoch == e.Epoch {
		stale = e.TxnFirstOffset >= 0 && k.Epoch != math.MaxInt16
	}
	if stale {
		return kafka.Errorf(kafka.ErrInvalidProducerEpoch, "the marker of producer %d has epoch %d, but epoch %d was seen already", k.ProducerID, k.Epoch, e.Epoch)
	}
	if k.CoordinatorEpoch < e.CoordinatorEpoch {
		return kafka.Errorf(kafka.ErrTransactionCoordinatorFenced, "the marker of producer %d comes from coordinator epoch %d, but %d was seen already",
			k.ProducerID, k.CoordinatorEpoch, e.CoordinatorEpoch)
	}
	return nil
}

// strictMarkersFrom is the transaction version whose markers must carry a newer epoch.
const strictMarkersFrom = 2

// ApplyMarker records that a marker is in the log, and returns the transaction that it ended, if
// one was open.
func (m *Manager) ApplyMarker(k Marker) (ended CompletedTransaction, ok bool) {
	e := m.entry(k.ProducerID)
	e.setEpoch(k.Epoch)
	e.CoordinatorEpoch = k.CoordinatorEpoch
	e.LastTimestampMs = k.TimestampMs
	m.verifying.remove(k.ProducerID)
	if e.TxnFirstOffset < 0 {
		return CompletedTransaction{}, false
	}
	ended = CompletedTransaction{ProducerID: k.ProducerID, FirstOffset: e.TxnFirstOffset}
	m.ended(e)
	e.TxnFirstOffset = kafka.NoOffset
	return ended, true
}

func (m *Manager) opened(e *Entry) {
	t := openTransaction{e.TxnFirstOffset, e.ProducerID}
	i, _ := slices.BinarySearchFunc(m.open, t, compareOpen)
	m.open = slices.Insert(m.open, i, t)
}

func (m *Manager) ended(e *Entry) {
	if i, found := slices.BinarySearchFunc(m.open, openTransaction{e.TxnFirstOffset, e.ProducerID}, compareOpen); found {
		m.open = slices.Delete(m.open, i, i+1)
	}
}

// compareOpen orders by first offset; a damaged snapshot may give two transactions the same one.
func compareOpen(a, b openTransaction) int {
	return cmp.Or(cmp.Compare(a.firstOffset, b.firstOffset), cmp.Compare(a.producerID, b.producerID))
}

// FirstOpenTransaction returns the smallest offset that belongs to an open transaction.
func (m *Manager) FirstOpenTransaction() (offset int64, ok bool) {
	if len(m.open) == 0 {
		return 0, false
	}
	return m.open[0].firstOffset, true
}

// ForgetTransactionsBelow takes the open transactions that began below offset for ended: the log
// has lost everything up to there, their markers, too, if there were any.
func (m *Manager) ForgetTransactionsBelow(offset int64) {
	for len(m.open) > 0 && m.open[0].firstOffset < offset {
		e := m.producers[m.open[0].producerID]
		m.ended(e)
		e.TxnFirstOffset = kafka.NoOffset
	}
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
	m.verifying.expire(nowMs, expirationMs)
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
		m.ended(old)
	}
	m.producers[e.ProducerID] = e
	if e.TxnFirstOffset >= 0 {
		m.opened(e)
	}
}
