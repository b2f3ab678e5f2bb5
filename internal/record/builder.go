package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/moldau/moldau/internal/kafka"
)

// BuilderOptions are what a batch says of itself. Set ProducerID, ProducerEpoch and
// BaseSequence to kafka's No… constants for a batch without a producer, or start from
// NoProducer.
type BuilderOptions struct {
	Codec         Codec
	Level         int // of compression; 0 is the codec's default
	BaseOffset    int64
	LeaderEpoch   int32
	ProducerID    int64
	ProducerEpoch int16
	BaseSequence  int32
	Transactional bool
	Control       bool
	LogAppendTime bool
}

// NoProducer returns the options of a batch that no idempotent producer writes.
func NoProducer(codec Codec) BuilderOptions {
	return BuilderOptions{Codec: codec, LeaderEpoch: kafka.NoLeaderEpoch, ProducerID: kafka.NoProducerID,
		ProducerEpoch: kafka.NoProducerEpoch, BaseSequence: kafka.NoSequence}
}

// Builder makes a batch of records with consecutive offsets. It is not safe for concurrent use.
type Builder struct {
	o             BuilderOptions
	buf           []byte // header space, then records uncompressed
	count         int32
	baseTimestamp int64
	maxTimestamp  int64
}

// NewBuilder returns an empty builder.
func NewBuilder(o BuilderOptions) *Builder {
	return &Builder{o: o, buf: make([]byte, BatchOverhead, 512), maxTimestamp: math.MinInt64}
}

// Append adds a record. Nil key and value are null. The bytes are copied.
func (b *Builder) Append(timestampMs int64, key, value []byte, headers []Header) {
	if b.count == 0 {
		b.baseTimestamp = timestampMs
	}
	b.appendAt(int64(b.count), timestampMs, key, value, headers)
}

// appendAt adds a record at any offset above those that are there.
func (b *Builder) appendAt(offsetDelta, timestampMs int64, key, value []byte, headers []Header) {
	b.maxTimestamp = max(b.maxTimestamp, timestampMs)
	timestampDelta := timestampMs - b.baseTimestamp
	size := 1 + varintSize(timestampDelta) + varintSize(offsetDelta) + bytesSize(key) + bytesSize(value) + varintSize(int64(len(headers)))
	for _, h := range headers {
		size += bytesSize(h.Key) + bytesSize(h.Value)
	}
	b.buf = binary.AppendVarint(b.buf, int64(size))
	b.buf = append(b.buf, 0)
	b.buf = binary.AppendVarint(b.buf, timestampDelta)
	b.buf = binary.AppendVarint(b.buf, offsetDelta)
	b.buf = appendBytes(b.buf, key)
	b.buf = appendBytes(b.buf, value)
	b.buf = binary.AppendVarint(b.buf, int64(len(headers)))
	for _, h := range headers {
		if h.Key == nil { // a header's key is never null
			h.Key = []byte{}
		}
		b.buf = appendBytes(b.buf, h.Key)
		b.buf = appendBytes(b.buf, h.Value)
	}
	b.count++
}

// SizeBytes is what a record without headers takes in an uncompressed batch, as its offsetDelta-th
// one and with the timestamp of the first.
func SizeBytes(offsetDelta int, key, value []byte) int {
	size := 1 + varintSize(0) + varintSize(int64(offsetDelta)) + bytesSize(key) + bytesSize(value) + varintSize(0)
	return varintSize(int64(size)) + size
}

// Count is how many records have been appended.
func (b *Builder) Count() int { return int(b.count) }

// UncompressedBytes is the size of the batch so far, before compression.
func (b *Builder) UncompressedBytes() int { return len(b.buf) }

// Build compresses the records and returns the batch. The builder must not be used again.
func (b *Builder) Build() (Batch, error) {
	if b.count == 0 {
		return nil, errors.New("build record batch: it has no records")
	}
	out := b.buf
	if b.o.Codec != CodecNone {
		var err error
		out = make([]byte, BatchOverhead, BatchOverhead+len(b.buf)/2)
		if out, err = compress(out, b.o.Codec, b.o.Level, b.buf[BatchOverhead:]); err != nil {
			return nil, fmt.Errorf("build record batch: %w", err)
		}
	}
	if len(out) > math.MaxInt32 {
		return nil, fmt.Errorf("build record batch: %d bytes are more than the format can hold", len(out))
	}
	batch := Batch(out)
	b.putHeader(batch)
	return batch, nil
}

func (b *Builder) putHeader(h Batch) {
	attributes := uint16(b.o.Codec)
	if b.o.LogAppendTime {
		attributes |= attrLogAppendTime
	}
	if b.o.Transactional {
		attributes |= attrTransactional
	}
	if b.o.Control {
		attributes |= attrControl
	}
	h.SetBaseOffset(b.o.BaseOffset)
	binary.BigEndian.PutUint32(h[posLength:], uint32(len(h)-lengthOverhead))
	h.SetPartitionLeaderEpoch(b.o.LeaderEpoch)
	h[posMagic] = Magic
	binary.BigEndian.PutUint16(h[posAttributes:], attributes)
	binary.BigEndian.PutUint32(h[posLastOffsetDelta:], uint32(b.count-1))
	binary.BigEndian.PutUint64(h[posBaseTimestamp:], uint64(b.baseTimestamp))
	binary.BigEndian.PutUint64(h[posMaxTimestamp:], uint64(b.maxTimestamp))
	binary.BigEndian.PutUint64(h[posProducerID:], uint64(b.o.ProducerID))
	binary.BigEndian.PutUint16(h[posProducerEpoch:], uint16(b.o.ProducerEpoch))
	binary.BigEndian.PutUint32(h[posBaseSequence:], uint32(b.o.BaseSequence))
	binary.BigEndian.PutUint32(h[posCount:], uint32(b.count))
	h.sealCRC()
}

// Recompress returns the same batch with its records under another codec, as a topic's
// compression.type asks for. Producer, epoch, sequence and timestamps stay.
func Recompress(b Batch, codec Codec, level int) (Batch, error) {
	nb := NewBuilder(BuilderOptions{Codec: codec, Level: level, BaseOffset: b.BaseOffset(), LeaderEpoch: b.PartitionLeaderEpoch(),
		ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(), BaseSequence: b.BaseSequence(),
		Transactional: b.IsTransactional(), Control: b.IsControl(), LogAppendTime: b.IsLogAppendTime()})
	nb.buf = slices.Grow(nb.buf, len(b)) // the least it will need
	for r, err := range b.Records(UncompressedLimit(len(b))) {
		if err != nil {
			return nil, err
		}
		if int(r.OffsetDelta) != nb.Count() {
			return nil, fmt.Errorf("recompress batch at offset %d: offset delta %d follows %d records", b.BaseOffset(), r.OffsetDelta, nb.Count())
		}
		nb.Append(r.Timestamp, r.Key, r.Value, r.Headers)
	}
	return nb.Build()
}

func appendBytes(dst, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(dst, -1)
	}
	return append(binary.AppendVarint(dst, int64(len(b))), b...)
}

func bytesSize(b []byte) int {
	if b == nil {
		return 1
	}
	return varintSize(int64(len(b))) + len(b)
}

func varintSize(v int64) int {
	n := 1
	for u := uint64(v<<1) ^ uint64(v>>63); u >= 0x80; u >>= 7 {
		n++
	}
	return n
}
