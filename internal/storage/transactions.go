package storage

import (
	"cmp"
	"errors"
	"log/slog"
	"math"
	"slices"
	"sort"

	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/producerstate"
	"github.com/moldau/moldau/internal/storage/segment"
)

// unstable says which offsets belong to transactions whose end is not certain. One that is
// stored is never changed.
type unstable struct {
	// firstOpen is where the first transaction without a marker begins.
	firstOpen int64
	// ended are transactions by the offset of their markers, which may not be replicated yet:
	// until the high watermark passes a marker the last stable offset must not pass its
	// transaction, or it would fall back when the marker is lost. Successive values share memory.
	ended []endedTransaction
}

// endedTransaction is a transaction and its marker.
type endedTransaction struct {
	producerID       int64
	firstOffset      int64
	markerOffset     int64
	lastStableOffset int64 // with this marker and without those after it
	aborted          bool
}

const noOpenTransaction int64 = math.MaxInt64

var allStable = &unstable{firstOpen: noOpenTransaction}

// LastStableOffset is the first offset that may belong to a transaction which has not ended as
// far as the high watermark reaches; without one it is the high watermark.
func (l *Log) LastStableOffset() int64 {
	hw := l.highWatermark.Load() // first: what is unstable only loses what lies below it
	u := l.unstable.Load()
	stable := min(hw, u.firstOpen)
	for i := sort.Search(len(u.ended), func(i int) bool { return u.ended[i].markerOffset >= hw }); i < len(u.ended); i++ {
		stable = min(stable, u.ended[i].firstOffset)
	}
	return max(stable, min(l.startOffset.Load(), hw))
}

// noteOpenTransaction publishes where the first open transaction begins.
func (l *Log) noteOpenTransaction() {
	first, open := l.producers.FirstOpenTransaction()
	if !open {
		first = noOpenTransaction
	}
	if u := l.noted.Load(); u.firstOpen != first {
		l.noted.Store(&unstable{firstOpen: first, ended: u.ended})
	}
}

// noteEnded writes an aborted transaction to the index and then lets the end be seen.
func (l *Log) noteEnded(s *segment.Segment, e endedTransaction) error {
	if e.aborted {
		if err := s.AppendAborted(e.indexEntry()); err != nil {
			return err
		}
	}
	u, hw := l.noted.Load(), l.highWatermark.Load()
	passed := sort.Search(len(u.ended), func(i int) bool { return u.ended[i].markerOffset >= hw })
	ended := u.ended[passed:]
	if e.markerOffset >= hw {
		ended = append(ended, e)
	}
	first, open := l.producers.FirstOpenTransaction()
	if !open {
		first = noOpenTransaction
	}
	l.noted.Store(&unstable{firstOpen: first, ended: ended})
	return nil
}

func (e endedTransaction) indexEntry() segment.AbortedTransaction {
	return segment.AbortedTransaction{ProducerID: e.producerID, FirstOffset: e.firstOffset, LastOffset: e.markerOffset, LastStableOffset: e.lastStableOffset}
}

// reserveAborted takes space in the transaction index if a marker that aborts is to be appended. A
// damaged index is built again first.
func (l *Log) reserveAborted(active *segment.Segment, records []byte) (reserved bool, err error) {
	b, _, err := record.Next(records)
	if err != nil || !b.IsControl() {
		return false, nil // place has walked the same bytes
	}
	if _, kind, ok := markerOf(b); !ok || kind != record.ControlAbort {
		return false, nil
	}
	err = active.ReserveAborted()
	if errors.Is(err, segment.ErrTxnIndex) {
		if err = l.rebuildTxnIndexes([]*segment.Segment{active}, l.endOffset.Load(), err); err == nil {
			err = active.ReserveAborted()
		}
	}
	return err == nil, err
}

// applyProducers records batches that are in the log's last segment.
func (l *Log) applyProducers(records []byte, active *segment.Segment) (ended bool, err error) {
	for rest := records; len(rest) > 0; {
		b, next, err := record.Next(rest)
		if err != nil {
			return ended, nil // place has walked the same bytes
		}
		rest = next
		switch {
		case !b.HasProducerID():
		case b.IsControl():
			if e, ok := applyMarker(&l.producers, b); ok {
				ended = true
				if err := l.noteEnded(active, e); err != nil {
					return ended, err
				}
			}
		default:
			l.producers.Apply(writeOf(b))
			l.noteOpenTransaction()
		}
	}
	return ended, nil
}

// applyMarker applies a whole control batch. One that is empty, unreadable or of another kind
// ends nothing, as in Kafka.
func applyMarker(producers *producerstate.Manager, b record.Batch) (endedTransaction, bool) {
	marker, kind, ok := markerOf(b)
	if !ok {
		return endedTransaction{}, false
	}
	ended, ok := producers.ApplyMarker(marker)
	if !ok {
		return endedTransaction{}, false
	}
	stable, open := producers.FirstOpenTransaction()
	if !open {
		stable = b.NextOffset()
	}
	return endedTransaction{
		producerID: ended.ProducerID, firstOffset: ended.FirstOffset, markerOffset: b.BaseOffset(),
		lastStableOffset: stable, aborted: kind == record.ControlAbort,
	}, true
}

