package cleaner

import (
	"errors"
	"fmt"
	"slices"

	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/segment"
)

// errFollowed ends a scan that has seen enough.
var errFollowed = errors.New("followed")

// followBelow follows the aborted transactions that began in the clean part, reading headers only.
func (r *Round) followBelow() error {
	from := r.FirstDirty
	for _, a := range r.Aborted {
		from = min(from, a.FirstOffset)
	}
	if from == r.FirstDirty {
		return nil
	}
	for i, s := range r.Segments {
		if s.BaseOffset() >= r.FirstDirty {
			break
		}
		if r.endOf(i) <= from {
			continue
		}
		err := r.follow(s, from, func(at segment.BatchPosition, header record.Batch) error {
			if at.LastOffset >= r.FirstDirty {
				return errFollowed
			}
			if !header.IsControl() {
				r.transactions.batch(header)
				return nil
			}
			return r.followMarker(s, at)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// followBehind looks for the markers of the transactions that are open where the map ends.
func (r *Round) followBehind() error {
	for _, s := range slices.Concat(r.Segments, r.Rest) {
		if !r.transactions.open() {
			return nil
		}
		err := r.follow(s, r.keys.highest+1, func(at segment.BatchPosition, header record.Batch) error {
			if !header.IsControl() || at.LastOffset <= r.keys.highest {
				return nil
			}
			if err := r.followMarker(s, at); err != nil {
				return err
			}
			if !r.transactions.open() {
				return errFollowed
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if len(r.transactions.ongoing) > 0 {
		return fmt.Errorf("%w: it lists transactions whose markers are not in the log", segment.ErrTxnIndex)
	}
	return nil
}

// follow scans the headers of a segment from an offset on.
func (r *Round) follow(s *segment.Segment, from int64, visit func(at segment.BatchPosition, header record.Batch) error) error {
	at, found, err := s.Lookup(from)
	if err != nil || !found {
		return err
	}
	err = s.ScanHeaders(at.Position, func(at segment.BatchPosition, header record.Batch) error {
		if err := r.Throttle(record.BatchOverhead); err != nil {
			return err
		}
		return visit(at, header)
	})
	if errors.Is(err, errFollowed) {
		return nil
	}
	return err
}

func (r *Round) followMarker(s *segment.Segment, at segment.BatchPosition) error {
	b, err := s.ReadMarker(at)
	if err != nil {
		return err
	}
	if b == nil {
		return r.damaged(s, at, fmt.Errorf("a control batch of %d bytes", at.SizeBytes))
	}
	if err := b.CheckCRC(); err != nil {
		return r.damaged(s, at, err)
	}
	if _, _, err := r.transactions.control(b); err != nil {
		return r.damaged(s, at, err)
	}
	return nil
}
