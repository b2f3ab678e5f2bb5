package segment

import (
	"errors"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/epoch"
)

// Whole is what WholeBatches found.
type Whole struct {
	SizeBytes  int
	NextOffset int64 // the offset after them
	Corrected  bool  // a leader epoch is not what the file says
}

// WholeBatches returns how many bytes of data are good batches of ascending offsets, the
// first one at firstOffset, all below upTo, the offset after them, and what is wrong with the batch behind. A
// batch cut off at the end is left out. So is one behind a hole whose successors are not at hand to
// confirm its base offset, which, like the leader epoch, is outside of the CRC; the latter is
// corrected.
func WholeBatches(data []byte, firstOffset, upTo int64, epochs *epoch.List) (good Whole, err error) {
	good.NextOffset = firstOffset
	rest := data
	for len(rest) > 0 {
		b, behind, err := record.Next(rest)
		if errors.Is(err, record.ErrIncomplete) {
			if good.SizeBytes == 0 {
				return good, err // the first batch was asked for in full
			}
			break
		}
		if err != nil {
			return good, err
		}
		if base := b.BaseOffset(); base < good.NextOffset || b.LastOffsetDelta() < 0 || good.SizeBytes == 0 && base != firstOffset {
			return good, &record.CorruptError{Field: "base offset", Expected: good.NextOffset, Got: base}
		}
		if b.LastOffset() >= upTo {
			break
		}
		if err := b.CheckCRC(); err != nil {
			return good, err
		}
		if b.BaseOffset() > good.NextOffset && !isConfirmed(b, behind, good.NextOffset) {
			break
		}
		if epoch := epochs.At(b.BaseOffset()); epoch >= 0 && epoch != b.PartitionLeaderEpoch() && b.PartitionLeaderEpoch() != kafka.NoLeaderEpoch {
			b.SetPartitionLeaderEpoch(epoch)
			good.Corrected = true
		}
		good.NextOffset, rest = b.NextOffset(), behind
		good.SizeBytes += len(b)
	}
	return good, nil
}