func markerOf(b record.Batch) (producerstate.Marker, record.ControlKind, bool) {
	for r, err := range b.Records(int64(len(b))) {
		if err != nil {
			break
		}
		kind, err := record.ParseControlKey(r.Key)
		if err != nil || kind != record.ControlAbort && kind != record.ControlCommit {
			break
		}
		value, err := record.ParseEndTxnMarker(r.Value)
		if err != nil {
			break
		}
		return producerstate.Marker{ProducerID: b.ProducerID(), Epoch: b.ProducerEpoch(), CoordinatorEpoch: value.CoordinatorEpoch, TimestampMs: r.Timestamp}, kind, true
	}
	return producerstate.Marker{}, 0, false
}

// StartVerification returns the guard that the first batch of a transaction must come with, or
// producerstate.NoGuard if the producer's transaction is open here.
func (l *Log) StartVerification(v producerstate.Verification) (producerstate.Guard, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return producerstate.NoGuard, err
	}
	return l.producers.StartVerification(v)
}

// Producers returns what is known of the idempotent producers, by id.
func (l *Log) Producers() []producerstate.Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.producers.Entries()
}

// abortedIn returns the aborted transactions with records from offset on and below upTo, by
// first offset. Markers stand behind their transactions, so the index is followed forward until
// it says that nothing below upTo was still open.
func abortedIn(list *segmentList, offset, upTo int64) ([]segment.AbortedTransaction, error) {
	var found []segment.AbortedTransaction
	for _, s := range list.all[list.indexOf(offset):] {
		if !s.Acquire() {
			return nil, errOvertaken
		}
		all, complete, err := s.Aborted(found, offset, upTo)
		s.Release()
		if err != nil {
			return nil, err
		}
		if found = all; complete {
			break
		}
	}
	slices.SortFunc(found, func(a, b segment.AbortedTransaction) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
	return found, nil
}

// endOf returns the offset after whole batches.
func endOf(records []byte) (offset int64) {
	for len(records) > 0 {
		b, rest, err := record.Next(records)
		if err != nil {
			break // the read has walked them
		}
		offset, records = b.NextOffset(), rest
	}
	return offset
}

// cutAborted removes what the segment's transaction index says of markers at offset and above,
// and builds the index again where it is damaged below that.
func (l *Log) cutAborted(s *segment.Segment, offset int64) error {
	err := s.CutAborted(offset)
	if errors.Is(err, segment.ErrTxnIndex) {
		return l.rebuildTxnIndexes([]*segment.Segment{s}, offset, err)
	}
	return err
}

// repairTxnIndexes builds the damaged transaction indexes again.
func (l *Log) repairTxnIndexes(damage error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	var damaged []*segment.Segment
	for _, s := range l.segments.Load().all {
		switch err := s.CheckAborted(); {
		case errors.Is(err, segment.ErrTxnIndex):
			damage, damaged = err, append(damaged, s)
		case err != nil:
			return err
		}
	}
	return l.rebuildTxnIndexes(damaged, l.endOffset.Load(), damage)
}

// renewTxnIndexes builds all transaction indexes again: they can be read, but contradict the log.
func (l *Log) renewTxnIndexes(damage error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	return l.rebuildTxnIndexes(l.segments.Load().all, l.endOffset.Load(), damage)
}

// rebuildTxnIndexes builds the transaction indexes of some segments up to endOffset from the log. The
// state of the producers where a segment begins comes from the whole log before it.
func (l *Log) rebuildTxnIndexes(damaged []*segment.Segment, endOffset int64, damage error) error {
	if len(damaged) == 0 {
		return nil
	}
	slog.Warn("building transaction indexes again from the log: they are damaged", "partition", l.tp.String(), "segments", len(damaged),
		"first", damaged[0].BaseOffset(), "damage", damage)
	entries := map[*segment.Segment][]segment.AbortedTransaction{}
	var producers producerstate.Manager
	replay := producerReplay{log: l, producers: &producers, ended: func(in *segment.Segment, e endedTransaction) error {
		if e.aborted {
			entries[in] = append(entries[in], e.indexEntry())
		}
		return nil
	}}
	list, last := l.segments.Load(), damaged[len(damaged)-1]
	end := min(endOffset, list.endOf(list.indexOf(last.BaseOffset()), endOffset))
	if err := replay.run(list.all[0].BaseOffset(), end); err != nil {
		return err
	}
	for _, s := range damaged {
		if err := s.ReplaceAborted(entries[s]); err != nil {
			return err
		}
	}
	return nil
}
