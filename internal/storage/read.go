package storage

import (
	"errors"
	"fmt"
	"io"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/segment"
)

// errOvertaken says that a segment was removed or cut while it was being read.
var errOvertaken = errors.New("the segment was removed or cut during the read")

// Read returns whole batches beginning with the one that contains r.Offset, or, where compaction removed that one, the next. Batches that were not read correctly
// are never returned: if it is the first, the error is CORRUPT_MESSAGE and names file and position. Nothing is returned at or above r.UpTo, nor, unless
// r.MinOneBatch is set, more than r.MaxBytes.
//
// Read takes no lock, unless it fails. It works on one list of segments; every truncation and deletion swaps
// the list, so a read counts only if the list is still the same afterwards.
func (l *Log) Read(r ReadRequest) (ReadResult, error) {
	if r.Offset < l.endOffset.Load() { // the empty look at the end, of which there are many, is no load
		l.dir.shared.foreground.Add(1)
	}
	for {
		if err := l.usable(); err != nil {
			return ReadResult{LogStartOffset: l.startOffset.Load(), LogEndOffset: l.endOffset.Load()}, err
		}
		list := l.segments.Load()
		result := ReadResult{LogStartOffset: l.startOffset.Load(), LogEndOffset: l.endOffset.Load()}
		if r.Offset < result.LogStartOffset || r.Offset > result.LogEndOffset {
			return result, kafka.Errorf(kafka.ErrOffsetOutOfRange, "offset %d of %s is outside of %d to %d", r.Offset, l.tp, result.LogStartOffset, result.LogEndOffset)
		}
		var err error
		result.Records, result.File, err = l.readFrom(list, r, min(r.UpTo, result.LogEndOffset))
		if err == nil && r.Aborted {
			if next := result.NextOffset(r.Offset); next > r.Offset {
				result.Aborted, err = abortedIn(list, r.Offset, next)
			}
		}
		overtaken := l.isOvertaken(list, err)
		if (overtaken || err != nil) && result.File != nil {
			result.File.Release()
			result.File = nil
		}
		if overtaken {
			continue
		}
		if errors.Is(err, segment.ErrTxnIndex) {
			if err = l.repairTxnIndexes(err); err == nil {
				continue
			}
		}
		if err != nil {
			return result, l.readError(err)
		}
		return result, nil
	}
}

// isOvertaken reports whether a truncation or deletion has swapped list since it was loaded.
// A truncation under way may be what failed the read: with an error it is waited for.
func (l *Log) isOvertaken(list *segmentList, err error) bool {
	if err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
	}
	return l.segments.Load() != list
}

func (l *Log) readError(err error) error {
	if damage, ok := errors.AsType[*segment.CorruptionError](err); ok {
		l.dir.metrics.damagedBatches.Inc()
		return &kafka.Error{Code: kafka.ErrCorruptMessage, Message: fmt.Sprintf("the data of %s is damaged and not served: check the disk, and run moldau audit when the broker is stopped; readers can go on behind the damage", l.tp), Cause: damage}
	}
	return l.mayFail("reading", err)
}

// NextOffset is the offset after the records; offset if there are none.
func (r *ReadResult) NextOffset(offset int64) int64 {
	if r.File != nil {
		return r.File.NextOffset
	}
	return max(offset, endOf(r.Records))
}

func (l *Log) readFrom(list *segmentList, r ReadRequest, upTo int64) ([]byte, *segment.FileRange, error) {
	if r.Offset >= upTo {
		return nil, nil, nil
	}
	for _, s := range list.all[list.indexOf(r.Offset):] {
		if s.BaseOffset() >= upTo {
			break
		}
		if !s.Acquire() {
			return nil, nil, errOvertaken
		}
		records, file, found, err := l.readSegment(list, s, r, upTo)
		s.Release()
		if err != nil || found {
			return records, file, err
		}
	}
	return nil, nil, l.missing(list, r.Offset)
}

