package segment

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
)

// maxIndexGapBytes is how much log after the last offset entry is taken for granted. More is
// walked when the index is loaded: one that lost its end would make every lookup slow.
const maxIndexGapBytes = 1 << 20

// errWrongIndex marks an index that is to be rebuilt.
var errWrongIndex = errors.New("the index does not fit its log")

// loadLocked checks the index files and learns how many entries they have; it rebuilds them
// if they are wrong. Called under mu.
func (s *Segment) loadLocked() error {
	if s.loaded {
		return nil
	}
	err := s.tryLoad()
	if errors.Is(err, errWrongIndex) {
		err = s.rebuildLocked(err)
	}
	if err != nil {
		return err
	}
	s.loaded = true
	return nil
}

func (s *Segment) tryLoad() error {
	size := s.SizeBytes()
	offsets, times := offsetChecker{sizeBytes: size}, timeChecker{}
	offsetEntries, err := s.loadIndex(IndexSuffix, &offsets)
	if err != nil {
		return err
	}
	timeEntries, err := s.loadIndex(TimeIndexSuffix, &times)
	if err != nil {
		return err
	}
	if timeEntries == 0 && size > 0 {
		return fmt.Errorf("%w: %s is empty and the log is not", errWrongIndex, s.path(TimeIndexSuffix))
	}
	if err := s.checkIndexEnd(offsets.last, size); err != nil {
		return err
	}
	s.offsetEntries, s.timeEntries = int32(offsetEntries), int32(timeEntries)
	s.largest = largestTimestamp{kafka.NoTimestamp, s.baseOffset}
	if times.any {
		s.largest = largestTimestamp{times.last.timestamp, s.baseOffset + int64(times.last.relative)}
	}
	return nil
}

// loadIndex checks an index file and cuts zero padding off.
func (s *Segment) loadIndex(suffix string, checker indexChecker) (entries int, err error) {
	h, err := s.acquire(suffix, false)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("%w: %w", errWrongIndex, err)
	}
	if err != nil {
		return 0, err
	}
	defer h.Release()
	checked, err := checkIndex(h.File(), checker)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%s: %w", h.path, err)
	case checked.fault != nil:
		return 0, fmt.Errorf("%w: %s: %w", errWrongIndex, h.path, checked.fault)
	case checked.padded:
		return checked.entries, s.replaceIndex(suffix, nil, int64(checked.entries*checker.entryBytes()))
	}
	return checked.entries, nil
}

// checkIndexEnd walks the log after the last offset entry if it is suspiciously long.
func (s *Segment) checkIndexEnd(last offsetEntry, size int64) error {
	if size-int64(last.position) <= maxIndexGapBytes+s.dir.indexInterval.Load() {
		return nil
	}
	c, err := s.scan(int64(last.position), size)
	if err != nil {
		return err
	}
	defer c.close()
	for {
		at, _, err := c.next()
		switch {
		case err == io.EOF || isCorruption(err):
			return nil // the scan that meets it reports it
		case err != nil:
			return err
		case at.Position-int64(last.position) > maxIndexGapBytes+s.dir.indexInterval.Load():
			return fmt.Errorf("%w: %s has no entry after position %d", errWrongIndex, s.path(IndexSuffix), last.position)
		}
	}
}

// tailFromHeaders walks all batch headers for the index entries.
func (s *Segment) tailFromHeaders() (*tail, error) {
	c, err := s.scan(0, s.SizeBytes())
	if err != nil {
		return nil, err
	}
	defer c.close()
	for built := newTail(s.baseOffset); ; {
		at, _, err := c.next()
		if err == io.EOF {
			return built, nil
		}
		if err != nil {
			return nil, err
		}
		if !s.FitsOffset(at.LastOffset) {
			return nil, c.corrupt(&record.CorruptError{Field: "last offset", Expected: s.baseOffset + math.MaxInt32, Got: at.LastOffset})
		}
		built.note(at, s.baseOffset, s.dir.indexInterval.Load())
	}
}

// tailPastDamage is tailFromHeaders of a log with damaged batches, which get no entries.
func (s *Segment) tailPastDamage() (*tail, error) {
	c, err := s.scanSound(0)
	if err != nil {
		return nil, err
	}
	defer c.close()
	for built := newTail(s.baseOffset); ; {
		at, _, err := c.next()
		if err == io.EOF {
			return built, nil
		}
		if err != nil {
			return nil, err
		}
		built.note(at, s.baseOffset, s.dir.indexInterval.Load())
	}
}

