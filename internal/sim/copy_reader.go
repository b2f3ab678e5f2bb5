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
	*Copies
	line     Line
	name     string
	tp       kafka.TopicPartition
	history  *CopyHistory
	position int64
	buffers  replica.Buffers
}

// fetchedCopies is an answer to a reader, as it leaves the broker.
type fetchedCopies struct {
	records          []byte
	aborted          []segment.AbortedTransaction
	lastStableOffset int64
}

func (c *Copies) addReader(partition int32) {
	name := fmt.Sprintf("copy-reader-%d", partition)
	r := &copyReader{Copies: c, line: c.NewLine(name), name: name, tp: kafka.TopicPartition{Topic: OutputTopic, Partition: partition}, history: c.histories[partition]}
	c.readers = append(c.readers, r)
	c.Loop.After(c.Loop.Between(0, 200), r.step)
}

func (r *copyReader) step() {
	if r.IsVoid() {
		return
	}
	next := func() { r.Loop.After(r.Loop.Between(5, 150), r.step) }
	if !r.line.Reaches(r.tp, next) {
		return
	}
	epoch := r.line.LeaderEpoch(r.tp)
	r.line.Ask(r.tp, "fetch", func(at *Coordinators, answer func(any)) {
		result := at.Replicas.Fetch(context.Background(), &replica.FetchRequest{MinBytes: 1, MaxBytes: int(r.Loop.Between(1, 3000)), Isolation: kafka.ReadCommitted, Partitions: []replica.FetchPartition{{
			TopicPartition: r.tp, Offset: r.position, MaxBytes: 1 << 20, CurrentLeaderEpoch: epoch, LastFetchedEpoch: kafka.NoLeaderEpoch,
		}}}, &r.buffers)[0]
		f := fetchedCopies{append([]byte(nil), result.Records...), result.Aborted, result.LastStableOffset}
		r.buffers.Release()
		if result.Err != nil {
			answer(kafka.CodeOf(result.Err))
			return
		}
		answer(f)
	}, func(answer any) {
		r.Loop.Check(r.take(answer.(fetchedCopies)))
		next()
	}, next)
}

// take reads an answer as a consumer does.
func (r *copyReader) take(f fetchedCopies) error {
	if r.TakeAborted {
		f.aborted = nil
	}
	copies, next, err := committedCopies(f.records, f.aborted, r.position, f.lastStableOffset)
	if err != nil {
		return fmt.Errorf("%s at %d: %w", r.tp, r.position, err)
	}
	r.position = next
	r.Read += len(copies)
	return r.history.Read(copies)
}

// committedCopies returns what data from offset from on holds of committed transactions. The list
// of aborted ones must be sorted by first offset, since consumers go through it once.
func committedCopies(data []byte, aborted []segment.AbortedTransaction, from, lastStable int64) (copies []Copy, next int64, err error) {
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
	id, err := DecodeID(value)
	if err != nil || len(value) != 24 {
		return Copy{}, fmt.Errorf("a copy of %d bytes: %w", len(value), err)
	}
	return Copy{ID: id, Transaction: int64(binary.BigEndian.Uint64(value[16:]))}, nil
}
