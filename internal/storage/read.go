package storage

import (
	"errors"
	"fmt"
	"io"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/epoch"
	"github.com/moldau/moldau/internal/storage/segment"
)

// errOvertaken says that a segment was removed or cut while it was being read.
var errOvertaken = errors.New("the segment was removed or cut during the read")

// Read returns whole batches beginning with the one that contains r.Offset, or, where
// compaction removed that one, the next. Batches that were not read correctly are never
// returned: if it is the first, the error is CORRUPT_MESSAGE and names file and position.
// Nothing is returned at or above r.UpTo, nor, unless r.MinOneBatch is set, more than
// r.MaxBytes.
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
		result.Records, err = l.readFrom(list, r, min(r.UpTo, result.LogEndOffset))
		if err == nil && r.Aborted && len(result.Records) > 0 {
			result.Aborted, err = abortedIn(list, r.Offset, endOf(result.Records))
		}
		if l.isOvertaken(list, err) {
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

func (l *Log) readFrom(list *segmentList, r ReadRequest, upTo int64) ([]byte, error) {
	if r.Offset >= upTo {
		return nil, nil
	}
	for _, s := range list.all[list.indexOf(r.Offset):] {
		if s.BaseOffset() >= upTo {
			break
		}
		if !s.Acquire() {
			return nil, errOvertaken
		}
		records, found, err := l.readSegment(list, s, r, upTo)
		s.Release()
		if err != nil || found {
			return records, err
		}
	}
	return nil, l.missing(list, r.Offset)
}

// readSegment reads from one segment only, as Kafka does: the next fetch goes on with the
// next segment. found is false when all of its batches are before the offset.
func (l *Log) readSegment(list *segmentList, s *segment.Segment, r ReadRequest, upTo int64) (records []byte, found bool, err error) {
	if records := l.readOn(list, s, r, upTo); len(records) > 0 {
		return records, true, nil
	}
	at, found, err := s.Lookup(r.Offset)
	if err != nil || !found {
		return nil, false, err
	}
	if s != list.last() && at.LastOffset >= list.endOf(list.indexOf(s.BaseOffset()), upTo) || at.LastOffset >= upTo {
		return nil, true, l.reachesTooFar(list, s, at)
	}
	want := max(r.MaxBytes, 0)
	if want < at.SizeBytes {
		if !r.MinOneBatch {
			return nil, true, nil
		}
		if err := s.CheckLarge(at); err != nil {
			return nil, false, err
		}
		want = at.SizeBytes
	}
	left := s.SizeBytes() - at.Position
	if left < int64(at.SizeBytes) {
		return nil, false, errOvertaken // by a truncation
	}
	want = int(min(int64(want), left))
	buf := r.buffer(want)
	n, err := s.ReadAt(buf, at.Position)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	size, next, err := wholeBatches(buf[:n], at.BaseOffset, upTo, l.epochs.Load())
	if err != nil && size == 0 {
		return nil, false, &segment.CorruptionError{Path: s.Path(), Position: at.Position, Cause: err}
	}
	// What precedes a damaged batch is served; the reader meets the damage when it asks for it.
	s.NoteReadEnd(next, at.Position+int64(size))
	return buf[:size], true, nil
}

// readOn reads without a lookup where another read has ended just at r.Offset. It returns nothing where that does not
// work out, for whatever reason: then the lookup finds out why.
func (l *Log) readOn(list *segmentList, s *segment.Segment, r ReadRequest, upTo int64) []byte {
	position, known := s.ReadEnd(r.Offset)
	want := min(int64(r.MaxBytes), s.SizeBytes()-position)
	if !known || want < record.BatchOverhead {
		return nil
	}
	if s != list.last() {
		upTo = min(upTo, list.endOf(list.indexOf(s.BaseOffset()), upTo))
	}
	buf := r.buffer(int(want))
	n, err := s.ReadAt(buf, position)
	if err != nil {
		return nil
	}
	size, next, _ := wholeBatches(buf[:n], r.Offset, upTo, l.epochs.Load())
	if size > 0 {
		s.NoteReadEnd(next, position+int64(size))
	}
	return buf[:size]
}

// wholeBatches returns how many bytes of data are good batches of ascending offsets, the
// first one at firstOffset, all below upTo, the offset after them, and what is wrong with the batch behind. A
// batch cut off at the end is left out. So is one behind a hole whose successor is not at hand to
// confirm its base offset, which, like the leader epoch, is outside of the CRC; the latter is
// corrected.
func wholeBatches(data []byte, firstOffset, upTo int64, epochs *epoch.List) (sizeBytes int, next int64, err error) {
	next = firstOffset
	rest := data
	for len(rest) > 0 {
		b, behind, err := record.Next(rest)
		if errors.Is(err, record.ErrIncomplete) {
			if sizeBytes == 0 {
				return 0, next, err // the first batch was asked for in full
			}
			break
		}
		if err != nil {
			return sizeBytes, next, err
		}
		if base := b.BaseOffset(); base < next || b.LastOffsetDelta() < 0 || sizeBytes == 0 && base != firstOffset {
			return sizeBytes, next, &record.CorruptError{Field: "base offset", Expected: next, Got: base}
		}
		if b.LastOffset() >= upTo {
			break
		}
		if err := b.CheckCRC(); err != nil {
			return sizeBytes, next, err
		}
		if b.BaseOffset() > next && (len(behind) < record.BatchOverhead || record.Batch(behind).BaseOffset() <= b.LastOffset()) {
			break
		}
		if epoch := epochs.At(b.BaseOffset()); epoch >= 0 && epoch != b.PartitionLeaderEpoch() && b.PartitionLeaderEpoch() != kafka.NoLeaderEpoch {
			b.SetPartitionLeaderEpoch(epoch)
		}
		next, rest = b.NextOffset(), behind
		sizeBytes += len(b)
	}
	return sizeBytes, next, nil
}
