package segment

import (
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/moldau/moldau/internal/record"
)

// indexView is what a lookup needs of the indexes at one moment: how much of the files is
// valid, the entries in memory and the size of the log they describe.
type indexView struct {
	sizeBytes     int64
	offsetEntries int
	timeEntries   int
	offsets       []byte
	times         []byte
}

func (s *Segment) view() (indexView, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.loadLocked(); err != nil {
		return indexView{}, err
	}
	v := indexView{
		sizeBytes:     s.SizeBytes(),
		offsetEntries: int(s.offsetEntries), timeEntries: int(s.timeEntries),
	}
	if t := s.tail; t != nil {
		v.offsets, v.times = t.offsets, t.times
	}
	return v, nil
}

// search returns the last entry of one index for which atMost is true, from memory or file.
func (s *Segment) search(suffix string, entries int, pending []byte, width int, atMost func([]byte) bool) (entry [timeEntryBytes]byte, found bool, err error) {
	if i := searchEntries(pending, width, atMost); i >= 0 {
		copy(entry[:], pending[i*width:][:width])
		return entry, true, nil
	}
	if entries == 0 {
		return entry, false, nil
	}
	err = s.with(suffix, false, func(h *Handle) error {
		var err error
		entry, found, err = searchIndex(h.File(), entries, width, atMost)
		return err
	})
	if errors.Is(err, io.ErrUnexpectedEOF) {
		// A truncation has shortened the file meanwhile; the start of the log is always right.
		return entry, false, nil
	}
	return entry, found, err
}

// offsetStart returns the last offset entry at or below offset, that of the log's start if
// there is none.
func (s *Segment) offsetStart(v indexView, offset int64) (offsetEntry, error) {
	relative := offset - s.baseOffset
	entry, found, err := s.search(IndexSuffix, v.offsetEntries, v.offsets, offsetEntryBytes, func(e []byte) bool {
		return int64(parseOffsetEntry(e).relative) <= relative
	})
	if err != nil || !found {
		return offsetEntry{}, err
	}
	return parseOffsetEntry(entry[:]), nil
}

