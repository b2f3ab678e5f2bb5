package storage

import (
	"fmt"

	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/segment"
)

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
