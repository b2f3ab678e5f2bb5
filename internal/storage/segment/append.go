package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
)

// tail is the end of an active segment: what the next append needs to know, and the index
// entries that the files do not have yet.
type tail struct {
	nextOffset int64
	// bytesSinceEntry counts from the start of the batch that the last offset entry names.
	bytesSinceEntry int64
	lastTimeMs      int64 // of the last time entry
	largest         largestTimestamp
	offsets         []byte // entries for the .index file
	times           []byte // entries for the .timeindex file
}

func newTail(baseOffset int64) *tail {
	return &tail{nextOffset: baseOffset, lastTimeMs: kafka.NoTimestamp, largest: largestTimestamp{kafka.NoTimestamp, baseOffset}}
}

// maxPendingBytes is how many bytes of entries wait in memory for a flush.
const maxPendingBytes = 4096

// Append writes whole batches at the end with one write, then adds index entries as they
// come due. Offsets must ascend. Last offsets and timestamps are taken from the batch
// headers. After an error nothing of batches is visible; an error that wraps ErrFailed (the
// tail could not be cut back, or an earlier write or sync failed) ends all appends.
func (s *Segment) Append(batches []byte) error {
	if s.failed.Load() {
		return fmt.Errorf("%s: %w", s.Path(), ErrFailed)
	}
	if s.tail == nil {
		panic("BUG: append to a segment that is not active")
	}
	if err := s.checkAppend(batches); err != nil {
		return err
	}
	size := s.SizeBytes()
	h, err := s.acquire(LogSuffix, true)
	if err != nil {
		return err
	}
	defer h.Release()
	s.unsyncedLog.Store(true)
	if _, err := h.File().WriteAt(batches, size); err != nil {
		return s.cutBack(h, size, err)
	}
	s.unsyncedLog.Store(true) // again: a flush in between may have synced the file without this
	s.mu.Lock()
	position, interval := size, s.dir.indexInterval.Load()
	for rest := batches; len(rest) > 0; {
		var b record.Batch
		b, rest, _ = record.Next(rest) // checkAppend has seen it
		at := positionOf(b, position, len(b))
		s.tail.note(at, s.baseOffset, interval)
		position = at.End()
	}
	s.sizeBytes.Store(position)
	full := len(s.tail.offsets)+len(s.tail.times) >= maxPendingBytes
	s.mu.Unlock()
	if full {
		// The records are in; entries that cannot be written now stay for the next flush,
		// which reports the error.
		_ = s.writeEntries()
	}
	return nil
}

// checkAppend returns an error unless batches are whole and fit after what is there.
func (s *Segment) checkAppend(batches []byte) error {
	if !s.FitsBytes(len(batches)) {
		return fmt.Errorf("%s: %d more bytes would exceed the %d that a segment can have", s.Path(), len(batches), MaxSizeBytes)
	}
	next := s.tail.nextOffset
	for rest := batches; len(rest) > 0; {
		b, left, err := record.Next(rest)
		if err != nil {
			return fmt.Errorf("%s: batch to append: %w", s.Path(), err)
		}
		if b.BaseOffset() < next || b.LastOffsetDelta() < 0 || !s.FitsOffset(b.LastOffset()) {
			return fmt.Errorf("%s: batch with offsets %d to %d cannot follow offset %d in the segment of base offset %d",
				s.Path(), b.BaseOffset(), b.LastOffset(), next-1, s.baseOffset)
		}
		next, rest = b.NextOffset(), left
	}
	return nil
}

// cutBack removes what a failed write has left behind, so that it can never be mistaken for
// records after a restart.
func (s *Segment) cutBack(h *Handle, size int64, cause error) error {
	if err := h.File().Truncate(size); err != nil {
		return s.fail(fmt.Errorf("append to %s: %w; and cutting it back: %w", h.path, cause, err))
	}
	return fmt.Errorf("append to %s: %w", h.path, cause)
}

// note updates the tail for a batch that follows it, as Kafka does: an offset entry is due
// when more than intervalBytes follow the start of the last indexed batch.
func (t *tail) note(at BatchPosition, baseOffset, intervalBytes int64) {
	t.largest.note(at)
	if t.bytesSinceEntry > intervalBytes {
		t.offsets = appendOffsetEntry(t.offsets, offsetEntry{int32(at.LastOffset - baseOffset), int32(at.Position)})
		t.noteTime(baseOffset)
		t.bytesSinceEntry = 0
	}
	t.bytesSinceEntry += int64(at.SizeBytes)
	t.nextOffset = at.LastOffset + 1
}

// noteTime adds a time entry unless the last one says it already. One that is all zero, of a first
// record of 1970, would pass for padding; a search that does not find it begins there anyway.
func (t *tail) noteTime(baseOffset int64) {
	if t.largest.timestampMs > t.lastTimeMs && (t.largest.timestampMs > 0 || t.largest.offset > baseOffset) {
		t.times = appendTimeEntry(t.times, timeEntry{t.largest.timestampMs, int32(t.largest.offset - baseOffset)})
		t.lastTimeMs = t.largest.timestampMs
	}
}

// writeEntries writes the entries that wait to the index files' page cache. Time entries go
// first: after a kill the offset index is then never ahead of the time index.
func (s *Segment) writeEntries() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writeEntriesLocked()
}

func (s *Segment) writeEntriesLocked() error {
	t := s.tail
	if t == nil || len(t.offsets)+len(t.times) == 0 {
		return nil
	}
	defer s.unsyncedIndexes.Store(true) // after the writes, as in Append
	if err := s.writeIndex(TimeIndexSuffix, t.times, int64(s.timeEntries)*timeEntryBytes); err != nil {
		return err
	}
	s.timeEntries += int32(len(t.times) / timeEntryBytes)
	t.times = nil
	if err := s.writeIndex(IndexSuffix, t.offsets, int64(s.offsetEntries)*offsetEntryBytes); err != nil {
		return err
	}
	s.offsetEntries += int32(len(t.offsets) / offsetEntryBytes)
	t.offsets = nil
	return nil
}

