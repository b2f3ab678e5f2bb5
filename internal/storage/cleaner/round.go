package cleaner

import (
	"errors"
	"math"

	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/segment"
)

// LastRecord is what a log remembers of an idempotent producer.
type LastRecord struct {
	LastDataOffset int64 // -1 if only a marker is known
	Epoch          int16
}

// Round is one compaction of one log. Segments are those below UpTo, in order; none is active.
type Round struct {
	Segments []*segment.Segment
	// Rest are the segments behind them, where transactions end that began below UpTo.
	Rest []*segment.Segment
	// FirstDirty is where the last round ended. UpTo is where the first segment begins that must
	// not be compacted.
	FirstDirty, UpTo  int64
	StartOffset       int64 // of the log
	NowMs             int64
	DeleteRetentionMs int64
	MaxSegmentBytes   int64
	MaxMapBytes       int64
	MapLoadFactor     float64
	BufferBytes       int
	Aborted           []segment.AbortedTransaction
	Producers         map[int64]LastRecord
	// Throttle is told of all bytes read and written. Its error ends the round.
	Throttle func(sizeBytes int) error

	Stats Stats

	keys         *OffsetMap
	transactions *transactions
}

// Stats say what a round did.
type Stats struct {
	MapRecords, RecordsRead, RecordsKept, RecordsWithoutKey int64
	BytesRead, BytesWritten                                 int64
	MapBytes, MapUsedPercent                                int64
}

// BuildMap reads the dirty part and remembers the newest offset of each of its keys. It returns
// the offset up to which that is known, where the next round is to begin; less than UpTo if
// the memory was not enough.
//
// Every transaction that the map or Aborted knows of is followed to its marker, so that nothing
// is removed on the word of a transaction index that the log contradicts.
func (r *Round) BuildMap() (cleanedTo int64, err error) {
	r.keys = NewOffsetMap(r.MaxMapBytes, r.MapLoadFactor, r.UpTo-r.FirstDirty)
	r.keys.highest = r.FirstDirty - 1
	r.transactions = newTransactions(r.Aborted, r.StartOffset)
	if err := r.followBelow(); err != nil {
		return 0, err
	}
	full := false
	for i, s := range r.Segments {
		if r.endOf(i) <= r.FirstDirty {
			continue
		}
		at, found, err := s.Lookup(r.FirstDirty)
		if err != nil {
			return 0, err
		}
		if found {
			if full, err = r.mapSegment(s, at.Position); err != nil {
				return 0, err
			}
		}
		if full {
			break
		}
		r.keys.highest = max(r.keys.highest, r.endOf(i)-1)
	}
	if err := r.followBehind(); err != nil {
		return 0, err
	}
	r.Stats.MapBytes, r.Stats.MapUsedPercent = r.keys.SizeBytes(), int64(100*r.keys.used/len(r.keys.slots))
	r.transactions = nil
	return r.keys.highest + 1, nil
}

// endOf is the first offset that does not belong to segment i.
func (r *Round) endOf(i int) int64 {
	if i+1 < len(r.Segments) {
		return r.Segments[i+1].BaseOffset()
	}
	return r.UpTo
}

// errMapFull ends the reading of the dirty part.
var errMapFull = errors.New("the offset map is full")

func (r *Round) mapSegment(s *segment.Segment, position int64) (full bool, err error) {
	err = s.ScanBatches(position, func(at segment.BatchPosition, b record.Batch) error {
		if err := r.Throttle(len(b)); err != nil {
			return err
		}
		r.Stats.MapRecords += int64(b.Count())
		switch {
		case b.IsControl():
			if _, _, err := r.transactions.control(b); err != nil {
				return r.damaged(s, at, err)
			}
		case !r.transactions.batch(b):
			fits, err := r.mapBatch(b)
			if err != nil {
				return r.damaged(s, at, err)
			}
			if !fits {
				return errMapFull
			}
		}
		r.keys.highest = max(r.keys.highest, b.LastOffset())
		return nil
	})
	if errors.Is(err, errMapFull) {
		return true, nil
	}
	return false, err
}

func (r *Round) mapBatch(b record.Batch) (fits bool, err error) {
	for rec, err := range b.Records(record.UncompressedLimit(len(b))) {
		if err != nil {
			return false, err
		}
		offset := b.BaseOffset() + int64(rec.OffsetDelta)
		if rec.Key == nil || offset < r.FirstDirty {
			continue
		}
		for !r.keys.put(rec.Key, offset) {
			if r.keys.highest >= r.FirstDirty {
				return false, nil
			}
			r.keys.grow() // or no round would ever get past this batch
		}
	}
	return true, nil
}

func (m *OffsetMap) grow() {
	old := m.slots
	load := float64(m.limit) / float64(len(old))
	m.slots = make([]slot, 2*len(old))
	m.limit = int(float64(len(m.slots)) * load)
	for _, s := range old {
		if s.next == 0 {
			continue
		}
		i := s.high % uint64(len(m.slots))
		for m.slots[i].next != 0 {
			i = (i + 1) % uint64(len(m.slots))
		}
		m.slots[i] = s
	}
}

// damaged says what is wrong with a batch, unless it is the transaction index that is wrong.
func (r *Round) damaged(s *segment.Segment, at segment.BatchPosition, err error) error {
	if errors.Is(err, segment.ErrTxnIndex) {
		return err
	}
	return &segment.CorruptionError{Path: s.Path(), Position: at.Position, Cause: err}
}

