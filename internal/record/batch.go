package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// BatchOverhead is the size of a batch's header: what precedes the records.
const BatchOverhead = 61

// Magic is the only record format version that is served; Kafka 4 dropped 0 and 1.
const Magic = 2

// lengthOverhead is what the batch length field does not count: base offset and itself.
const lengthOverhead = 12

// Positions of the header fields.
const (
	posBaseOffset           = 0
	posLength               = 8
	posPartitionLeaderEpoch = 12
	posMagic                = 16
	posCRC                  = 17
	posAttributes           = 21
	posLastOffsetDelta      = 23
	posBaseTimestamp        = 27
	posMaxTimestamp         = 35
	posProducerID           = 43
	posProducerEpoch        = 51
	posBaseSequence         = 53
	posCount                = 57
)

// Attribute bits.
const (
	attrCodecMask     = 0x07
	attrLogAppendTime = 0x08
	attrTransactional = 0x10
	attrControl       = 0x20
	attrDeleteHorizon = 0x40
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrIncomplete says that the data ends before the batch does: a torn tail on disk, or a
// batch cut off by a size limit.
var ErrIncomplete = errors.New("incomplete record batch")

// CorruptError says that bytes are not a batch of format 2, or not the one that was written.
type CorruptError struct {
	Field    string // what is wrong: "magic", "length", "crc", …
	Expected int64
	Got      int64
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("corrupt record batch: %s is %d, expected %d", e.Field, e.Got, e.Expected)
}

// Batch is a view of exactly one batch, header and records. Methods other than Next's
// checks trust that it came from Next: its length is at least BatchOverhead and agrees with
// its length field.
type Batch []byte

// Next splits the first batch off data. The error is ErrIncomplete for a batch that is cut
// off, a *CorruptError if the header cannot be one of a format 2 batch. Neither the CRC nor
// the records are checked. Empty data is ErrIncomplete.
func Next(data []byte) (b Batch, rest []byte, err error) {
	if len(data) < lengthOverhead {
		return nil, data, ErrIncomplete
	}
	size, err := SizeOf(data)
	if err != nil {
		return nil, data, err
	}
	// The magic byte is checked as soon as it is there, so that an old format is told
	// apart from a torn batch even when its length field means something else.
	if len(data) > posMagic && data[posMagic] != Magic {
		return nil, data, &CorruptError{Field: "magic", Expected: Magic, Got: int64(int8(data[posMagic]))}
	}
	if len(data) < size {
		return nil, data, ErrIncomplete
	}
	return Batch(data[:size:size]), data[size:], nil
}

// SizeOf reads from a header of at least 12 bytes how many bytes the batch has in all.
func SizeOf(header []byte) (int, error) {
	length := int32(binary.BigEndian.Uint32(header[posLength:]))
	if length < BatchOverhead-lengthOverhead || length > math.MaxInt32-lengthOverhead {
		return 0, &CorruptError{Field: "length", Expected: BatchOverhead - lengthOverhead, Got: int64(length)}
	}
	return int(length) + lengthOverhead, nil
}

// BaseOffset is the offset of the first record that the batch was written with.
func (b Batch) BaseOffset() int64 { return int64(binary.BigEndian.Uint64(b[posBaseOffset:])) }

// SizeBytes is the size of the whole batch.
func (b Batch) SizeBytes() int { return len(b) }

// PartitionLeaderEpoch is the epoch of the leader that appended the batch. It is outside
// the CRC, since the leader overwrites it.
func (b Batch) PartitionLeaderEpoch() int32 {
	return int32(binary.BigEndian.Uint32(b[posPartitionLeaderEpoch:]))
}

// Magic is the format version.
func (b Batch) Magic() int8 { return int8(b[posMagic]) }

// CRC is the stored CRC-32C of everything from the attributes to the end.
func (b Batch) CRC() uint32 { return binary.BigEndian.Uint32(b[posCRC:]) }

// Attributes are the bits of codec, timestamp type, transaction, control and delete horizon.
func (b Batch) Attributes() int16 { return int16(binary.BigEndian.Uint16(b[posAttributes:])) }

// Codec is the compression of the records; it may be one that does not exist.
func (b Batch) Codec() Codec { return Codec(b.Attributes() & attrCodecMask) }

// IsLogAppendTime reports whether the broker's clock at append (MaxTimestamp) is the
// timestamp of every record.
func (b Batch) IsLogAppendTime() bool { return b.Attributes()&attrLogAppendTime != 0 }

// IsTransactional reports whether the batch belongs to a transaction.
func (b Batch) IsTransactional() bool { return b.Attributes()&attrTransactional != 0 }

// IsControl reports whether the batch holds control records, which consumers never see.
func (b Batch) IsControl() bool { return b.Attributes()&attrControl != 0 }

// HasDeleteHorizon reports whether BaseTimestamp holds the time from which compaction may
// drop the batch's tombstones and markers.
func (b Batch) HasDeleteHorizon() bool { return b.Attributes()&attrDeleteHorizon != 0 }

// LastOffsetDelta is the last record's offset relative to BaseOffset.
func (b Batch) LastOffsetDelta() int32 {
	return int32(binary.BigEndian.Uint32(b[posLastOffsetDelta:]))
}

// LastOffset is the offset of the last record that the batch was written with.
func (b Batch) LastOffset() int64 { return b.BaseOffset() + int64(b.LastOffsetDelta()) }

// NextOffset is the offset that follows the batch.
func (b Batch) NextOffset() int64 { return b.LastOffset() + 1 }

// BaseTimestamp is what the records' timestamp deltas are relative to.
func (b Batch) BaseTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[posBaseTimestamp:])) }