// takeFile finds the records that begin with the batch of offset at position as a part of the file, nil if they must be read.
func (r *ReadRequest) takeFile(s *segment.Segment, position, offset, upTo int64) *segment.FileRange {
	if !r.Files {
		return nil
	}
	return s.TakeRange(segment.RangeRequest{Position: position, Offset: offset, MaxBytes: r.MaxBytes, MinOneBatch: r.MinOneBatch, UpTo: upTo, NowMs: r.NowMs})
}

// noteSound remembers what was read and is right.
func (r *ReadRequest) noteSound(s *segment.Segment, position int64, whole segment.Whole, cuts uint64) {
	s.NoteReadEnd(whole.NextOffset, position+int64(whole.SizeBytes), cuts)
	if r.Files && !whole.Corrected {
		s.NoteSound(position, whole.SizeBytes, whole.NextOffset, r.NowMs, cuts)
	}
}

// readSegment reads from one segment only, as Kafka does: the next fetch goes on with the
// next segment. found is false when all of its batches are before the offset.
func (l *Log) readSegment(list *segmentList, s *segment.Segment, r ReadRequest, upTo int64) (records []byte, file *segment.FileRange, found bool, err error) {
	cuts := s.Cuts()
	if s != list.last() {
		upTo = min(upTo, list.endOf(list.indexOf(s.BaseOffset()), upTo))
	}
	if records, file := l.readOn(s, r, upTo, cuts); file != nil || len(records) > 0 {
		return records, file, true, nil
	}
	at, found, err := s.Lookup(r.Offset)
	if err != nil || !found {
		return nil, nil, false, err
	}
	if at.LastOffset >= upTo {
		return nil, nil, true, l.reachesTooFar(list, s, at)
	}
	if file := r.takeFile(s, at.Position, at.BaseOffset, upTo); file != nil {
		return nil, file, true, nil
	}
	want := max(r.MaxBytes, 0)
	if want < at.SizeBytes {
		if !r.MinOneBatch {
			return nil, nil, true, nil
		}
		if err := s.CheckLarge(at); err != nil {
			return nil, nil, false, err
		}
		want = at.SizeBytes
	}
	left := s.SizeBytes() - at.Position
	if left < int64(at.SizeBytes) {
		return nil, nil, false, errOvertaken // by a truncation
	}
	want = int(min(int64(want), left))
	buf := r.buffer(want)
	n, err := s.ReadAt(buf, at.Position)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, false, err
	}
	whole, err := segment.WholeBatches(buf[:n], at.BaseOffset, upTo, l.epochs.Load())
	if err != nil && whole.SizeBytes == 0 {
		return nil, nil, false, &segment.CorruptionError{Path: s.Path(), Position: at.Position, Cause: err}
	}
	// What precedes a damaged batch is served; the reader meets the damage when it asks for it.
	r.noteSound(s, at.Position, whole, cuts)
	return buf[:whole.SizeBytes], nil, true, nil
}

// readOn reads without a lookup where another read has ended just at r.Offset. It returns nothing where that does not
// work out, for whatever reason: then the lookup finds out why.
func (l *Log) readOn(s *segment.Segment, r ReadRequest, upTo int64, cuts uint64) ([]byte, *segment.FileRange) {
	position, known := s.ReadEnd(r.Offset)
	if !known {
		return nil, nil
	}
	if file := r.takeFile(s, position, r.Offset, upTo); file != nil {
		return nil, file
	}
	want := min(int64(r.MaxBytes), s.SizeBytes()-position)
	if want < record.BatchOverhead {
		return nil, nil
	}
	buf := r.buffer(int(want))
	n, err := s.ReadAt(buf, position)
	if err != nil {
		return nil, nil
	}
	whole, _ := segment.WholeBatches(buf[:n], r.Offset, upTo, l.epochs.Load())
	if whole.SizeBytes > 0 {
		r.noteSound(s, position, whole, cuts)
	}
	return buf[:whole.SizeBytes], nil
}
