package cluster

import (
	"fmt"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/sim"
)

// history is what was promised and seen of one partition of one topic.
type history struct {
	name  string
	topic string
	// committed are the batches that some replica had below its high watermark, by their first offset.
	committed map[int64]committedBatch
	// offsets are where committed records of producers are, and by which last number each producer is in order.
	offsets    map[sim.RecordID]int64
	idempotent map[int]bool
	wasSent    map[sim.RecordID]bool
	promised   map[sim.RecordID]int64 // acknowledged by all in-sync replicas
	leaders    map[int32]int32        // by leader epoch, as the metadata has them
	writers    map[int32]int32        // by leader epoch, who has appended
	end        int64                  // after the last committed batch that was seen
	// limit is where the promises end: beyond the fault budget, what was not flushed everywhere.
	limit int64
}

type committedBatch struct {
	next  int64
	crc   uint32
	epoch int32
	node  int32 // where it was first seen
}

func newHistory(name, topic string) *history {
	return &history{name: name, topic: topic, committed: map[int64]committedBatch{}, offsets: map[sim.RecordID]int64{}, idempotent: map[int]bool{}, wasSent: map[sim.RecordID]bool{},
		promised: map[sim.RecordID]int64{}, leaders: map[int32]int32{}, writers: map[int32]int32{}, limit: noLimit}
}

// sent notes records that reach a leader and may be in the log from now on.
func (h *history) sent(ids []sim.RecordID, idempotent bool) {
	for _, id := range ids {
		h.wasSent[id] = true
		h.idempotent[id.Producer] = idempotent
	}
}

// led notes whom the metadata has as leader of an epoch.
func (h *history) led(epoch, leader int32) error {
	if leader == kafka.NoLeader {
		return nil
	}
	if other, known := h.leaders[epoch]; known && other != leader {
		return fmt.Errorf("%s: nodes %d and %d lead in epoch %d", h.name, other, leader, epoch)
	}
	h.leaders[epoch] = leader
	return nil
}

// appended notes who has appended as leader of an epoch.
func (h *history) appended(epoch, node int32) error {
	if other, known := h.writers[epoch]; known && other != node {
		return fmt.Errorf("%s: nodes %d and %d append in epoch %d", h.name, other, node, epoch)
	}
	h.writers[epoch] = node
	return nil
}

// acked notes that records were acknowledged as with acks=all.
func (h *history) acked(base int64, ids []sim.RecordID) error {
	for i, id := range ids {
		if err := h.place(id, base+int64(i)); err != nil {
			return fmt.Errorf("acknowledged: %w", err)
		}
		if base+int64(i) < h.limit {
			h.promised[id] = base + int64(i)
		}
	}
	return nil
}

// place notes where a committed record is.
func (h *history) place(id sim.RecordID, offset int64) error {
	if offset >= h.limit {
		return nil
	}
	if !h.wasSent[id] {
		return fmt.Errorf("%s: record %s at offset %d was never sent", h.name, id, offset)
	}
	if before, known := h.offsets[id]; known && before != offset && before < h.limit {
		return fmt.Errorf("%s: record %s is at offset %d and at %d", h.name, id, before, offset)
	}
	h.offsets[id] = offset
	return nil
}

// found notes batches that a node has below its high watermark, and returns the offset behind them.
func (h *history) found(data []byte, from int64, node int32) (next int64, err error) {
	next = from
	for len(data) > 0 {
		b, rest, err := record.Next(data)
		if err != nil {
			return next, fmt.Errorf("node %d: %s at %d: %w", node, h.name, next, err)
		}
		if err := b.CheckCRC(); err != nil {
			return next, fmt.Errorf("node %d: %s at %d: %w", node, h.name, next, err)
		}
		data = rest
		if b.BaseOffset() > next {
			return next, fmt.Errorf("node %d: %s has a hole from %d to %d", node, h.name, next, b.BaseOffset())
		}
		if err := h.foundBatch(b, node); err != nil {
			return next, err
		}
		next = b.NextOffset()
	}
	return next, nil
}

func (h *history) foundBatch(b record.Batch, node int32) error {
	base := b.BaseOffset()
	if base >= h.limit {
		return nil
	}
	now := committedBatch{b.NextOffset(), b.CRC(), b.PartitionLeaderEpoch(), node}
	if before, known := h.committed[base]; known {
		if before.next != now.next || before.crc != now.crc || before.epoch != now.epoch {
			return fmt.Errorf("%s: at offset %d node %d has up to %d with CRC %x of epoch %d, but on node %d up to %d with CRC %x of epoch %d was committed",
				h.name, base, node, now.next, now.crc, now.epoch, before.node, before.next, before.crc, before.epoch)
		}
		return nil
	}
	h.committed[base] = now
	h.end = max(h.end, now.next)
	if b.IsControl() || !hasIDs(h.topic) {
		return nil
	}
	for rec, err := range b.Records(record.UncompressedLimit(b.SizeBytes())) {
		if err != nil {
			return err
		}
		id, err := sim.DecodeID(rec.Value)
		if err == nil {
			err = h.place(id, base+int64(rec.OffsetDelta))
		}
		if err != nil {
			return fmt.Errorf("on node %d: %w", node, err)
		}
	}
	return nil
}

// read notes what a consumer read from offset from on, and returns where it goes on and the last epoch.
func (h *history) read(from int64, data []byte, high int64) (next int64, epoch int32, err error) {
	epoch = kafka.NoLeaderEpoch
	if next, err = h.found(data, from, clientsID); err != nil {
		return next, epoch, fmt.Errorf("a consumer's read from %d: %w", from, err)
	}
	if next > high {
		return next, epoch, fmt.Errorf("%s: a consumer reads up to %d, above the high watermark %d", h.name, next, high)
	}
	for len(data) > 0 {
		b, rest, err := record.Next(data)
		if err != nil {
			return next, epoch, err
		}
		epoch, data = b.PartitionLeaderEpoch(), rest
	}
	return next, epoch, nil
}

// whole checks a replica in the end: it has everything that was promised, and what is committed in order.
func (h *history) whole(node int32, start int64, data []byte) error {
	there := map[sim.RecordID]int64{}
	last := map[int]int{}
	for len(data) > 0 {
		b, rest, err := record.Next(data)
		if err != nil {
			return err
		}
		data = rest
		if b.IsControl() {
			continue
		}
		for rec, err := range b.Records(record.UncompressedLimit(b.SizeBytes())) {
			if err != nil {
				return err
			}
			id, err := sim.DecodeID(rec.Value)
			if err != nil {
				return err
			}
			offset := b.BaseOffset() + int64(rec.OffsetDelta)
			if before, twice := there[id]; twice && offset < h.limit {
				return fmt.Errorf("%s on node %d: record %s is at %d and at %d", h.name, node, id, before, offset)
			}
			if before, some := last[id.Producer]; some && h.idempotent[id.Producer] && before >= id.Number && offset < h.limit {
				return fmt.Errorf("%s on node %d: record %s at %d comes after number %d", h.name, node, id, offset, before)
			}
			there[id], last[id.Producer] = offset, id.Number
		}
	}
	for id, offset := range h.promised {
		if at, ok := there[id]; offset >= start && offset < h.limit && (!ok || at != offset) {
			return fmt.Errorf("%s on node %d: record %s was acknowledged at offset %d, and is gone", h.name, node, id, offset)
		}
	}
	return nil
}

// hasIDs tells the topics whose records name their producers.
func hasIDs(topic string) bool {
	return topic == "orders" || topic == "clicks" || topic == temporaryTopic || topic == sim.InputTopic
}
