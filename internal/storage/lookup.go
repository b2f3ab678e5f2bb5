package storage

import (
	"errors"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
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
		var best *segment.Segment
		largest := kafka.NoTimestamp
		for i, s := range list.all {
			if list.endOf(i, upTo) <= startOffset {
				continue
			}
			timestampMs, err := largestFrom(s, startOffset)
			if err != nil {
				return noTimestampOffset, false, err
			}
			if timestampMs > largest {
				best, largest = s, timestampMs
			}
		}
		if best == nil {
			return noTimestampOffset, false, nil
		}
		r, found, err := findInSegment(best, largest, startOffset)
		if err != nil || found {
			return r, found, err
		}
		return newestRecord(list, startOffset)
	})
}

// newestRecord reads all records: the batch that has the largest timestamp is one that compaction
// has emptied.
func newestRecord(list *segmentList, startOffset int64) (TimestampOffset, bool, error) {
	newest := noTimestampOffset
	for _, s := range list.all {
		if !s.Acquire() {
			return noTimestampOffset, false, errOvertaken
		}
		err := s.ScanBatches(0, func(_ segment.BatchPosition, b record.Batch) error {
			for r, err := range b.Records(record.UncompressedLimit(len(b))) {
				if err != nil {
					return err
				}
				if offset := b.BaseOffset() + int64(r.OffsetDelta); offset >= startOffset && r.Timestamp > newest.TimestampMs {
					newest = TimestampOffset{offset, r.Timestamp, b.PartitionLeaderEpoch()}
				}
			}
			return nil
		})
		s.Release()
		if err != nil {
			return noTimestampOffset, false, err
		}
	}
	return newest, newest.Offset != kafka.NoOffset, nil
}

// search runs find on one list of segments until none has overtaken it; see Read.
func (l *Log) search(upTo int64, find func(list *segmentList, startOffset int64) (TimestampOffset, bool, error)) (TimestampOffset, bool, error) {
	for {
		if err := l.usable(); err != nil {
			return noTimestampOffset, false, err
		}
		list := l.segments.Load()
		r, found, err := find(list, l.startOffset.Load())
		if l.isOvertaken(list, err) {
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

// largestFrom is the largest timestamp of the segment's records at startOffset and above. Only
// in the segment that DeleteRecords cut through does it need more than the index.
func largestFrom(s *segment.Segment, startOffset int64) (int64, error) {
	if s.BaseOffset() >= startOffset {
		return largestTimestamp(s)
	}
	if !s.Acquire() {
		return kafka.NoTimestamp, errOvertaken
	}
	defer s.Release()
	first, found, err := s.Lookup(startOffset)
	if err != nil || !found {
		return kafka.NoTimestamp, err
	}
	largest := kafka.NoTimestamp
	err = s.ScanBatches(first.Position, func(at segment.BatchPosition, b record.Batch) error {
		for r, err := range b.Records(record.UncompressedLimit(len(b))) {
			if err != nil {
				return err
			}
			if at.BaseOffset+int64(r.OffsetDelta) >= startOffset {
				largest = max(largest, r.Timestamp)
			}
		}
		return errCutBatchSeen
	})
	if err != nil && !errors.Is(err, errCutBatchSeen) {
		return kafka.NoTimestamp, err
	}
	err = s.ScanHeaders(first.End(), func(at segment.BatchPosition, _ record.Batch) error {
		largest = max(largest, at.MaxTimestampMs)
		return nil
	})
	return largest, err
}

// errCutBatchSeen ends a scan after the batch that DeleteRecords cut through.
var errCutBatchSeen = errors.New("seen the batch at the log start offset")
