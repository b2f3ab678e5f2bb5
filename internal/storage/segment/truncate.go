package segment

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/moldau/moldau/internal/env/vfs"
)

// Truncate removes every batch with records at offset or above and returns how many bytes
// went. The segment is active afterwards, unless what is left ends with damage: see IsActive. Its failure in the
// middle ends all appends.
func (s *Segment) Truncate(offset int64) (int64, error) {
	at, found, err := s.Lookup(offset)
	if isCorruption(err) {
		at.Position, err = s.CutPosition(offset)
		found = true
	}
	if err != nil {
		return 0, err
	}
	if !found {
		return 0, s.activateSound(offset)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.loadLocked(); err != nil {
		return 0, err
	}
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
	s.distrustTail(offset)
	return truncated, nil
}

// CutPosition returns where the sound batches below offset end, behind which damage begins at offset, or another batch does. Damage
// before that stays. The error is the damage if it begins before offset and ends behind.
func (s *Segment) CutPosition(offset int64) (int64, error) {
	c, err := s.scanSound(0)
	if err != nil {
		return 0, err
	}
	defer c.close()
	for {
		position, least := c.position, c.least
		at, damage, err := c.next()
		isEnd := errors.Is(err, io.EOF)
		switch {
		case err != nil && !isEnd:
			return 0, err
		case damage != nil && least == offset:
			return position, nil
		case damage != nil && (isEnd || at.BaseOffset > offset):
			return 0, damage
		case damage != nil && at.BaseOffset == offset:
			return at.Position, nil
		case isEnd || at.BaseOffset >= offset:
			return position, nil
		}
	}
}

// replaceLog cuts the .log by putting a copy of what stays in its place. What was sent out of the file
// may still lie in sockets as pages of it, which cutting it and appending again would change. That
// happens to committed records only, where they are lost in an election. Where there is no room for a copy the
// file is cut after all: a client then finds a wrong CRC, which is better than to lose the log dir. Called under mu.
func (s *Segment) replaceLog(sizeBytes int64) error {
	path := s.path(LogSuffix)
	temporary := path + vfs.TemporarySuffix
	err := s.with(LogSuffix, false, func(h *Handle) error { return copyFile(s.dir.fs, temporary, h.File(), sizeBytes) })
	if vfs.IsFull(err) {
		if err := s.dir.fs.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		s.isClosed.Store(true)
		return s.cutLog(sizeBytes)
	}
	if err != nil {
		return err
	}
	s.dir.mu.Lock()
	defer s.dir.mu.Unlock()
	s.dir.cache.Forget(path)
	s.unsyncedEntries.Store(true)
	s.isClosed.Store(false) // the file is another one
	return s.dir.fs.Rename(temporary, path)
}

// cutLog cuts the .log in place.
func (s *Segment) cutLog(sizeBytes int64) error {
	return s.with(LogSuffix, true, func(h *Handle) error { return h.File().Truncate(sizeBytes) })
}

// copyFile writes the first sizeBytes bytes of a file to a new one and makes them durable.
func copyFile(fsys vfs.FS, path string, from vfs.File, sizeBytes int64) (err error) {
	to, err := fsys.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	buffer := batchBuffers.Get().(*[]byte)
	defer batchBuffers.Put(buffer)
	for position := int64(0); position < sizeBytes; {
		data := (*buffer)[:min(int64(len(*buffer)), sizeBytes-position)]
		if err := readFull(from, data, position); err != nil {
			return err
		}
		if _, err := to.WriteAt(data, position); err != nil {
			return err
		}
		position += int64(len(data))
	}
	return to.Sync()
}

// cutTo shortens the indexes, then the log: a kill in between leaves an index that is too short,
// which recovery completes. Called under mu.
func (s *Segment) cutTo(sizeBytes int64, offsetEntries, timeEntries int) error {
	if err := s.replaceIndexes(&tail{}, offsetEntries, timeEntries); err != nil {
		return err
	}
	err := s.dir.cuts.Cut(func() error {
		s.sizeBytes.Store(sizeBytes)
		s.unsyncedLog.Store(true)
		cut := s.cutLog
		if k := s.known; k != nil { // the file stays, and what was sent of it may still be on its way
			k.sound = nil
			if sizeBytes < k.replicatedTo {
				s.isClosed.Store(true)
			}
			if sizeBytes < k.sentTo {
				s.known, cut = nil, s.replaceLog
			}
		}
		err := cut(sizeBytes)
		if sizeBytes == 0 {
			s.isClosed.Store(false) // nothing is left of the file's pages
		}
		return err
	})
	if err != nil {
		return err
	}
	if sizeBytes == 0 {
		s.firstTimestamp = unknownTimestamp
	}
	s.largest, s.tail = newTail(s.baseOffset).largest, nil
	if err = s.activateLocked(); isCorruption(err) {
		return nil
	}
	return err
}

// activateSound is Activate for a segment whose records end below offset, but leaves one that ends with damage as it is.
func (s *Segment) activateSound(offset int64) error {
	if err := s.Activate(); err != nil && !isCorruption(err) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.distrustTail(offset)
	return nil
}

// distrustTail leaves the segment as one that ends with damage where its last batch says that it reaches beyond offset, below
// which all of it was: no checksum covers a base offset. Called under mu.
func (s *Segment) distrustTail(offset int64) {
	if s.tail != nil && s.tail.nextOffset > offset {
		s.tail = nil
	}
}

// IsActive reports whether the segment is ready for appends.
func (s *Segment) IsActive() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tail != nil
}
