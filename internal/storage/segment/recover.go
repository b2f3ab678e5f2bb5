package segment

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"

	"github.com/moldau/moldau/internal/record"
)

// RecoverOptions tell Recover what to trust.
type RecoverOptions struct {
	// FromOffset is the recovery point: batches wholly below it were flushed, so only their
	// headers are walked from the last index entry below it on. The base offset or less
	// checks everything.
	FromOffset int64
	// Visit is called for every good batch that ends at or above FromOffset; it may be nil. The
	// batch is valid during the call only. Its error ends the recovery, nothing changed.
	Visit func(b record.Batch) error
	// NoHoles makes a hole in the offsets at or above both FromOffset and HolesBelow damage:
	// compaction leaves none there.
	NoHoles    bool
	HolesBelow int64
	// RefuseDamageBeforeData makes Recover fail with a *CorruptionError and change nothing
	// when a good batch follows the first bad byte: a torn last write does not explain that.
	RefuseDamageBeforeData bool
	// OnLoss is called before more is cut than a write which a kill has cut short; it may be nil.
	OnLoss func()
}

// RecoverResult says what Recover found and did.
type RecoverResult struct {
	ValidBytes     int64
	TruncatedBytes int64
	NextOffset     int64
	// Damage describes the first bad byte, nil if there was none. An incomplete last batch
	// wraps record.ErrIncomplete.
	Damage *CorruptionError
	// Torn says that a write which a kill has cut short explains it: an incomplete last batch.
	Torn bool
	// Rotten describes the first damage below FromOffset, where everything was flushed: no crash
	// explains it, and nothing is cut because of it. NextOffset is then that after the last good
	// batch, and if the damage reaches the end the segment is not active.
	Rotten *CorruptionError
	// IndexesRebuilt is set when entries below FromOffset were missing or wrong.
	IndexesRebuilt bool
	// RottenEnd says that Rotten reaches the end.
	RottenEnd bool
}

// trusted is what recovery keeps of the indexes.
type trusted struct {
	offsetEntries, timeEntries int
	last                       offsetEntry
	largest                    largestTimestamp
	damaged                    bool
}

// Recover checks the batches from the recovery point on (length, magic, CRC, ascending offsets),
// cuts the segment at the first bad one, completes both indexes and activates the segment;
// Seal it if it is not the log's last. It runs before anything else uses the segment.
func (s *Segment) Recover(o RecoverOptions) (RecoverResult, error) {
	kept, err := s.trustedEntries(o.FromOffset)
	if err != nil {
		return RecoverResult{}, err
	}
	for {
		r, t, err := s.recoverFrom(kept, o)
		if errors.Is(err, errWrongIndex) && kept.last.position > 0 {
			kept = trusted{largest: newTail(s.baseOffset).largest, damaged: true}
			continue
		}
		if err != nil {
			return RecoverResult{}, err
		}
		if r.TruncatedBytes > 0 && !r.Torn && o.OnLoss != nil {
			o.OnLoss()
		}
		return r, s.adopt(r, t, kept, o.FromOffset)
	}
}

// trustedEntries reads what good entries both indexes have below offset.
func (s *Segment) trustedEntries(offset int64) (kept trusted, err error) {
	kept.largest = newTail(s.baseOffset).largest
	if offset <= s.baseOffset {
		return kept, nil
	}
	offsets, offsetsFault, err := s.goodEntries(IndexSuffix, &offsetChecker{sizeBytes: s.SizeBytes()})
	if err != nil {
		return kept, err
	}
	times, timesFault, err := s.goodEntries(TimeIndexSuffix, &timeChecker{})
	if err != nil {
		return kept, err
	}
	relative := offset - s.baseOffset
	below := func(e []byte) bool { return int64(parseOffsetEntry(e).relative) < relative }
	kept.offsetEntries, err = s.countEntries(IndexSuffix, offsets, offsetEntryBytes, below)
	if err != nil {
		return kept, err
	}
	if kept.last, _, err = s.lastEntries(kept.offsetEntries, 0); err != nil {
		return kept, err
	}
	// With the offset entry of a batch goes the time entry of what came up to it.
	upTo := func(e []byte) bool {
		return kept.offsetEntries > 0 && parseTimeEntry(e).relative <= kept.last.relative
	}
	kept.timeEntries, err = s.countEntries(TimeIndexSuffix, times, timeEntryBytes, upTo)
	if err != nil {
		return kept, err
	}
	_, kept.largest, err = s.lastEntries(0, kept.timeEntries)
	// A fault among entries that would go anyway is no damage.
	kept.damaged = offsetsFault && kept.offsetEntries == offsets
	if timesFault && kept.timeEntries == times {
		kept = trusted{largest: newTail(s.baseOffset).largest, damaged: true}
	}
	return kept, err
}