// scanFrom returns a scanner at a batch such that every batch before it ends below the offset that
// pick returns. An index that points nowhere is rebuilt.
func (s *Segment) scanFrom(pick func(indexView) (offset int64, err error)) (*headerScanner, error) {
	for attempt := 0; ; attempt++ {
		v, err := s.view()
		if err != nil {
			return nil, err
		}
		offset, err := pick(v)
		if errors.Is(err, errWrongIndex) && attempt == 0 {
			if err := s.rebuild(err); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		start, err := s.offsetStart(v, offset)
		if err != nil {
			return nil, err
		}
		c, err := s.scan(int64(start.position), v.sizeBytes)
		if err != nil {
			return nil, err
		}
		err = c.checkEntry(s.baseOffset, start)
		if err == nil {
			return c, nil
		}
		c.close()
		if attempt > 0 || !errors.Is(err, errWrongIndex) {
			return nil, err
		}
		if err := s.rebuild(err); err != nil {
			return nil, err
		}
	}
}

func (s *Segment) rebuild(reason error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rebuildLocked(reason)
}

// Lookup finds the batch that contains offset, or else the first one after it. found is
// false if every batch of the segment is before offset.
func (s *Segment) Lookup(offset int64) (at BatchPosition, found bool, err error) {
	c, err := s.scanFrom(func(indexView) (int64, error) { return offset, nil })
	if err != nil {
		return at, false, err
	}
	defer c.close()
	var previous BatchPosition
	for least := s.baseOffset; ; least = at.LastOffset + 1 {
		at, _, err = c.next()
		switch {
		case err == io.EOF:
			suspicious, err := c.endsTooEarly(previous)
			if suspicious {
				return s.LookupSound(offset)
			}
			return BatchPosition{}, false, err
		case isCorruption(err):
			return s.LookupSound(offset)
		case err != nil:
			return BatchPosition{}, false, err
		case at.LastOffset >= offset:
			suspicious, err := c.checkNeighbours(offset, at, previous, least)
			if suspicious {
				return s.LookupSound(offset)
			}
			return at, err == nil, err
		}
		previous = at
	}
}

// NextOffset is the offset after the last record, the base offset if there is none. On a segment
// that is not active it reads the end of the log. Where that is damaged it is the offset after
// the last sound batch, and damage says what is wrong behind or before that one.
func (s *Segment) NextOffset() (next int64, damage *CorruptionError, err error) {
	s.mu.Lock()
	if t := s.tail; t != nil {
		defer s.mu.Unlock()
		return t.nextOffset, nil, nil
	}
	s.mu.Unlock()
	next = s.baseOffset
	c, err := s.scanFrom(func(indexView) (int64, error) { return s.baseOffset + math.MaxInt32, nil })
	if isCorruption(err) {
		end, err := s.SoundEnd()
		return end.Next, end.Damage, err
	}
	if err != nil {
		return 0, nil, err
	}
	defer c.close()
	for {
		at, _, err := c.next()
		switch {
		case err == io.EOF:
			return next, nil, nil
		case isCorruption(err):
			end, err := s.SoundEnd()
			return end.Next, end.Damage, err
		case err != nil:
			return 0, nil, err
		}
		next = at.LastOffset + 1
	}
}

// SoundEnd is what is known of the end of a log whose CRCs were checked from the last index entries on.
type SoundEnd struct {
	Next   int64         // after the last sound batch
	Last   BatchPosition // that batch
	Joined int64         // where the log would end if Last began right after the batch before it
	Damage *CorruptionError
}

// SoundEnd is NextOffset that checks every CRC.
func (s *Segment) SoundEnd() (SoundEnd, error) {
	end := SoundEnd{Next: s.baseOffset, Joined: s.baseOffset}
	start, err := s.soundStart(s.baseOffset + math.MaxInt32)
	if err != nil {
		return end, err
	}
	c, err := s.scanSound(start)
	if err != nil {
		return end, err
	}
	defer c.close()
	for {
		at, damage, err := c.next()
		if damage != nil {
			end.Damage = damage
		}
		if err == io.EOF {
			return end, nil
		}
		if err != nil {
			return end, err
		}
		end.Joined, end.Next, end.Last = end.Next+at.LastOffset-at.BaseOffset+1, at.LastOffset+1, at
	}
}

// Damaged is the error for a batch that is not what it claims to be.
func (s *Segment) Damaged(at BatchPosition, why string) *CorruptionError {
	return &CorruptionError{Path: s.Path(), Position: at.Position, Cause: errors.New(why)}
}

// LargestTimestamp returns the largest timestamp and the last offset of the first batch that
// has it; -1 and the base offset if no batch has a timestamp.
func (s *Segment) LargestTimestamp() (timestampMs, offset int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.loadLocked(); err != nil {
		return 0, 0, err
	}
	if s.tail != nil {
		return s.tail.largest.timestampMs, s.tail.largest.offset, nil
	}
	if !s.largestChecked {
		// Retention goes by it: a wrong one could delete records before their time.
		if err := s.checkLargestLocked(); err != nil {
			return 0, 0, err
		}
		s.largestChecked = true
	}
	return s.largest.timestampMs, s.largest.offset, nil
}

// checkLargestLocked compares the last time entry with its batch and rebuilds the indexes if it
// is wrong. Called under mu.
func (s *Segment) checkLargestLocked() error {
	if s.largest.timestampMs < 0 {
		return nil
	}
	s.mu.Unlock()
	err := s.checkTimeEntry(s.largest)
	s.mu.Lock()
	if errors.Is(err, errWrongIndex) {
		return s.rebuildLocked(err)
	}
	return err
}

// checkTimeEntry returns an error with errWrongIndex unless the batch with the entry's offset has
// its timestamp. What a damaged batch had nobody knows.
func (s *Segment) checkTimeEntry(e largestTimestamp) error {
	at, found, err := s.Lookup(e.offset)
	if isCorruption(err) {
		return nil
	}
	if err == nil && (!found || at.BaseOffset > e.offset || at.MaxTimestampMs != e.timestampMs) {
		err = fmt.Errorf("%w: no batch of offset %d with timestamp %d, as %s says", errWrongIndex, e.offset, e.timestampMs, s.path(TimeIndexSuffix))
	}
	return err
}

// TimestampOffset is a record found by timestamp.
type TimestampOffset struct {
	TimestampMs int64
	Offset      int64
	LeaderEpoch int32
}

// FindByTimestamp finds the first record with a timestamp of at least timestampMs and an
// offset of at least startOffset.
func (s *Segment) FindByTimestamp(timestampMs, startOffset int64) (r TimestampOffset, found bool, err error) {
	c, err := s.scanFrom(func(v indexView) (int64, error) { return s.timeStart(v, timestampMs, startOffset) })
	if err != nil {
		return r, false, err
	}
	defer c.close()
	reader := batchReader{handle: c.handle, limit: c.limit}
	defer reader.release()
	for {
		at, _, err := c.next()
		if err == io.EOF {
			return r, false, nil
		}
		if err != nil {
			return r, false, err
		}
		if at.MaxTimestampMs < timestampMs || at.LastOffset < startOffset {
			continue
		}
		b, err := reader.read(at)
		if err != nil {
			return r, false, err
		}
		r, found, err = findInBatch(b, timestampMs, startOffset)
		if err != nil {
			return r, found, fmt.Errorf("%s: batch at position %d: %w", c.handle.path, at.Position, err)
		}
		if found {
			return r, true, s.confirm(r.Offset, at)
		}
	}
}

// confirm returns a *CorruptionError unless a lookup of offset finds the batch at that position: no
// checksum covers its base offset.
func (s *Segment) confirm(offset int64, at BatchPosition) error {
	found, ok, err := s.Lookup(offset)
	if err == nil && (!ok || found.Position != at.Position) {
		err = s.Damaged(at, fmt.Sprintf("the batch does not belong at offset %d", at.BaseOffset))
	}
	return err
}

// timeStart returns an offset at or below which the record to find cannot end.
func (s *Segment) timeStart(v indexView, timestampMs, startOffset int64) (int64, error) {
	entry, found, err := s.search(TimeIndexSuffix, v.timeEntries, v.times, timeEntryBytes, func(e []byte) bool {
		return parseTimeEntry(e).timestamp < timestampMs // an equal one may not be of the first batch that has it
	})
	if err != nil || !found {
		return startOffset, err
	}
	e := parseTimeEntry(entry[:])
	at := largestTimestamp{e.timestamp, s.baseOffset + int64(e.relative)}
	if at.offset <= startOffset {
		return startOffset, nil
	}
	return at.offset, s.checkTimeEntry(at)
}

func findInBatch(b record.Batch, timestampMs, startOffset int64) (r TimestampOffset, found bool, err error) {
	for rec, err := range b.Records(record.UncompressedLimit(len(b))) {
		if err != nil {
			return r, false, err
		}
		offset := b.BaseOffset() + int64(rec.OffsetDelta)
		if rec.Timestamp >= timestampMs && offset >= startOffset {
			return TimestampOffset{rec.Timestamp, offset, b.PartitionLeaderEpoch()}, true, nil
		}
	}
	return r, false, nil
}
