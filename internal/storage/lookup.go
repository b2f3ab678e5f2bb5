package storage

import (
	"cmp"
	"slices"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/storage/segment"
)

// OffsetForTimestamp returns the first record below upTo whose timestamp is at least
// timestampMs: the exact record, also inside of a compressed batch.
func (l *Log) OffsetForTimestamp(timestampMs, upTo int64) (TimestampOffset, bool, error) {
	return l.search(upTo, func(list *segmentList, startOffset int64) (TimestampOffset, bool, error) {
		for i, s := range list.all {
			if list.endOf(i, upTo) <= startOffset {
				continue
			}
			if r, found, err := findInSegment(s, timestampMs, startOffset); err != nil || found {
				return r, found, err
			}
		}
		return noTimestampOffset, false, nil
	})
}

// MaxTimestampOffset returns the first record below upTo with the largest timestamp.
func (l *Log) MaxTimestampOffset(upTo int64) (TimestampOffset, bool, error) {
	return l.search(upTo, func(list *segmentList, startOffset int64) (TimestampOffset, bool, error) {
		type candidate struct {
			segment     *segment.Segment
			timestampMs int64
		}
		var candidates []candidate
		for i, s := range list.all {
			if list.endOf(i, upTo) <= startOffset {
				continue
			}
			largest, err := largestTimestamp(s)
			if err != nil {
				return noTimestampOffset, false, err
			}
			if largest >= 0 {
				candidates = append(candidates, candidate{s, largest})
			}
		}
		// The record with the largest timestamp of a segment may lie below the log start offset;
		// then the next best segment has the answer.
		slices.SortStableFunc(candidates, func(a, b candidate) int { return cmp.Compare(b.timestampMs, a.timestampMs) })
		for _, c := range candidates {
			if r, found, err := findInSegment(c.segment, c.timestampMs, startOffset); err != nil || found {
				return r, found, err
			}
		}
		return noTimestampOffset, false, nil
	})
}

// search runs find on one list of segments until none has overtaken it; see Read.
func (l *Log) search(upTo int64, find func(list *segmentList, startOffset int64) (TimestampOffset, bool, error)) (TimestampOffset, bool, error) {
	for {
		if err := l.usable(); err != nil {
			return noTimestampOffset, false, err
		}
		list := l.segments.Load()
		r, found, err := find(list, l.startOffset.Load())
		if l.segments.Load() != list {
			continue
		}
		switch {
		case err != nil:
			return noTimestampOffset, false, l.readError(err)
		case !found || r.Offset >= upTo:
			return noTimestampOffset, false, nil
		}
		return r, true, nil
	}
}

func findInSegment(s *segment.Segment, timestampMs, startOffset int64) (TimestampOffset, bool, error) {
	largest, err := largestTimestamp(s)
	if err != nil || largest < timestampMs {
		return noTimestampOffset, false, err
	}
	if !s.Acquire() {
		return noTimestampOffset, false, errOvertaken
	}
	defer s.Release()
	r, found, err := s.FindByTimestamp(timestampMs, startOffset)
	if err != nil || !found {
		return noTimestampOffset, false, err
	}
	return TimestampOffset{Offset: r.Offset, TimestampMs: r.TimestampMs, LeaderEpoch: r.LeaderEpoch}, true, nil
}

func largestTimestamp(s *segment.Segment) (int64, error) {
	if !s.Acquire() {
		return kafka.NoTimestamp, errOvertaken
	}
	defer s.Release()
	largest, _, err := s.LargestTimestamp()
	return largest, err
}
