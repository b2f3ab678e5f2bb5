package quorum

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/segment"
)

const (
	// scanChunkBytes is how much recovery reads at a time; a larger batch is read whole.
	scanChunkBytes = 1 << 20
	// sectorBytes is the least that a disk writes as a whole.
	sectorBytes = 512
)

// logScanner walks the log files batch by batch and accepts only what this package writes:
//   - offsets without gaps, one entry per batch, checksums that fit;
//   - epochs that never fall, never exceed the voter's term, and rise only at the empty entry of
//     an election. The epoch is outside the CRC: a flipped bit there breaks one of these rules.
//
// A torn tail is the incomplete end of the last write. It starts at or above the durable end, in
// the last file, and its bytes are missing or were never written (zeros). Anything else that
// is wrong is corruption.
type logScanner struct {
	fs         vfs.FS
	dir        string
	durableEnd int64
	term       int32 // the voter's; no entry has a higher one
	anchor     snapshotInfo

	started         bool // the anchor's end was met
	entries         []entryInfo
	nextOffset      int64
	epoch           int32
	lastTimestampMs int64
	tornBytes       int64
}

// scan reads the segments with these base offsets, ascending.
func (s *logScanner) scan(baseOffsets []int64) error {
	s.nextOffset, s.epoch, s.lastTimestampMs = baseOffsets[0], -1, s.anchor.LastTimestampMs
	if s.nextOffset > s.anchor.ID.EndOffset {
		return &CorruptLogError{Path: s.dir, Problem: fmt.Sprintf(
			"the log begins at offset %d, but the oldest snapshot ends at offset %d", s.nextOffset, s.anchor.ID.EndOffset)}
	}
	for i, base := range baseOffsets {
		path := filepath.Join(s.dir, segment.FileName(base, segment.LogSuffix))
		if base != s.nextOffset {
			return &CorruptLogError{Path: path, Problem: fmt.Sprintf("the file before it ends at offset %d: records are missing between them", s.nextOffset)}
		}
		if err := s.scanFile(path, i == len(baseOffsets)-1); err != nil {
			return err
		}
	}
	s.meetAnchor(s.nextOffset)
	switch {
	case !s.started:
		return &CorruptLogError{Path: s.dir, Problem: fmt.Sprintf(
			"no record batch begins at offset %d, where the oldest snapshot ends; the log ends at offset %d", s.anchor.ID.EndOffset, s.nextOffset)}
	case s.nextOffset < s.durableEnd:
		return &CorruptLogError{Path: s.dir, Problem: fmt.Sprintf(
			"the log ends at offset %d, but everything below offset %d was written durably: records are missing at its end", s.nextOffset, s.durableEnd)}
	}
	return nil
}

func (s *logScanner) meetAnchor(offset int64) {
	if !s.started && offset == s.anchor.ID.EndOffset {
		s.started, s.epoch = true, s.anchor.ID.Epoch
	}
}

func (s *logScanner) scanFile(path string, isLast bool) error {
	file, err := s.fs.Open(path, true)
	if err != nil {
		return err
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		return err
	}
	w := window{file: file, sizeBytes: size}
	for position := int64(0); position < size; {
		s.meetAnchor(s.nextOffset)
		batch, problem, err := s.next(&w, position)
		if err != nil {
			return fmt.Errorf("read %s at position %d: %w", path, position, err)
		}
		if problem == nil {
			if s.started {
				s.entries = append(s.entries, entryInfo{baseOffset: batch.BaseOffset(), position: position,
					sizeBytes: int32(len(batch)), epoch: batch.PartitionLeaderEpoch()})
			}
			s.nextOffset, s.epoch, s.lastTimestampMs = batch.NextOffset(), batch.PartitionLeaderEpoch(), batch.MaxTimestamp()
			position += int64(len(batch))
			continue
		}
		torn, err := s.isTorn(&w, position)
		if err != nil {
			return fmt.Errorf("read %s at position %d: %w", path, position, err)
		}
		if !isLast || s.nextOffset < s.durableEnd || !torn {
			return &CorruptLogError{Path: path, Position: position, Problem: fmt.Sprintf("offset %d: %v", s.nextOffset, problem)}
		}
		s.tornBytes = size - position
		if err := file.Truncate(position); err != nil {
			return fmt.Errorf("cut the incomplete last write off %s: %w", path, err)
		}
		break
	}
	if !isLast {
		return nil
	}
	return file.Sync()
}

