package storage

import (
	"errors"
	"fmt"

	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/segment"
)

// scanPastDamage calls visit for every sound batch from position, the start of one, on. What a
// damaged one said is lost: neither its producer's state nor its epoch is known.
func scanPastDamage(s *segment.Segment, position int64, visit func(at segment.BatchPosition, b record.Batch) error) error {
	least := s.BaseOffset()
	for {
		err := s.ScanBatches(position, func(at segment.BatchPosition, b record.Batch) error {
			position, least = at.Position, at.LastOffset+1
			return visit(at, b)
		})
		damage, isDamage := errors.AsType[*segment.CorruptionError](err)
		if !isDamage {
			return err
		}
		at, found, err := s.SoundAfter(max(position, damage.Position), least)
		if err != nil || !found {
			return err
		}
		position = at.Position
	}
}

// missing says why nothing was found at offset, which is below the log end offset: damage in the
// segment that should have it, or, where none is found, records that are not there.
func (l *Log) missing(list *segmentList, offset int64) error {
	s := list.all[list.indexOf(offset)]
	if !s.Acquire() {
		return errOvertaken
	}
	defer s.Release()
	if _, _, err := s.LookupSound(offset); err != nil {
		return err
	}
	return &segment.CorruptionError{Path: s.Path(), Position: s.SizeBytes(), Cause: fmt.Errorf("there is no batch with offset %d, and the log ends at %d", offset, l.endOffset.Load())}
}

// reachesTooFar says what is wrong with a batch that ends at or above upTo: nothing, unless it also
// ends behind the offsets that its segment can have. No checksum covers its base offset.
func (l *Log) reachesTooFar(list *segmentList, s *segment.Segment, at segment.BatchPosition) error {
	end := list.endOf(list.indexOf(s.BaseOffset()), l.endOffset.Load())
	if at.LastOffset < end {
		return nil
	}
	l.mu.Lock() // an append is visible in its segment before the log's end says so
	end = list.endOf(list.indexOf(s.BaseOffset()), l.endOffset.Load())
	l.mu.Unlock()
	if at.LastOffset < end {
		return nil
	}
	cause := &record.CorruptError{Field: "last offset", Expected: end - 1, Got: at.LastOffset}
	return &segment.CorruptionError{Path: s.Path(), Position: at.Position, Cause: cause}
}
