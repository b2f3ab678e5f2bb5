package record

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"github.com/moldau/moldau/internal/kafka"
)

// sample returns a batch of n records with keys, values and headers.
func sample(tb testing.TB, codec Codec, n int) Batch {
	tb.Helper()
	b := NewBuilder(BuilderOptions{Codec: codec, LeaderEpoch: -1, ProducerID: 77, ProducerEpoch: 3, BaseSequence: 10})
	for i := range n {
		b.Append(1_700_000_000_000+int64(i), []byte("key"), []byte("a value that is not very long"), []Header{{Key: []byte("h"), Value: nil}, {Key: []byte("i"), Value: []byte("x")}})
	}
	batch, err := b.Build()
	if err != nil {
		tb.Fatal(err)
	}
	return batch
}

func TestHeaderFields(t *testing.T) {
	t.Parallel()
	b := sample(t, CodecNone, 5)
	b.SetBaseOffset(1 << 40)
	b.SetPartitionLeaderEpoch(9)
	if err := b.CheckCRC(); err != nil {
		t.Fatalf("base offset and leader epoch are outside the CRC, but: %v", err)
	}
	for _, c := range []struct {
		what      string
		got, want int64
	}{
		{"BaseOffset", b.BaseOffset(), 1 << 40}, {"LastOffset", b.LastOffset(), 1<<40 + 4}, {"NextOffset", b.NextOffset(), 1<<40 + 5},
		{"PartitionLeaderEpoch", int64(b.PartitionLeaderEpoch()), 9}, {"Magic", int64(b.Magic()), 2}, {"Count", int64(b.Count()), 5},
		{"ProducerID", b.ProducerID(), 77}, {"ProducerEpoch", int64(b.ProducerEpoch()), 3}, {"BaseSequence", int64(b.BaseSequence()), 10},
		{"LastSequence", int64(b.LastSequence()), 14}, {"BaseTimestamp", b.BaseTimestamp(), 1_700_000_000_000},
		{"MaxTimestamp", b.MaxTimestamp(), 1_700_000_000_004}, {"SizeBytes", int64(b.SizeBytes()), int64(len(b))},
	} {
		if c.got != c.want {
			t.Errorf("%s = %d, want %d", c.what, c.got, c.want)
		}
	}
	if b.IsControl() || b.IsTransactional() || b.IsLogAppendTime() || b.HasDeleteHorizon() || !b.HasProducerID() {
		t.Errorf("attributes %#x", b.Attributes())
	}
}

func TestStampLogAppendTime(t *testing.T) {
	t.Parallel()
	b := sample(t, CodecGzip, 3)
	b.StampLogAppendTime(42)
	if err := b.CheckCRC(); err != nil {
		t.Fatal(err)
	}
	if !b.IsLogAppendTime() || b.MaxTimestamp() != 42 || b.Codec() != CodecGzip {
		t.Fatalf("attributes %#x, max timestamp %d", b.Attributes(), b.MaxTimestamp())
	}
	for r, err := range b.Records(1 << 20) {
		if err != nil || r.Timestamp != 42 {
			t.Fatalf("record has timestamp %d, error %v", r.Timestamp, err)
		}
	}
	b.SetMaxTimestamp(43)
	if err := b.CheckCRC(); err != nil || b.MaxTimestamp() != 43 {
		t.Fatalf("max timestamp %d, %v", b.MaxTimestamp(), err)
	}
}

func TestAddSequenceWraps(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ s, n, want int32 }{{0, 0, 0}, {5, 3, 8}, {math.MaxInt32, 1, 0}, {math.MaxInt32 - 1, 5, 3}, {math.MaxInt32, math.MaxInt32, math.MaxInt32 - 1}} {
		if got := AddSequence(c.s, c.n); got != c.want {
			t.Errorf("AddSequence(%d, %d) = %d, want %d", c.s, c.n, got, c.want)
		}
	}
}

func TestNext(t *testing.T) {
	t.Parallel()
	one, two := sample(t, CodecNone, 2), sample(t, CodecZstd, 3)
	data := append(append([]byte{}, one...), two...)
	first, rest, err := Next(data)
	if err != nil || first.Count() != 2 || len(rest) != len(two) {
		t.Fatalf("first batch: %d records, %d bytes left, %v", first.Count(), len(rest), err)
	}
	if cap(first) != len(first) {
		t.Error("appending to the first batch would overwrite the second")
	}
	second, rest, err := Next(rest)
	if err != nil || second.Count() != 3 || len(rest) != 0 {
		t.Fatalf("second batch: %v", err)
	}
	for cut := range one {
		if _, rest, err := Next(one[:cut]); !errors.Is(err, ErrIncomplete) || len(rest) != cut {
			t.Fatalf("batch cut at %d of %d: %v, %d bytes left", cut, len(one), err, len(rest))
		}
	}
}

func TestNextRefusesForeignHeaders(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, field string
		change      func(b Batch)
	}{
		{"magic 0", "magic", func(b Batch) { b[posMagic] = 0 }},
		{"magic 1", "magic", func(b Batch) { b[posMagic] = 1 }},
		{"magic 3", "magic", func(b Batch) { b[posMagic] = 3 }},
		{"length 0", "length", func(b Batch) { setLength(b, 0) }},
		{"length -1", "length", func(b Batch) { setLength(b, -1) }},
		{"length below the header", "length", func(b Batch) { setLength(b, BatchOverhead-lengthOverhead-1) }},
		{"largest length", "length", func(b Batch) { setLength(b, math.MaxInt32) }},
		{"smallest length", "length", func(b Batch) { setLength(b, math.MinInt32) }},
	} {
		b := append(Batch{}, sample(t, CodecNone, 1)...)
		c.change(b)
		_, _, err := Next(b)
		if ce, ok := errors.AsType[*CorruptError](err); !ok || ce.Field != c.field {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
}

func setLength(b Batch, n int32) { binary.BigEndian.PutUint32(b[posLength:], uint32(n)) }

func TestCRCFindsEveryFlippedByte(t *testing.T) {
	t.Parallel()
	b := sample(t, CodecNone, 1)
	for i := posAttributes; i < len(b); i++ {
		b[i] ^= 0x40
		if ce, ok := errors.AsType[*CorruptError](b.CheckCRC()); !ok || ce.Field != "crc" || ce.Expected == ce.Got {
			t.Fatalf("a flipped bit in byte %d was not found", i)
		}
		b[i] ^= 0x40
	}
	if err := b.CheckCRC(); err != nil {
		t.Fatal(err)
	}
}

func TestNoProducerOptions(t *testing.T) {
	t.Parallel()
	nb := NewBuilder(NoProducer(CodecNone))
	nb.Append(1, nil, nil, nil)
	b, err := nb.Build()
	if err != nil {
		t.Fatal(err)
	}
	if b.HasProducerID() || b.ProducerEpoch() != kafka.NoProducerEpoch || b.BaseSequence() != kafka.NoSequence || b.LastSequence() != kafka.NoSequence {
		t.Fatalf("producer %d epoch %d sequence %d to %d", b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), b.LastSequence())
	}
	if _, err := NewBuilder(NoProducer(CodecNone)).Build(); err == nil {
		t.Error("an empty batch was built")
	}
}