// Groups returns which segments are to be replaced by one each: together they have at most
// MaxSegmentBytes and offsets that one index can name. Segments that begin at cleanedTo or
// above are left out.
func (r *Round) Groups(cleanedTo int64) [][]*segment.Segment {
	var groups [][]*segment.Segment
	var sizeBytes int64
	for i, s := range r.Segments {
		if s.BaseOffset() >= cleanedTo {
			break
		}
		n := len(groups)
		if n > 0 && sizeBytes+s.SizeBytes() <= r.MaxSegmentBytes && r.endOf(i)-1-groups[n-1][0].BaseOffset() <= math.MaxInt32 {
			groups[n-1] = append(groups[n-1], s)
			sizeBytes += s.SizeBytes()
			continue
		}
		groups = append(groups, []*segment.Segment{s})
		sizeBytes = s.SizeBytes()
	}
	return groups
}

// Compact writes what stays of a group to target and makes it durable. Groups come in order,
// all of them, after BuildMap.
func (r *Round) Compact(group []*segment.Segment, target *segment.Segment) error {
	if r.transactions == nil {
		r.transactions = newTransactions(r.Aborted, r.StartOffset)
	}
	w := &writer{round: r, target: target}
	for _, s := range group {
		err := s.ScanBatches(0, func(at segment.BatchPosition, b record.Batch) error {
			if err := r.Throttle(len(b)); err != nil {
				return err
			}
			r.Stats.BytesRead += int64(len(b))
			r.Stats.RecordsRead += int64(b.Count())
			kept, err := r.filter(b, w)
			if err != nil {
				return r.damaged(s, at, err)
			}
			return w.write(kept)
		})
		if err != nil {
			return err
		}
	}
	if err := w.flush(); err != nil {
		return err
	}
	if err := target.Seal(); err != nil {
		return err
	}
	for _, a := range w.aborted {
		if err := target.AppendAborted(a); err != nil {
			return err
		}
	}
	return target.Flush()
}

// filter returns what stays of a batch, nil if nothing does.
func (r *Round) filter(b record.Batch, w *writer) (record.Batch, error) {
	var discard, emptyTxn bool
	if b.IsControl() {
		done, kept, err := r.transactions.control(b)
		if err != nil {
			return nil, err
		}
		if kept != nil {
			w.aborted = append(w.aborted, *kept)
		}
		horizonMs, ok := b.DeleteHorizonMs()
		emptyTxn, discard = done, done && ok && horizonMs <= r.NowMs
	} else {
		discard = r.transactions.batch(b)
	}
	retainEmpty := r.isLastOfProducer(b) || b.NextOffset() == r.UpTo
	if !discard {
		kept, records, err := b.Filter(record.FilterOptions{
			Keep: r.keep(b), HorizonMs: r.horizonMs(), SetHorizon: emptyTxn,
		})
		if err != nil {
			return nil, err
		}
		if kept != nil {
			r.Stats.RecordsKept += int64(records)
			return kept, nil
		}
	}
	if retainEmpty {
		return b.Emptied(), nil
	}
	return nil, nil
}

// horizonMs is from when on later rounds may drop what this one finds deleted; negative for never, as in Kafka, where delete.retention.ms
// reaches beyond any time that can be told.
func (r *Round) horizonMs() int64 {
	if r.DeleteRetentionMs > math.MaxInt64-r.NowMs {
		return -1
	}
	return r.NowMs + r.DeleteRetentionMs
}

// isLastOfProducer reports whether the batch holds what the log must not forget of a producer:
// its last sequence number, or its epoch where only a marker is left.
func (r *Round) isLastOfProducer(b record.Batch) bool {
	last, ok := r.Producers[b.ProducerID()]
	if !ok || !b.HasProducerID() {
		return false
	}
	if last.LastDataOffset >= 0 {
		return b.LastOffset() == last.LastDataOffset
	}
	return b.IsControl() && b.ProducerEpoch() == last.Epoch
}

// keep decides on the records of a batch.
func (r *Round) keep(b record.Batch) func(offset int64, rec *record.Record) bool {
	if b.IsControl() {
		return nil
	}
	horizonMs, hasHorizon := b.DeleteHorizonMs()
	tombstonesStay := !hasHorizon || r.NowMs < horizonMs
	return func(offset int64, rec *record.Record) bool {
		if offset > r.keys.highest {
			return true
		}
		if rec.Key == nil {
			r.Stats.RecordsWithoutKey++
			return false
		}
		return offset >= r.keys.newest(rec.Key) && (rec.Value != nil || tombstonesStay)
	}
}

// writer collects batches and appends many at once.
type writer struct {
	round  *Round
	target *segment.Segment
	buffer []byte
	// aborted are the transactions that the index of target is to have.
	aborted []segment.AbortedTransaction
}

func (w *writer) write(b record.Batch) error {
	if len(b) == 0 {
		return nil
	}
	w.buffer = append(w.buffer, b...)
	if len(w.buffer) < w.round.BufferBytes {
		return nil
	}
	return w.flush()
}

func (w *writer) flush() error {
	if len(w.buffer) == 0 {
		return nil
	}
	if err := w.round.Throttle(len(w.buffer)); err != nil {
		return err
	}
	err := w.target.Append(w.buffer)
	w.round.Stats.BytesWritten += int64(len(w.buffer))
	w.buffer = w.buffer[:0]
	return err
}
