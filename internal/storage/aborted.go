package storage

import (
	"errors"
	"io"
	"math"

	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/segment"
)

// abortedTransactions finds the aborted transactions that began below upTo, which is not above the
// last stable offset, by their markers: the log itself is the truth that .txnindex files only
// repeat. segments are all of the log, since a marker may come long after.
func (l *Log) abortedTransactions(segments []*segment.Segment, upTo int64, throttle func(sizeBytes int) error) ([]segment.AbortedTransaction, error) {
	var aborted []segment.AbortedTransaction
	open := map[int64]int64{} // producer to the first offset of its transaction
	for _, s := range segments {
		if s.BaseOffset() >= upTo && len(open) == 0 {
			break
		}
		err := s.ScanHeaders(0, func(at segment.BatchPosition, header record.Batch) error {
			if err := throttle(record.BatchOverhead); err != nil {
				return err
			}
			if !header.IsControl() {
				if _, known := open[header.ProducerID()]; header.IsTransactional() && !known && at.BaseOffset < upTo {
					open[header.ProducerID()] = at.BaseOffset
				}
				return nil
			}
			first, known := open[header.ProducerID()]
			if !known {
				return nil
			}
			kind, ends, err := markerKind(s, at)
			if err != nil || !ends {
				return err
			}
			delete(open, header.ProducerID())
			if kind == record.ControlAbort {
				aborted = append(aborted, segment.AbortedTransaction{
					ProducerID: header.ProducerID(), FirstOffset: first, LastOffset: at.LastOffset, LastStableOffset: stableOffset(open, at.LastOffset+1),
				})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return aborted, nil
}

func stableOffset(open map[int64]int64, end int64) int64 {
	stable := int64(math.MaxInt64)
	for _, first := range open {
		stable = min(stable, first)
	}
	return min(stable, end)
}

// markerKind reads the marker at a position; ends is false if it ends no transaction.
func markerKind(s *segment.Segment, at segment.BatchPosition) (kind record.ControlKind, ends bool, err error) {
	if at.SizeBytes > maxMarkerBytes {
		return 0, false, nil
	}
	b := make(record.Batch, at.SizeBytes)
	if n, err := s.ReadAt(b, at.Position); err != nil && !(errors.Is(err, io.EOF) && n == len(b)) {
		return 0, false, err
	}
	for r, err := range b.Records(int64(len(b))) {
		if err != nil {
			return 0, false, nil
		}
		kind, err := record.ParseControlKey(r.Key)
		return kind, err == nil && (kind == record.ControlAbort || kind == record.ControlCommit), nil
	}
	return 0, false, nil
}
