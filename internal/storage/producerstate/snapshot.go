package producerstate

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"iter"

	"github.com/moldau/moldau/internal/kafka"
)

// A snapshot file is Kafka's: version, CRC-32C of what follows, and an entry per producer
// with its last batch only. Kafka's reader covers the whole file with the CRC but stops
// parsing after the entries, so the older batches of the windows follow in a trailer that it
// skips. Without them a retry of the last but one batch after a restart would be refused as
// out of order.
const (
	snapshotVersion    = 1
	snapshotHeaderSize = 2 + 4 + 4
	snapshotEntrySize  = 8 + 2 + 4 + 8 + 4 + 8 + 4 + 8

	trailerMagic      = 0x4d4c4457 // "MLDW"
	trailerHeaderSize = 4 + 4
	trailerEntrySize  = 8 + 1
	trailerBatchSize  = 4 + 4 + 8 + 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// SnapshotError says that bytes are not a snapshot, or not the one that was written. The
// state can be built again from an older snapshot and the log.
type SnapshotError struct {
	Field         string
	Position      int
	Expected, Got int64
}

func (e *SnapshotError) Error() string {
	return fmt.Sprintf("corrupt producer snapshot: %s at byte %d is %d, expected %d", e.Field, e.Position, e.Got, e.Expected)
}

// EncodeSnapshot returns the content of a snapshot file.
func (m *Manager) EncodeSnapshot() []byte {
	entries := m.sorted()
	size, windows := snapshotHeaderSize+len(entries)*snapshotEntrySize, 0
	for _, e := range entries {
		if e.count > 1 {
			size += trailerEntrySize + int(e.count-1)*trailerBatchSize
			windows++
		}
	}
	if windows > 0 {
		size += trailerHeaderSize
	}
	out := make([]byte, snapshotHeaderSize, size)
	binary.BigEndian.PutUint16(out, snapshotVersion)
	binary.BigEndian.PutUint32(out[6:], uint32(len(entries)))
	for _, e := range entries {
		var offsetDelta int32
		if e.count > 0 {
			offsetDelta = e.last().OffsetDelta
		}
		out = binary.BigEndian.AppendUint64(out, uint64(e.ProducerID))
		out = binary.BigEndian.AppendUint16(out, uint16(e.Epoch))
		out = binary.BigEndian.AppendUint32(out, uint32(e.LastSequence()))
		out = binary.BigEndian.AppendUint64(out, uint64(e.LastOffset()))
		out = binary.BigEndian.AppendUint32(out, uint32(offsetDelta))
		out = binary.BigEndian.AppendUint64(out, uint64(e.LastTimestampMs))
		out = binary.BigEndian.AppendUint32(out, uint32(e.CoordinatorEpoch))
		out = binary.BigEndian.AppendUint64(out, uint64(e.TxnFirstOffset))
	}
	if windows > 0 {
		out = appendTrailer(out, entries, windows)
	}
	binary.BigEndian.PutUint32(out[2:], crc32.Checksum(out[6:], castagnoli))
	return out
}

func appendTrailer(out []byte, entries []*Entry, windows int) []byte {
	out = binary.BigEndian.AppendUint32(out, trailerMagic)
	out = binary.BigEndian.AppendUint32(out, uint32(windows))
	for _, e := range entries {
		if e.count < 2 {
			continue
		}
		out = binary.BigEndian.AppendUint64(out, uint64(e.ProducerID))
		out = append(out, e.count-1)
		for j := range int(e.count) - 1 {
			b := e.at(j)
			out = binary.BigEndian.AppendUint32(out, uint32(b.LastSequence))
			out = binary.BigEndian.AppendUint32(out, uint32(b.OffsetDelta))
			out = binary.BigEndian.AppendUint64(out, uint64(b.LastOffset))
			out = binary.BigEndian.AppendUint64(out, uint64(b.TimestampMs))
		}
	}
	return out
}

// LoadSnapshot replaces the state by that of a snapshot file, without the producers that
// have expired. After an error, which is a *SnapshotError, the state is unchanged.
func (m *Manager) LoadSnapshot(data []byte, nowMs, expirationMs int64) error {
	loaded, err := decodeSnapshot(data)
	if err != nil {
		return err
	}
	loaded.Expire(nowMs, expirationMs)
	loaded.verifying.last = m.verifying.last
	*m = loaded
	return nil
}

// DecodeSnapshot returns the entries of a snapshot file, sorted by producer id.
func DecodeSnapshot(data []byte) ([]Entry, error) {
	m, err := decodeSnapshot(data)
	if err != nil {
		return nil, err
	}
	return m.Entries(), nil
}

// SnapshotEntries returns the entries of a snapshot file as they stand in it: in the file's order,
// each with its last batch only, which is all that Kafka's tools know of.
func SnapshotEntries(data []byte) (iter.Seq[Entry], error) {
	if len(data) < snapshotHeaderSize {
		return nil, &SnapshotError{"size", 0, snapshotHeaderSize, int64(len(data))}
	}
	if v := binary.BigEndian.Uint16(data); v != snapshotVersion {
		return nil, &SnapshotError{"version", 0, snapshotVersion, int64(v)}
	}
	if got, want := crc32.Checksum(data[6:], castagnoli), binary.BigEndian.Uint32(data[2:]); got != want {
		return nil, &SnapshotError{"crc", 2, int64(want), int64(got)}
	}
	count, rest := int64(binary.BigEndian.Uint32(data[6:])), data[snapshotHeaderSize:]
	if fits := int64(len(rest) / snapshotEntrySize); count > fits {
		return nil, &SnapshotError{"entry count", 6, fits, count}
	}
	return func(yield func(Entry) bool) {
		for i := range count {
			if !yield(decodeEntry(rest[i*snapshotEntrySize:])) {
				return
			}
		}
	}, nil
}

func decodeSnapshot(data []byte) (Manager, error) {
	entries, err := SnapshotEntries(data)
	if err != nil {
		return Manager{}, err
	}
	var m Manager
	count := int(binary.BigEndian.Uint32(data[6:]))
	for e := range entries {
		m.put(&e)
	}
	m.loadTrailer(data[snapshotHeaderSize+count*snapshotEntrySize:])
	return m, nil
}

func decodeEntry(data []byte) Entry {
	e := newEntry(int64(binary.BigEndian.Uint64(data)))
	e.Epoch = int16(binary.BigEndian.Uint16(data[8:]))
	lastOffset := int64(binary.BigEndian.Uint64(data[14:]))
	e.LastTimestampMs = int64(binary.BigEndian.Uint64(data[26:]))
	e.CoordinatorEpoch = int32(binary.BigEndian.Uint32(data[34:]))
	if offset := int64(binary.BigEndian.Uint64(data[38:])); offset >= 0 {
		e.TxnFirstOffset = offset
	}
	if lastOffset > kafka.NoOffset {
		e.add(Batch{
			LastSequence: int32(binary.BigEndian.Uint32(data[10:])), OffsetDelta: int32(binary.BigEndian.Uint32(data[22:])),
			LastOffset: lastOffset, TimestampMs: e.LastTimestampMs,
		})
	}
	return e
}

// loadTrailer puts the older batches in front of the last ones. What it cannot read it
// leaves out: Kafka may one day write something else there.
func (m *Manager) loadTrailer(data []byte) {
	if len(data) < trailerHeaderSize || binary.BigEndian.Uint32(data) != trailerMagic {
		return
	}
	count, rest := binary.BigEndian.Uint32(data[4:]), data[trailerHeaderSize:]
	for ; count > 0 && len(rest) >= trailerEntrySize; count-- {
		e, batches := m.producers[int64(binary.BigEndian.Uint64(rest))], int(rest[8])
		rest = rest[trailerEntrySize:]
		if batches >= WindowSize || len(rest) < batches*trailerBatchSize {
			return
		}
		if e != nil && e.count == 1 {
			last := e.last()
			e.count, e.oldest = 0, 0
			for i := range batches {
				b := rest[i*trailerBatchSize:]
				e.add(Batch{
					LastSequence: int32(binary.BigEndian.Uint32(b)), OffsetDelta: int32(binary.BigEndian.Uint32(b[4:])),
					LastOffset: int64(binary.BigEndian.Uint64(b[8:])), TimestampMs: int64(binary.BigEndian.Uint64(b[16:])),
				})
			}
			e.add(last)
		}
		rest = rest[batches*trailerBatchSize:]
	}
}
