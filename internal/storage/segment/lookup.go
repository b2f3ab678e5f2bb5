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
	for {
		at, _, err = c.next()
		switch {
		case err == io.EOF:
			return BatchPosition{}, false, nil
		case err != nil:
			return BatchPosition{}, false, err
		case at.LastOffset >= offset:
			return at, true, nil
		}
	}
}

// NextOffset is the offset after the last record, the base offset if there is none. On a
// segment that is not active it reads the end of the log.
func (s *Segment) NextOffset() (int64, error) {
	s.mu.Lock()
	if t := s.tail; t != nil {
		defer s.mu.Unlock()
		return t.nextOffset, nil
	}
	s.mu.Unlock()
	next := s.baseOffset
	c, err := s.scanFrom(func(indexView) (int64, error) { return s.baseOffset + math.MaxInt32, nil })
	if err != nil {
		return 0, err
	}
	defer c.close()
	for {
		at, _, err := c.next()
		if err == io.EOF {
			return next, nil
		}
		if err != nil {
			return 0, err
		}
		next = at.LastOffset + 1
	}
}

// LargestTimestamp returns the largest timestamp and the last offset of the first batch that
// has it; -1 and the base offset if no batch has a timestamp.
func (s *Segment) LargestTimestamp() (timestampMs, offset int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.loadLocked(); err != nil {
		return 0, 0, err
	}
	largest := s.largest
	if s.tail != nil {
		largest = s.tail.largest
	}
	return largest.timestampMs, largest.offset, nil
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
		if r, found, err = findInBatch(b, timestampMs, startOffset); found || err != nil {
			if err != nil {
				err = fmt.Errorf("%s: batch at position %d: %w", c.handle.path, at.Position, err)
			}
			return r, found, err
		}
	}
}

// timeStart returns an offset at or below which the record to find cannot end.
func (s *Segment) timeStart(v indexView, timestampMs, startOffset int64) (int64, error) {
	entry, found, err := s.search(TimeIndexSuffix, v.timeEntries, v.times, timeEntryBytes, func(e []byte) bool {
		return parseTimeEntry(e).timestamp <= timestampMs
	})
	if err != nil || !found {
		return startOffset, err
	}
	return max(startOffset, s.baseOffset+int64(parseTimeEntry(entry[:]).relative)), nil
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
