package sim

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage"
)

// tableTopic is compacted: its one writer gives each of tableKeys keys ever higher values, or a
// tombstone.
const (
	tableTopic = "table"
	tableKeys  = 12
)

// TableHistory checks a compacted log: what it says of a key is what was last acknowledged, or
// what was written since, and never an older value.
type TableHistory struct {
	acked map[uint64]uint64 // newest acknowledged value by key
	sent  map[uint64]uint64 // newest value that may be in the log
	// tombstones are the values that delete their key, newest last.
	tombstones map[uint64][]uint64
}

// NewTableHistory returns the history of an empty table.
func NewTableHistory() *TableHistory {
	return &TableHistory{acked: map[uint64]uint64{}, sent: map[uint64]uint64{}, tombstones: map[uint64][]uint64{}}
}

// Sent notes a write that reaches the broker. Values ascend.
func (h *TableHistory) Sent(key, value uint64, tombstone bool) {
	h.sent[key] = value
	if tombstone {
		h.tombstones[key] = append(h.tombstones[key], value)
	}
}

// Acked notes that it was acknowledged.
func (h *TableHistory) Acked(key, value uint64) { h.acked[key] = max(h.acked[key], value) }

// PowerLost lets the table fall back.
func (h *TableHistory) PowerLost() { clear(h.acked) }

// TableRecord is a record of the table as it was found. Value is that of the writer, or 0 of a
// tombstone, which says no value.
type TableRecord struct {
	Offset     int64
	Key, Value uint64
}

// Audit compares the whole log with the history.
func (h *TableHistory) Audit(records []TableRecord) error {
	last, offset := map[uint64]uint64{}, int64(-1)
	for _, r := range records {
		if r.Offset <= offset {
			return fmt.Errorf("the table has offset %d after %d", r.Offset, offset)
		}
		offset = r.Offset
		if r.Value != 0 && r.Value < last[r.Key] {
			return fmt.Errorf("key %d has value %d at offset %d, after %d", r.Key, r.Value, r.Offset, last[r.Key])
		}
		if r.Value > h.sent[r.Key] {
			return fmt.Errorf("key %d has value %d at offset %d, which nobody sent", r.Key, r.Value, r.Offset)
		}
		last[r.Key] = r.Value
	}
	for _, key := range slices.Sorted(maps.Keys(h.acked)) {
		acked, found := h.acked[key], last[key]
		switch {
		case found >= acked:
		case found != 0:
			return fmt.Errorf("key %d has value %d, but %d was acknowledged", key, found, acked)
		case !h.deletedSince(key, acked):
			return fmt.Errorf("key %d is gone, but its value %d was acknowledged", key, acked)
		}
	}
	return nil
}

// deletedSince reports whether acked, or something that may have come after it, is a tombstone.
func (h *TableHistory) deletedSince(key, acked uint64) bool {
	n := len(h.tombstones[key])
	return n > 0 && h.tombstones[key][n-1] >= acked
}

// tableWriter writes the table, one record at a time, and forgets what fails.
type tableWriter struct {
	w       *World
	conn    *connection
	next    uint64
	waiting bool
}

func (w *World) addTableWriter() {
	t := &tableWriter{w: w}
	t.conn = w.connect("table-writer", false, func() { t.plan(w.Between(10, 300)) })
	w.tableWriter = t
	t.plan(w.Between(0, 300))
}

func (t *tableWriter) plan(delayMs int64) {
	if t.waiting {
		return
	}
	t.waiting = true
	t.w.After(delayMs, func() {
		t.waiting = false
		if t.conn.inFlight == 0 && !t.w.healing {
			t.write()
		}
	})
}

func (t *tableWriter) write() {
	w := t.w
	t.next++
	key, value, tombstone := uint64(w.random.IntN(tableKeys)), t.next, w.OneIn(6)
	b := record.NewBuilder(record.NoProducer(record.CodecNone))
	k := binary.BigEndian.AppendUint64(nil, key)
	v := binary.BigEndian.AppendUint64(nil, value)
	if tombstone {
		v = nil
	} else {
		v = append(v, make([]byte, w.random.IntN(80))...)
	}
	b.Append(w.nowMs, k, v, nil)
	data := built(b)
	t.conn.send("write", func(p *process, answer func()) {
		tp := kafka.TopicPartition{Topic: tableTopic}
		r, err := p.replicas.Lookup(tp)
		if err != nil {
			answer()
			return
		}
		w.table.Sent(key, value, tombstone)
		leaderEpoch := r.Assignment().LeaderEpoch
		result, err := r.Append(partition.AppendRequest{
			AppendRequest: storage.AppendRequest{Records: data, Origin: storage.OriginClient, NowMs: p.nowMs(), ProduceVersion: produceVersion},
			RequiredAcks:  -1, CurrentLeaderEpoch: kafka.NoLeaderEpoch,
		})
		if err != nil {
			answer()
			return
		}
		p.replicas.WhenCommitted(tp, leaderEpoch, result.LastOffset+1, func(err error) {
			if err == nil && p.alive() {
				w.table.Acked(key, value)
				w.stats.TableWrites++
			}
			answer()
		})
	}, func() { t.plan(w.Between(1, 80)) })
}

// tableRecords decodes the log of the table.
func tableRecords(data []byte) (records []TableRecord, err error) {
	for len(data) > 0 {
		b, rest, err := record.Next(data)
		if err != nil {
			return nil, err
		}
		data = rest
		for rec, err := range b.Records(record.UncompressedLimit(b.SizeBytes())) {
			if err != nil {
				return nil, err
			}
			r := TableRecord{Offset: b.BaseOffset() + int64(rec.OffsetDelta)}
			if len(rec.Key) != 8 || rec.Value != nil && len(rec.Value) < 8 {
				return nil, fmt.Errorf("offset %d: a key of %d bytes, a value of %d", r.Offset, len(rec.Key), len(rec.Value))
			}
			if r.Key = binary.BigEndian.Uint64(rec.Key); rec.Value != nil {
				r.Value = binary.BigEndian.Uint64(rec.Value)
			}
			records = append(records, r)
		}
	}
	return records, nil
}

// compact cleans the dirtiest log, as the cleaner's goroutine does.
func (p *process) compact() error {
	found, err := p.storage.CleanDirtiest(storage.CleanOptions{
		NowMs: p.nowMs(), MapBytes: p.node.w.Between(200, 4000), MapLoadFactor: 0.9, BufferBytes: 4096, Throttle: func(int) error { return nil },
	})
	if found {
		p.node.w.stats.Compactions++
		p.node.w.Note("compaction: %v", err)
	}
	return err
}