func (s *Segment) writeIndex(suffix string, data []byte, position int64) error {
	if len(data) == 0 {
		return nil
	}
	return s.with(suffix, true, func(h *Handle) error {
		_, err := h.File().WriteAt(data, position)
		return err
	})
}

// replaceIndex cuts an index file to keepBytes and writes data after them, creating the file
// if it is missing.
func (s *Segment) replaceIndex(suffix string, data []byte, keepBytes int64) error {
	defer s.unsyncedIndexes.Store(true)
	h, err := s.acquire(suffix, true)
	if errors.Is(err, fs.ErrNotExist) {
		if err := s.createFile(suffix); err != nil {
			return err
		}
		h, err = s.acquire(suffix, true)
	}
	if err != nil {
		return err
	}
	defer h.Release()
	if err := h.File().Truncate(keepBytes); err != nil {
		return err
	}
	if len(data) == 0 {
		return nil
	}
	_, err = h.File().WriteAt(data, keepBytes)
	return err
}

func (s *Segment) createFile(suffix string) error {
	s.dir.mu.RLock()
	defer s.dir.mu.RUnlock()
	f, err := s.dir.fs.Create(s.pathLocked(suffix))
	if err != nil {
		return err
	}
	s.unsyncedEntries.Store(true)
	return f.Close()
}

// Flush makes what was appended before the call durable: log, indexes and, the first time,
// the folder's entries. It may run beside appends. A failed sync ends all appends, because
// the system may have dropped the pages it could not write.
func (s *Segment) Flush() error {
	s.flushMu.Lock()
	defer s.flushMu.Unlock()
	if s.failed.Load() {
		return fmt.Errorf("%s: %w", s.Path(), ErrFailed)
	}
	if err := s.writeEntries(); err != nil {
		return err
	}
	if err := s.syncLog(); err != nil {
		return err
	}
	return s.syncIndexes()
}

// FlushLog makes the records that were appended before the call durable, and that their file
// exists. The indexes are left to FlushIndexes: recovery makes them anew from the log. Every error
// leaves open what is on disk.
func (s *Segment) FlushLog() error {
	s.flushMu.Lock()
	defer s.flushMu.Unlock()
	if s.failed.Load() {
		return fmt.Errorf("%s: %w", s.Path(), ErrFailed)
	}
	return s.syncLog()
}

// FlushIndexes makes the indexes of records durable that FlushLog has made so.
func (s *Segment) FlushIndexes() error {
	s.flushMu.Lock()
	defer s.flushMu.Unlock()
	if s.failed.Load() {
		return fmt.Errorf("%s: %w", s.Path(), ErrFailed)
	}
	if err := s.writeEntries(); err != nil {
		return err
	}
	return s.syncIndexes()
}

// WriteForVolumeSync is Flush without its syncs: the caller syncs the whole volume next, and uses
// the segment no more if that fails. No other flush may run meanwhile.
func (s *Segment) WriteForVolumeSync() error {
	s.flushMu.Lock()
	defer s.flushMu.Unlock()
	if s.failed.Load() {
		return fmt.Errorf("%s: %w", s.Path(), ErrFailed)
	}
	if err := s.writeEntries(); err != nil {
		return err
	}
	for _, unsynced := range []*atomic.Bool{&s.unsyncedLog, &s.unsyncedIndexes, &s.unsyncedTxnIndex, &s.unsyncedEntries} {
		unsynced.Store(false)
	}
	return nil
}

func (s *Segment) syncLog() error {
	if err := s.sync(&s.unsyncedLog, LogSuffix); err != nil {
		return err
	}
	return s.syncEntries()
}

func (s *Segment) syncIndexes() error {
	if err := s.sync(&s.unsyncedIndexes, IndexSuffix, TimeIndexSuffix); err != nil {
		return err
	}
	if err := s.sync(&s.unsyncedTxnIndex, TxnIndexSuffix); err != nil {
		return err
	}
	return s.syncEntries() // a transaction index may have come into being
}

func (s *Segment) syncEntries() error {
	if s.unsyncedEntries.Swap(false) {
		if err := s.dir.fs.SyncDir(s.dir.Path()); err != nil {
			return s.fail(err)
		}
	}
	return nil
}

// sync syncs files if unsynced says that it is due.
func (s *Segment) sync(unsynced *atomic.Bool, suffixes ...string) error {
	if !unsynced.Swap(false) {
		return nil
	}
	for _, suffix := range suffixes {
		h, err := s.acquire(suffix, true)
		if err != nil {
			unsynced.Store(true)
			return err
		}
		err = h.File().Sync()
		h.Release()
		if err != nil {
			return s.fail(fmt.Errorf("sync of %s: %w", h.path, err))
		}
	}
	return nil
}

func (s *Segment) fail(cause error) error {
	s.failed.Store(true)
	return fmt.Errorf("%w: %w", ErrFailed, cause)
}

// Seal ends the appends on a roll or a clean shutdown: the largest timestamp gets its index
// entry, entries reach the files and the appender's memory is given back. Flush is still
// due. Activate makes the segment active again.
func (s *Segment) Seal() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tail == nil {
		return nil
	}
	s.tail.noteTime(s.baseOffset)
	if err := s.writeEntriesLocked(); err != nil {
		return err
	}
	s.largest, s.tail = s.tail.largest, nil
	return nil
}