// rebuildLocked makes both indexes anew from the log. Called under mu.
func (s *Segment) rebuildLocked(reason error) error {
	slog.Warn("rebuilding the indexes of a segment from its log", "log", s.path(LogSuffix), "reason", reason)
	s.dir.cache.rebuilds.Inc()
	built, err := s.tailFromHeaders()
	if isCorruption(err) {
		built, err = s.tailPastDamage()
	}
	if err != nil {
		return err
	}
	if s.tail == nil {
		built.noteTime(s.baseOffset)
	}
	if err := s.replaceIndexes(built, 0, 0); err != nil {
		return err
	}
	s.largest = built.largest
	if t := s.tail; t != nil {
		t.bytesSinceEntry, t.lastTimeMs, t.largest = built.bytesSinceEntry, built.lastTimeMs, built.largest
		t.offsets, t.times = nil, nil
		return nil
	}
	return s.sync(&s.unsyncedIndexes, IndexSuffix, TimeIndexSuffix)
}

// replaceIndexes cuts the index files to some entries, adds those that wait in t, and takes
// over the counts. Called under mu.
func (s *Segment) replaceIndexes(t *tail, keptOffsets, keptTimes int) error {
	if err := s.replaceIndex(TimeIndexSuffix, t.times, int64(keptTimes)*timeEntryBytes); err != nil {
		return err
	}
	s.timeEntries = int32(keptTimes + len(t.times)/timeEntryBytes)
	if err := s.replaceIndex(IndexSuffix, t.offsets, int64(keptOffsets)*offsetEntryBytes); err != nil {
		return err
	}
	s.offsetEntries = int32(keptOffsets + len(t.offsets)/offsetEntryBytes)
	t.offsets, t.times = nil, nil
	return nil
}

// Activate prepares a segment from Open for appends: it loads the indexes and walks the log
// from the last entry to its end. A *CorruptionError says that the end is torn: Recover.
func (s *Segment) Activate() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tail != nil {
		return nil
	}
	return s.activateLocked()
}

func (s *Segment) activateLocked() error {
	if err := s.loadLocked(); err != nil {
		return err
	}
	t, err := s.walkTail()
	if errors.Is(err, errWrongIndex) {
		if err := s.rebuildLocked(err); err != nil {
			return err
		}
		t, err = s.walkTail()
	}
	if err != nil {
		return err
	}
	s.tail = t
	return nil
}

// walkTail makes a tail of the last entries in the index files and of the log after them.
// Called under mu.
func (s *Segment) walkTail() (*tail, error) {
	last, largest, err := s.lastEntries(int(s.offsetEntries), int(s.timeEntries))
	if err != nil {
		return nil, err
	}
	t := newTail(s.baseOffset)
	t.largest, t.lastTimeMs = largest, largest.timestampMs
	c, err := s.scan(int64(last.position), s.SizeBytes())
	if err != nil {
		return nil, err
	}
	defer c.close()
	if err := c.checkEntry(s.baseOffset, last); err != nil {
		return nil, err
	}
	for {
		at, _, err := c.next()
		if err == io.EOF {
			return t, nil
		}
		if err != nil {
			return nil, err
		}
		t.note(at, s.baseOffset, s.dir.indexInterval.Load())
	}
}

// lastEntries reads the last of the first entries of both index files; without any, the
// offset entry is that of the log's start.
func (s *Segment) lastEntries(offsetEntries, timeEntries int) (offsetEntry, largestTimestamp, error) {
	var last offsetEntry
	largest := largestTimestamp{kafka.NoTimestamp, s.baseOffset}
	var data [timeEntryBytes]byte
	read := func(suffix string, entries, width int) error {
		return s.with(suffix, false, func(h *Handle) error {
			return readFull(h.File(), data[:width], int64((entries-1)*width))
		})
	}
	if offsetEntries > 0 {
		if err := read(IndexSuffix, offsetEntries, offsetEntryBytes); err != nil {
			return last, largest, err
		}
		last = parseOffsetEntry(data[:])
	}
	if timeEntries > 0 {
		if err := read(TimeIndexSuffix, timeEntries, timeEntryBytes); err != nil {
			return last, largest, err
		}
		e := parseTimeEntry(data[:])
		largest = largestTimestamp{e.timestamp, s.baseOffset + int64(e.relative)}
	}
	return last, largest, nil
}

// checkEntry returns an error with errWrongIndex unless the batch of e's offset begins where e says.
// The scanner is at that position and stays there. The index of a follower of Apache Kafka, which
// has one entry for a run of batches, is so made anew.
func (c *headerScanner) checkEntry(baseOffset int64, e offsetEntry) error {
	if e.position == 0 {
		return nil // where nothing is wrong, or it is not the index
	}
	header, err := c.header()
	if err == nil {
		var at BatchPosition
		if at, err = checkHeader(header, c.position, c.limit, c.least); err == nil && at.LastOffset == baseOffset+int64(e.relative) {
			return nil
		}
		err = fmt.Errorf("%w: no batch of offset %d at position %d of %s", errWrongIndex, baseOffset+int64(e.relative), e.position, c.handle.path)
	} else if isCorruption(err) {
		err = fmt.Errorf("%w: %w", errWrongIndex, err)
	}
	return err
}