func (s *Segment) goodEntries(suffix string, checker indexChecker) (entries int, fault bool, err error) {
	err = s.with(suffix, false, func(h *Handle) error {
		checked, err := checkIndex(h.File(), checker)
		entries, fault = checked.entries, checked.fault != nil
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return 0, true, nil
	}
	return entries, fault, err
}

// countEntries returns how many of the first entries keep is true for; they are a prefix.
func (s *Segment) countEntries(suffix string, entries, width int, keep func([]byte) bool) (int, error) {
	low, high := 0, entries
	if entries == 0 {
		return 0, nil
	}
	err := s.with(suffix, false, func(h *Handle) error {
		var data [timeEntryBytes]byte
		for low < high {
			middle := (low + high) / 2
			if err := readFull(h.File(), data[:width], int64(middle*width)); err != nil {
				return err
			}
			if keep(data[:width]) {
				low = middle + 1
			} else {
				high = middle
			}
		}
		return nil
	})
	return low, err
}

// recoverFrom walks the log from the last kept entry on and changes nothing. An error with
// errWrongIndex says that the entry led astray.
func (s *Segment) recoverFrom(kept trusted, o RecoverOptions) (r RecoverResult, t *tail, err error) {
	size := s.SizeBytes()
	c, err := s.scan(int64(kept.last.position), size)
	if err != nil {
		return r, nil, err
	}
	defer c.close()
	if err := c.checkEntry(s.baseOffset, kept.last); err != nil {
		return r, nil, err
	}
	t = newTail(s.baseOffset)
	t.largest, t.lastTimeMs = kept.largest, kept.largest.timestampMs
	t.nextOffset = s.baseOffset
	for {
		var unchecked uncheckedBatch
		unchecked, err = s.walkRecovered(c, t, o)
		doubtful := isCorruption(err) || err == nil && o.NoHoles && t.nextOffset < o.FromOffset
		if doubtful && unchecked.SizeBytes > 0 && !o.RefuseDamageBeforeData {
			// The batch before, of which only the header was looked at, may say that it ends too late, or
			// too early.
			wrong := checkStoredCRC(c.handle, unchecked.BatchPosition)
			if wrong == nil && o.NoHoles && err != nil && unchecked.BaseOffset > unchecked.follows {
				wrong = s.Damaged(unchecked.BatchPosition, fmt.Sprintf("its base offset is %d, and the batch behind it begins below its end", unchecked.BaseOffset))
			}
			if wrong != nil {
				err, t.nextOffset = wrong, unchecked.follows
			}
		}
		if !isCorruption(err) || t.nextOffset >= o.FromOffset || kept.last.position > 0 || o.RefuseDamageBeforeData {
			break
		}
		damage, _ := errors.AsType[*CorruptionError](err)
		r.Rotten = cmp.Or(r.Rotten, damage)
		at, found, err := s.soundAfter(c.handle, damage.Position, c.limit, t.nextOffset)
		if err != nil {
			return r, nil, err
		}
		if !found {
			return RecoverResult{ValidBytes: size, NextOffset: t.nextOffset, Rotten: r.Rotten, IndexesRebuilt: kept.damaged, RottenEnd: true}, t, nil
		}
		c.position, c.least = at.Position, t.nextOffset
	}
	r = RecoverResult{ValidBytes: c.position, NextOffset: t.nextOffset, IndexesRebuilt: kept.damaged, Rotten: r.Rotten}
	damage, isDamage := errors.AsType[*CorruptionError](err)
	switch {
	case err == nil:
		return r, t, nil
	case !isDamage:
		return r, nil, err
	case t.nextOffset < o.FromOffset && kept.last.position > 0:
		// Below the recovery point rather the index is wrong than the log.
		return r, nil, fmt.Errorf("%w: %w", errWrongIndex, err)
	}
	r.ValidBytes, r.TruncatedBytes, r.Damage = damage.Position, size-damage.Position, damage
	follows, err := s.dataFollows(c.handle, damage.Position, t.nextOffset)
	if err != nil {
		return r, nil, err
	}
	if follows && o.RefuseDamageBeforeData {
		return r, nil, damage
	}
	r.Torn = !follows && errors.Is(damage, record.ErrIncomplete)
	return r, t, nil
}

// uncheckedBatch is one of which only the header was looked at, and where the one before it ends.
type uncheckedBatch struct {
	BatchPosition
	follows int64
}

// walkRecovered notes every good batch in t. A *CorruptionError ends it at the first bad one; then
// unchecked is the batch before, if its CRC was not checked.
func (s *Segment) walkRecovered(c *headerScanner, t *tail, o RecoverOptions) (unchecked uncheckedBatch, err error) {
	reader := batchReader{handle: c.handle, limit: c.limit}
	defer reader.release()
	interval := s.dir.indexInterval.Load()
	for {
		at, _, err := c.next()
		if err == io.EOF {
			return unchecked, nil
		}
		if err != nil {
			return unchecked, err
		}
		if !s.FitsOffset(at.LastOffset) {
			cause := &record.CorruptError{Field: "last offset", Expected: s.baseOffset + math.MaxInt32, Got: at.LastOffset}
			return unchecked, &CorruptionError{Path: c.handle.path, Position: at.Position, Cause: cause}
		}
		straddles := at.BaseOffset < o.FromOffset && at.LastOffset >= o.FromOffset // a flush ends with a whole batch
		if o.NoHoles && (straddles || at.BaseOffset > max(t.nextOffset, o.FromOffset, o.HolesBelow)) {
			cause := &record.CorruptError{Field: "base offset", Expected: t.nextOffset, Got: at.BaseOffset}
			return unchecked, &CorruptionError{Path: c.handle.path, Position: at.Position, Cause: cause}
		}
		if at.LastOffset >= o.FromOffset {
			if moved, err := isMoved(c.handle, at, c.limit, t.nextOffset); err != nil {
				return unchecked, err
			} else if moved {
				cause := &record.CorruptError{Field: "base offset", Expected: t.nextOffset, Got: at.BaseOffset}
				return unchecked, &CorruptionError{Path: c.handle.path, Position: at.Position, Cause: cause}
			}
			b, err := reader.read(at)
			if err != nil {
				return unchecked, err
			}
			if o.Visit != nil {
				if err := o.Visit(b); err != nil {
					return unchecked, err
				}
			}
			unchecked = uncheckedBatch{}
		} else {
			unchecked = uncheckedBatch{at, t.nextOffset}
		}
		t.note(at, s.baseOffset, interval)
	}
}

// adopt makes what recovery found the state of the segment and of its files.
func (s *Segment) adopt(r RecoverResult, t *tail, kept trusted, fromOffset int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	// What was found may be in the page cache only, also a cut that an earlier recovery made before
	// it died. The next Flush must not trust it.
	s.unsyncedLog.Store(true)
	s.unsyncedIndexes.Store(true)
	s.unsyncedEntries.Store(true)
	if r.TruncatedBytes > 0 {
		err := s.with(LogSuffix, true, func(h *Handle) error { return h.File().Truncate(r.ValidBytes) })
		if err != nil {
			return err
		}
	}
	s.sizeBytes.Store(r.ValidBytes)
	isBelow := len(t.offsets) > 0 && s.baseOffset+int64(parseOffsetEntry(t.offsets).relative) < fromOffset
	if err := s.replaceIndexes(t, kept.offsetEntries, kept.timeEntries); err != nil {
		return err
	}
	s.loaded, s.tail, s.firstTimestamp = true, t, unknownTimestamp
	if r.RottenEnd {
		s.tail, s.largest, s.largestChecked = nil, t.largest, true
	}
	if isBelow {
		// New entries below the recovery point, after damage or with another index.interval.bytes: the
		// next recovery trusts them, so power loss must not keep those of one index alone.
		return s.sync(&s.unsyncedIndexes, TimeIndexSuffix, IndexSuffix)
	}
	return nil
}

// dataFollows reports whether a good batch with offsets from least on begins after position.
func (s *Segment) dataFollows(h *Handle, position, least int64) (bool, error) {
	_, found, err := s.soundAfter(h, position, s.SizeBytes(), least)
	return found, err
}
