package sim

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/replica"
	"github.com/moldau/moldau/internal/storage/segment"
)

// copyReader is a consumer of committed data without a group: it leaves out what the broker says
// is aborted, as consumers do, and tells the checker what remains.
type copyReader struct {
	w        *World
	conn     *connection
	tp       kafka.TopicPartition
	history  *CopyHistory
	position int64
	buffers  replica.Buffers
	waiting  bool
}

func (w *World) addCopyReader(partition int32) {
	r := &copyReader{w: w, tp: kafka.TopicPartition{Topic: outputTopic, Partition: partition}, history: w.copies[partition]}
	r.conn = w.connect(fmt.Sprintf("copy-reader-%d", partition), false, func() { r.plan(w.between(10, 300)) })
	w.copyReaders = append(w.copyReaders, r)
	r.plan(w.between(0, 300))
}

func (r *copyReader) plan(delayMs int64) {
	if r.waiting {
		return
	}
	r.waiting = true
	r.w.after(delayMs, func() {
		r.waiting = false
		if r.conn.inFlight == 0 && !r.w.copiesVoid {
			r.fetch()
		}
	})
}

func (r *copyReader) fetch() {
	w := r.w
	r.conn.send("fetch", func(p *process, answer func()) {
		result := p.replicas.Fetch(context.Background(), &replica.FetchRequest{MinBytes: 1, MaxBytes: int(w.between(1, 3000)), Isolation: kafka.ReadCommitted, Partitions: []replica.FetchPartition{{
			TopicPartition: r.tp, Offset: r.position, MaxBytes: 1 << 20, CurrentLeaderEpoch: kafka.NoLeaderEpoch, LastFetchedEpoch: kafka.NoLeaderEpoch,
		}}}, &r.buffers)[0]
		if p.alive() {
			switch code := kafka.CodeOf(result.Err); {
			case code == kafka.ErrNone:
				w.check(r.take(result))
			case code == kafka.ErrKafkaStorageError && p.disk.Failed, code == kafka.ErrNotLeaderOrFollower:
			default:
				w.fail("%s: fetch of %s at %d: %w", r.conn.name, r.tp, r.position, result.Err)
			}
		}
		r.buffers.Release()
		answer()
	}, func() { r.plan(w.between(1, 200)) })
}

// take reads the answer as a consumer does.
func (r *copyReader) take(result replica.FetchResult) error {
	if r.w.options.careless {
		result.Aborted = nil
	}
	copies, next, err := CommittedCopies(result.Records, result.Aborted, r.position, result.LastStableOffset)
	if err != nil {
		return fmt.Errorf("%s at %d: %w", r.tp, r.position, err)
	}
	r.position = next
	r.w.stats.Copies += len(copies)
	return r.history.Read(copies)
}

// CommittedCopies returns what data from offset from on holds of committed transactions. The list
// of aborted ones must be sorted by first offset, since consumers go through it once.
func CommittedCopies(data []byte, aborted []segment.AbortedTransaction, from, lastStable int64) (copies []Copy, next int64, err error) {
	for i := 1; i < len(aborted); i++ {
		if aborted[i].FirstOffset < aborted[i-1].FirstOffset {
			return nil, from, fmt.Errorf("the aborted transactions are out of order: %v", aborted)
		}
	}
	next = from
	skipped := map[int64]bool{} // producers inside an aborted transaction
	for len(data) > 0 {
		b, rest, err := record.Next(data)
		if err == nil {
			err = b.CheckCRC()
		}
		if err != nil {
			return nil, from, err
		}
		data = rest
		if b.LastOffset() >= lastStable {
			return nil, from, fmt.Errorf("offset %d is read, at or above the last stable offset %d", b.LastOffset(), lastStable)
		}
		for len(aborted) > 0 && aborted[0].FirstOffset <= b.LastOffset() {
			skipped[aborted[0].ProducerID] = true
			aborted = aborted[1:]
		}
		if b.IsControl() {
			for rec, err := range b.Records(record.UncompressedLimit(b.SizeBytes())) {
				if err != nil {
					return nil, from, err
				}
				if kind, err := record.ParseControlKey(rec.Key); err == nil && kind == record.ControlAbort {
					delete(skipped, b.ProducerID())
				}
			}
		} else if !skipped[b.ProducerID()] {
			for rec, err := range b.Records(record.UncompressedLimit(b.SizeBytes())) {
				if err != nil {
					return nil, from, err
				}
				if b.BaseOffset()+int64(rec.OffsetDelta) < from {
					continue
				}
				c, err := decodeCopy(rec.Value)
				if err != nil {
					return nil, from, err
				}
				copies = append(copies, c)
			}
		}
		next = max(next, b.NextOffset())
	}
	return copies, next, nil
}

func decodeCopy(value []byte) (Copy, error) {
	id, err := decodeID(value)
	if err != nil || len(value) != 24 {
		return Copy{}, fmt.Errorf("a copy of %d bytes: %w", len(value), err)
	}
	return Copy{ID: id, Transaction: int64(binary.BigEndian.Uint64(value[16:]))}, nil
}
