package record

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/moldau/moldau/internal/kafka"
)

// FilterOptions say what compaction keeps of a batch.
type FilterOptions struct {
	// Keep decides on a record; nil keeps all. It is called once for each.
	Keep func(offset int64, r *Record) bool
	// HorizonMs is the delete horizon that a batch gets which has none, if it keeps a tombstone or
	// SetHorizon is set (a marker of a transaction whose records are gone); negative for none.
	HorizonMs  int64
	SetHorizon bool
}

// DeleteHorizonMs is the time from which compaction may drop the batch's tombstones and markers.
func (b Batch) DeleteHorizonMs() (ms int64, ok bool) {
	if !b.HasDeleteHorizon() {
		return 0, false
	}
	return b.BaseTimestamp(), true
}

// Filter is what compaction makes of a batch: the same bytes if every record stays and no delete
// horizon is due, nil if none does, else a new batch. Offsets, sequence numbers and producer
// stay as they were; timestamps are written anew, relative to the delete horizon where there is
// one, as Kafka does. kept is the number of records that stay.
func (b Batch) Filter(o FilterOptions) (filtered Batch, kept int, err error) {
	var keep []bool
	tombstones := false
	for r, err := range b.Records(UncompressedLimit(len(b))) {
		if err != nil {
			return nil, 0, err
		}
		stays := o.Keep == nil || o.Keep(b.BaseOffset()+int64(r.OffsetDelta), &r)
		keep = append(keep, stays)
		if stays {
			kept++
			tombstones = tombstones || r.Value == nil
		}
	}
	if kept == 0 {
		return nil, 0, nil
	}
	horizonMs, hasHorizon := b.DeleteHorizonMs()
	setHorizon := !hasHorizon && o.HorizonMs >= 0 && (tombstones || o.SetHorizon)
	if kept == len(keep) && !setHorizon {
		return b, kept, nil
	}
	if setHorizon {
		horizonMs, hasHorizon = o.HorizonMs, true
	}
	filtered, err = b.rewrite(keep, horizonMs, hasHorizon)
	return filtered, kept, err
}

// rewrite builds the batch of the records that keep names.
func (b Batch) rewrite(keep []bool, horizonMs int64, hasHorizon bool) (Batch, error) {
	nb := &Builder{
		o: BuilderOptions{Codec: b.Codec(), BaseOffset: b.BaseOffset(), LeaderEpoch: b.PartitionLeaderEpoch(),
			ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(), BaseSequence: b.BaseSequence(),
			Transactional: b.IsTransactional(), Control: b.IsControl(), LogAppendTime: b.IsLogAppendTime()},
		buf: make([]byte, BatchOverhead, len(b)), maxTimestamp: math.MinInt64, baseTimestamp: horizonMs,
	}
	i := 0
	for r, err := range b.Records(UncompressedLimit(len(b))) {
		if err != nil {
			return nil, err
		}
		if i++; !keep[i-1] {
			continue
		}
		if nb.count == 0 && !hasHorizon {
			nb.baseTimestamp = r.Timestamp
		}
		nb.appendAt(int64(r.OffsetDelta), r.Timestamp, r.Key, r.Value, r.Headers)
	}
	out, err := nb.Build()
	if err != nil {
		return nil, fmt.Errorf("rewrite the batch at offset %d: %w", b.BaseOffset(), err)
	}
	binary.BigEndian.PutUint32(out[posLastOffsetDelta:], uint32(b.LastOffsetDelta()))
	if hasHorizon {
		binary.BigEndian.PutUint16(out[posAttributes:], uint16(out.Attributes())|attrDeleteHorizon)
	}
	out.sealCRC()
	return out, nil
}

// Emptied returns the batch's header alone, without records: compaction keeps it for the
// sequence number, the producer epoch or the last offset that it carries.
func (b Batch) Emptied() Batch {
	out := make(Batch, BatchOverhead)
	copy(out, b)
	binary.BigEndian.PutUint32(out[posLength:], BatchOverhead-lengthOverhead)
	binary.BigEndian.PutUint16(out[posAttributes:], uint16(b.Attributes())&(attrLogAppendTime|attrTransactional|attrControl))
	noTimestamp := kafka.NoTimestamp
	binary.BigEndian.PutUint64(out[posBaseTimestamp:], uint64(noTimestamp))
	binary.BigEndian.PutUint32(out[posCount:], 0)
	out.sealCRC()
	return out
}