// next returns the batch at position, or what is wrong with it.
func (s *logScanner) next(w *window, position int64) (b record.Batch, problem, err error) {
	data, err := w.at(position, record.BatchOverhead)
	if err != nil {
		return nil, nil, err
	}
	if len(data) < record.BatchOverhead {
		return nil, fmt.Errorf("the batch header ends after %d bytes", len(data)), nil
	}
	size, problem := record.SizeOf(data)
	if problem != nil {
		return nil, problem, nil
	}
	if data, err = w.at(position, size); err != nil {
		return nil, nil, err
	}
	if b, _, problem = record.Next(data); problem != nil {
		return nil, problem, nil
	}
	if problem = b.CheckCRC(); problem != nil {
		return nil, problem, nil
	}
	return b, s.check(b), nil
}

func (s *logScanner) check(b record.Batch) error {
	epoch := b.PartitionLeaderEpoch()
	switch {
	case b.BaseOffset() != s.nextOffset:
		return fmt.Errorf("the batch has base offset %d", b.BaseOffset())
	case b.Count() < 1 || b.LastOffsetDelta() != b.Count()-1:
		return fmt.Errorf("the batch has %d records but last offset delta %d", b.Count(), b.LastOffsetDelta())
	case epoch > s.term:
		return fmt.Errorf("the batch has epoch %d, above the voter's term %d", epoch, s.term)
	case !s.started:
		return nil // before the oldest snapshot: kept only because its segment is
	case epoch < s.epoch:
		return fmt.Errorf("the batch has epoch %d after epoch %d", epoch, s.epoch)
	}
	if isElection(b) != (epoch > s.epoch) {
		return fmt.Errorf("the batch has epoch %d after epoch %d, but a new epoch begins with, and only with, a NoOpRecord", epoch, s.epoch)
	}
	return nil
}

var electionRecord = metadata.Encode(&metadata.NoOpRecord{})

// isElection reports whether b is the empty entry of an election.
func isElection(b record.Batch) bool {
	if b.IsControl() || b.Count() != 1 {
		return false
	}
	for r, err := range b.Records(int64(len(b))) {
		return err == nil && string(r.Value) == string(electionRecord)
	}
	return false
}

// isTorn reports whether the batch at position looks like one whose write did not finish: the
// file ends within it and no good batch follows, or a disk sector of it holds only zeros. Where
// sectors of one write reach the disk in any order, good batches of that write may follow.
func (s *logScanner) isTorn(w *window, position int64) (bool, error) {
	header, err := w.at(position, record.BatchOverhead)
	if err != nil {
		return false, err
	}
	rest := w.sizeBytes - position
	size := rest
	if len(header) == record.BatchOverhead {
		if n, problem := record.SizeOf(header); problem == nil {
			size = int64(n)
		}
	}
	if size > rest {
		follows, err := s.goodBatchFollows(w, position)
		return !follows, err
	}
	for start := position; start < position+size; {
		end := min((start/sectorBytes+1)*sectorBytes, position+size)
		data, err := w.at(start, int(end-start))
		if err != nil {
			return false, err
		}
		if allZero(data) {
			return true, nil
		}
		start = end
	}
	return rest < record.BatchOverhead, nil
}

// goodBatchFollows looks for a whole batch with a later offset behind a bad one.
func (s *logScanner) goodBatchFollows(w *window, position int64) (bool, error) {
	for at := position + 1; at+record.BatchOverhead <= w.sizeBytes; at++ {
		header, err := w.at(at, record.BatchOverhead)
		if err != nil {
			return false, err
		}
		b := record.Batch(header)
		size, problem := record.SizeOf(header)
		if problem != nil || b.Magic() != record.Magic || b.BaseOffset() <= s.nextOffset || int64(size) > w.sizeBytes-at {
			continue
		}
		data, err := w.at(at, size)
		if err != nil {
			return false, err
		}
		if record.Batch(data).CheckCRC() == nil {
			return true, nil
		}
	}
	return false, nil
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// window reads a file through a buffer that slides over it.
type window struct {
	file      vfs.File
	sizeBytes int64
	start     int64
	buffer    []byte
}

// at returns the bytes from position on: n of them, or as many as the file has. They are valid
// until the next call.
func (w *window) at(position int64, n int) ([]byte, error) {
	n = int(min(int64(n), w.sizeBytes-position))
	if position < w.start || position+int64(n) > w.start+int64(len(w.buffer)) {
		length := int(min(int64(max(n, scanChunkBytes)), w.sizeBytes-position))
		if cap(w.buffer) < length {
			w.buffer = make([]byte, length)
		}
		w.start, w.buffer = position, w.buffer[:length]
		if got, err := w.file.ReadAt(w.buffer, position); err != nil && !(errors.Is(err, io.EOF) && got == length) {
			w.buffer = w.buffer[:0]
			return nil, err
		}
	}
	return w.buffer[position-w.start:][:n], nil
}
