package segment

import (
	"errors"
	"fmt"
	"io/fs"
)

// CreateCleaned makes an empty, active segment that is not part of the log yet: its files have
// CleanedSuffix. What an earlier attempt left under these names is emptied.
func CreateCleaned(d *Dir, baseOffset int64) (*Segment, error) {
	if baseOffset < 0 {
		return nil, fmt.Errorf("a segment cannot begin at the negative offset %d", baseOffset)
	}
	s := newSegment(d, baseOffset)
	s.extra = extraCleaned
	for _, suffix := range []string{LogSuffix, IndexSuffix, TimeIndexSuffix} {
		if err := s.createEmpty(suffix); err != nil {
			return nil, err
		}
	}
	if err := d.fs.Remove(s.path(TxnIndexSuffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	s.unsyncedEntries.Store(true)
	s.loaded = true
	s.tail = newTail(baseOffset)
	return s, nil
}

func (s *Segment) createEmpty(suffix string) error {
	path := s.path(suffix)
	s.dir.cache.Forget(path)
	f, err := s.dir.fs.Create(path)
	if err != nil {
		return err
	}
	return f.Close()
}

// MarkDeleted renames the files to .deleted; reads go on. After an error it may be called again.
func (s *Segment) MarkDeleted() error {
	// The .log goes last: as long as it has its name the segment is there after a restart.
	return s.rename(extraDeleted, TxnIndexSuffix, TimeIndexSuffix, IndexSuffix, LogSuffix)
}

// MarkSwap renames the files of a cleaned segment to .swap. The .log goes last: a file that is
// still .cleaned tells recovery that the segment does not count.
func (s *Segment) MarkSwap() error {
	return s.rename(extraSwap, TxnIndexSuffix, TimeIndexSuffix, IndexSuffix, LogSuffix)
}

// MarkFinal gives a swapped segment its place in the log.
func (s *Segment) MarkFinal() error {
	return s.rename(noExtra, LogSuffix, IndexSuffix, TimeIndexSuffix, TxnIndexSuffix)
}

func (s *Segment) rename(extra uint8, suffixes ...string) error {
	s.dir.mu.Lock()
	defer s.dir.mu.Unlock()
	if s.extra == extra {
		return nil
	}
	s.forgetFiles()
	for _, suffix := range suffixes {
		from, to := s.pathLocked(suffix), s.dir.join(FileName(s.baseOffset, suffix+extras[extra]))
		s.dir.cache.Forget(to)
		if err := s.dir.fs.Rename(from, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	s.extra = extra
	return nil
}
