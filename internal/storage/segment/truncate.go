package segment

import "fmt"

// Truncate removes every batch with records at offset or above and returns how many bytes
// went. The segment is active afterwards. Its failure in the middle ends all appends.
func (s *Segment) Truncate(offset int64) (int64, error) {
	at, found, err := s.Lookup(offset)
	if err != nil {
		return 0, err
	}
	if err := s.Activate(); err != nil {
		return 0, err
	}
	if !found {
		return 0, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.writeEntriesLocked(); err != nil {
		return 0, err
	}
	relative := offset - s.baseOffset
	offsets, err := s.countEntries(IndexSuffix, int(s.offsetEntries), offsetEntryBytes, func(e []byte) bool {
		return int64(parseOffsetEntry(e).relative) < relative
	})
	if err != nil {
		return 0, err
	}
	times, err := s.countEntries(TimeIndexSuffix, int(s.timeEntries), timeEntryBytes, func(e []byte) bool {
		return int64(parseTimeEntry(e).relative) < relative
	})
	if err != nil {
		return 0, err
	}
	truncated := s.SizeBytes() - at.Position
	if err := s.cutTo(at.Position, offsets, times); err != nil {
		return 0, s.fail(fmt.Errorf("truncation of %s to offset %d: %w", s.path(LogSuffix), offset, err))
	}
	return truncated, nil
}

// cutTo shortens the indexes, then the log: a kill in between leaves an index that is too short,
// which recovery completes. Called under mu.
func (s *Segment) cutTo(sizeBytes int64, offsetEntries, timeEntries int) error {
	if err := s.replaceIndexes(&tail{}, offsetEntries, timeEntries); err != nil {
		return err
	}
	s.sizeBytes.Store(sizeBytes)
	s.unsyncedLog.Store(true)
	err := s.with(LogSuffix, true, func(h *Handle) error { return h.File().Truncate(sizeBytes) })
	if err != nil {
		return err
	}
	if sizeBytes == 0 {
		s.firstTimestamp = unknownTimestamp
	}
	s.largest = newTail(s.baseOffset).largest
	return s.activateLocked()
}