// MaxTimestamp is the largest timestamp of the records.
func (b Batch) MaxTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[posMaxTimestamp:])) }

// ProducerID is the idempotent producer that wrote the batch, or kafka.NoProducerID.
func (b Batch) ProducerID() int64 { return int64(binary.BigEndian.Uint64(b[posProducerID:])) }

// ProducerEpoch is the producer's epoch.
func (b Batch) ProducerEpoch() int16 { return int16(binary.BigEndian.Uint16(b[posProducerEpoch:])) }

// HasProducerID reports whether an idempotent producer wrote the batch.
func (b Batch) HasProducerID() bool { return b.ProducerID() > -1 }

// BaseSequence is the producer's sequence number of the first record.
func (b Batch) BaseSequence() int32 { return int32(binary.BigEndian.Uint32(b[posBaseSequence:])) }

// LastSequence is the sequence number of the last record; numbers wrap from the largest
// int32 to 0. It is -1 where the batch has none.
func (b Batch) LastSequence() int32 {
	base := b.BaseSequence()
	if base < 0 {
		return base
	}
	return AddSequence(base, b.LastOffsetDelta())
}

// AddSequence adds n to a sequence number, wrapping as Kafka does.
func AddSequence(sequence, n int32) int32 {
	return int32((int64(sequence) + int64(n)) & math.MaxInt32)
}

// Count is the number of records.
func (b Batch) Count() int32 { return int32(binary.BigEndian.Uint32(b[posCount:])) }

// SetBaseOffset gives the batch its place in the log. The CRC does not cover it.
func (b Batch) SetBaseOffset(offset int64) {
	binary.BigEndian.PutUint64(b[posBaseOffset:], uint64(offset))
}

// SetPartitionLeaderEpoch stamps the epoch of the appending leader. The CRC does not cover it.
func (b Batch) SetPartitionLeaderEpoch(epoch int32) {
	binary.BigEndian.PutUint32(b[posPartitionLeaderEpoch:], uint32(epoch))
}

// StampLogAppendTime makes nowMs the timestamp of every record and renews the CRC.
func (b Batch) StampLogAppendTime(nowMs int64) {
	binary.BigEndian.PutUint16(b[posAttributes:], uint16(b.Attributes())|attrLogAppendTime)
	binary.BigEndian.PutUint64(b[posMaxTimestamp:], uint64(nowMs))
	b.sealCRC()
}

// SetMaxTimestamp stores the largest timestamp found by Validate and renews the CRC, unless
// the producer's value was right already, which spares a second pass over the bytes.
func (b Batch) SetMaxTimestamp(timestampMs int64) {
	if b.MaxTimestamp() == timestampMs {
		return
	}
	binary.BigEndian.PutUint64(b[posMaxTimestamp:], uint64(timestampMs))
	b.sealCRC()
}

// CheckCRC returns a *CorruptError unless the stored CRC is that of the bytes.
func (b Batch) CheckCRC() error {
	if got, want := crc32.Checksum(b[posAttributes:], castagnoli), b.CRC(); got != want {
		return &CorruptError{Field: "crc", Expected: int64(want), Got: int64(got)}
	}
	return nil
}

func (b Batch) sealCRC() {
	binary.BigEndian.PutUint32(b[posCRC:], crc32.Checksum(b[posAttributes:], castagnoli))
}

// body is the records, still compressed where the codec says so.
func (b Batch) body() []byte { return b[BatchOverhead:] }
