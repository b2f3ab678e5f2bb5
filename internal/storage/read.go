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
		result.Records, result.File, err = l.readFrom(list, r.below(result.LogEndOffset))
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
		l.suspects.Note(damage)
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

// below is the request with nothing asked for from an offset on.
func (r ReadRequest) below(offset int64) ReadRequest {
	r.UpTo = min(r.UpTo, offset)
	return r
}

func (l *Log) readFrom(list *segmentList, r ReadRequest) ([]byte, *segment.FileRange, error) {
	if r.Offset >= r.UpTo {
		return nil, nil, nil
	}
	for _, s := range list.all[list.indexOf(r.Offset):] {
		if s.BaseOffset() >= r.UpTo {
			break
		}
		if !s.Acquire() {
			return nil, nil, errOvertaken
		}
		records, file, found, err := l.readSegment(list, s, r)
		s.Release()
		if err != nil || found {
			return records, file, err
		}
	}
	return nil, nil, l.missing(list, r.Offset)
}

// readSegment reads from one segment only, as Kafka does: the next fetch goes on with the
// next segment. found is false when all of its batches are before the offset.
func (l *Log) readSegment(list *segmentList, s *segment.Segment, r ReadRequest) (records []byte, file *segment.FileRange, found bool, err error) {
	cuts := s.Cuts()
	if s != list.last() {
		r = r.below(list.endOf(list.indexOf(s.BaseOffset()), r.UpTo))
	}
	if position, known := s.ReadEnd(r.Offset); known {
		// No lookup where another read has ended. Where that does not work out, for whatever reason, it finds out why.
		records, file, err = l.readAt(s, r, segment.BatchPosition{Position: position, BaseOffset: r.Offset}, cuts)
		if err == nil && (file != nil || len(records) > 0) {
			return records, file, true, nil
		}
	}
	at, found, err := s.Lookup(r.Offset)
	if err != nil || !found {
		return nil, nil, false, err
	}
	if at.LastOffset >= r.UpTo {
		return nil, nil, true, l.reachesTooFar(list, s, at)
	}
	records, file, err = l.readAt(s, r, at, cuts)
	return records, file, err == nil, err
}

// readAt returns what begins with the batch first, whose size may not be known: then nothing may be found.
func (l *Log) readAt(s *segment.Segment, r ReadRequest, first segment.BatchPosition, cuts uint64) ([]byte, *segment.FileRange, error) {
	if r.Files {
		file := s.TakeRange(segment.RangeRequest{Position: first.Position, Offset: first.BaseOffset, MaxBytes: r.MaxBytes, MinOneBatch: r.MinOneBatch, UpTo: r.UpTo, NowMs: r.NowMs, IsReplica: r.IsReplica})
		if file != nil {
			return nil, file, nil
		}
	}
	want := r.MaxBytes
	if want < first.SizeBytes && r.MinOneBatch {
		if err := s.CheckLarge(first); err != nil {
			return nil, nil, err
		}
		want = first.SizeBytes
	}
	left := s.SizeBytes() - first.Position
	if left < int64(first.SizeBytes) {
		return nil, nil, errOvertaken // by a truncation
	}
	want = int(min(int64(want), left))
	if want < max(first.SizeBytes, record.BatchOverhead) {
		return nil, nil, nil
	}
	buf := r.buffer(want)
	n, err := s.ReadAt(buf, first.Position)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	whole, err := segment.WholeBatches(buf[:n], first.BaseOffset, r.UpTo, l.epochs.Load())
	if err != nil && whole.SizeBytes == 0 {
		return nil, nil, &segment.CorruptionError{Path: s.Path(), Position: first.Position, Cause: err}
	}
	// What precedes a damaged batch is served; the reader meets the damage when it asks for it.
	if whole.SizeBytes > 0 {
		s.NoteReadEnd(whole.NextOffset, first.Position+int64(whole.SizeBytes), cuts)
		if r.Files && !whole.Corrected {
			s.NoteSound(first.Position, whole.SizeBytes, whole.NextOffset, r.NowMs, cuts)
		}
	}
	return buf[:whole.SizeBytes], nil, nil
}
