package record

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/kafka"
)

const nowMs = 1_700_000_100_000

func strict() ValidateOptions {
	return ValidateOptions{ProduceVersion: 9, MaxBatchBytes: 1 << 20, NowMs: nowMs, TimestampBeforeMaxMs: 1 << 40, TimestampAfterMaxMs: 3_600_000}
}

// TestValidateRules goes through the header rules; each case breaks one.
func TestValidateRules(t *testing.T) {
	t.Parallel()
	header := func(f func(b Batch)) func(t *testing.T) Batch {
		return func(t *testing.T) Batch {
			b := sample(t, CodecNone, 3)
			f(b)
			b.sealCRC()
			return b
		}
	}
	for _, c := range []struct {
		name  string
		batch func(t *testing.T) Batch
		o     func(o *ValidateOptions)
		want  kafka.ErrorCode
	}{
		{"good", header(func(Batch) {}), nil, kafka.ErrNone},
		{"leader epoch is overwritten, not checked", header(func(b Batch) { b.SetPartitionLeaderEpoch(1234) }), nil, kafka.ErrNone},
		{"max timestamp is not trusted", header(func(b Batch) { binary.BigEndian.PutUint64(b[posMaxTimestamp:], 7) }), nil, kafka.ErrNone},
		{"transactional", header(func(b Batch) { b[posAttributes+1] |= attrTransactional }), nil, kafka.ErrNone},
		{"base offset", header(func(b Batch) { b.SetBaseOffset(1) }), nil, kafka.ErrInvalidRecord},
		{"size", header(func(Batch) {}), func(o *ValidateOptions) { o.MaxBatchBytes = 100 }, kafka.ErrMessageTooLarge},
		{"crc", func(t *testing.T) Batch { b := sample(t, CodecNone, 3); b[len(b)-1]++; return b }, nil, kafka.ErrCorruptMessage},
		{"unknown codec", header(func(b Batch) { b[posAttributes+1] |= 5 }), nil, kafka.ErrUnsupportedCompressionType},
		{"zstd for an old client", func(t *testing.T) Batch { return sample(t, CodecZstd, 3) }, func(o *ValidateOptions) { o.ProduceVersion = 6 }, kafka.ErrUnsupportedCompressionType},
		{"zstd", func(t *testing.T) Batch { return sample(t, CodecZstd, 3) }, nil, kafka.ErrNone},
		{"count 0", header(func(b Batch) { setCount(b, 0) }), nil, kafka.ErrInvalidRecord},
		{"count -1", header(func(b Batch) { setCount(b, -1) }), nil, kafka.ErrInvalidRecord},
		{"count 4 of 3", header(func(b Batch) { setCount(b, 4); setDelta(b, 3) }), nil, kafka.ErrInvalidRecord},
		{"count 2 of 3", header(func(b Batch) { setCount(b, 2); setDelta(b, 1) }), nil, kafka.ErrInvalidRecord},
		{"largest count", header(func(b Batch) { setCount(b, math.MaxInt32); setDelta(b, math.MaxInt32-1) }), nil, kafka.ErrInvalidRecord},
		{"delta does not fit", header(func(b Batch) { setDelta(b, 5) }), nil, kafka.ErrInvalidRecord},
		{"delta overflows", header(func(b Batch) { setDelta(b, math.MaxInt32); setCount(b, math.MinInt32) }), nil, kafka.ErrInvalidRecord},
		{"control", header(func(b Batch) { b[posAttributes+1] |= attrControl }), nil, kafka.ErrInvalidRecord},
		{"delete horizon", header(func(b Batch) { b[posAttributes+1] |= attrDeleteHorizon }), nil, kafka.ErrInvalidRecord},
		{"sequence", header(func(b Batch) { binary.BigEndian.PutUint32(b[posBaseSequence:], math.MaxUint32) }), nil, kafka.ErrInvalidRecord},
		{"producer epoch", header(func(b Batch) { binary.BigEndian.PutUint16(b[posProducerEpoch:], math.MaxUint16) }), nil, kafka.ErrInvalidRecord},
		{"append time bit", header(func(b Batch) { b[posAttributes+1] |= attrLogAppendTime }), nil, kafka.ErrInvalidTimestamp},
		{"append time bit for an append time topic", header(func(b Batch) { b[posAttributes+1] |= attrLogAppendTime }), func(o *ValidateOptions) { o.LogAppendTime = true }, kafka.ErrInvalidTimestamp},
		{"too old", header(func(Batch) {}), func(o *ValidateOptions) { o.TimestampBeforeMaxMs = 99_999 }, kafka.ErrInvalidTimestamp},
		{"just young enough", header(func(Batch) {}), func(o *ValidateOptions) { o.TimestampBeforeMaxMs = 100_000 }, kafka.ErrNone},
		{"too far in the future", header(func(Batch) {}), func(o *ValidateOptions) { o.NowMs = 1_699_000_000_000 }, kafka.ErrInvalidTimestamp},
		{"any timestamp with append time", header(func(Batch) {}), func(o *ValidateOptions) { o.NowMs = 1; o.LogAppendTime = true }, kafka.ErrNone},
		{"compacted with keys", header(func(Batch) {}), func(o *ValidateOptions) { o.CompactedTopic = true }, kafka.ErrNone},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := strict()
			if c.o != nil {
				c.o(&o)
			}
			b := c.batch(t)
			before := string(b)
			r, err := Validate(b, o)
			if kafka.CodeOf(err) != c.want {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if string(b) != before {
				t.Error("Validate changed the batch")
			}
			if err == nil && (r.Count != 3 || r.MaxTimestamp != 1_700_000_000_002 || r.MaxTimestampDelta != 2) {
				t.Errorf("result %+v", r)
			}
			if err != nil && (kafka.MessageOf(err) == nil || *kafka.MessageOf(err) == "") {
				t.Error("the error has no sentence for the client")
			}
		})
	}
}

func setCount(b Batch, n int32) { binary.BigEndian.PutUint32(b[posCount:], uint32(n)) }
func setDelta(b Batch, n int32) { binary.BigEndian.PutUint32(b[posLastOffsetDelta:], uint32(n)) }

// TestValidateRecordBytes has one record with wrong bytes, in every codec.
func TestValidateRecordBytes(t *testing.T) {
	t.Parallel()
	// size, attributes, timestamp delta, offset delta, key length, key, value length, headers
	good := []byte{14, 0, 0, 0, 2, 'k', 0, 0}
	for _, c := range []struct {
		name string
		body []byte
		ok   bool
	}{
		{"good", good, true},
		{"null key and value", []byte{12, 0, 0, 0, 1, 1, 0}, true},
		{"unknown attributes", []byte{14, 0xff, 0, 0, 2, 'k', 0, 0}, true},
		{"empty", nil, false},
		{"size 0", []byte{0}, false},
		{"size -1", []byte{1}, false},
		{"size too small", []byte{12, 0, 0, 0, 2, 'k', 0, 0}, false},
		{"size too large", []byte{16, 0, 0, 0, 2, 'k', 0, 0, 0}, false},
		{"size beyond the batch", []byte{126, 0, 0, 0, 2, 'k', 0, 0}, false},
		{"largest size", []byte{0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 2, 'k', 0, 0}, false},
		{"offset delta 1", []byte{14, 0, 0, 2, 2, 'k', 0, 0}, false},
		{"offset delta -1", []byte{14, 0, 0, 1, 2, 'k', 0, 0}, false},
		{"key length -2", []byte{14, 0, 0, 0, 3, 'k', 0, 0}, false},
		{"key beyond the record", []byte{14, 0, 0, 0, 10, 'k', 0, 0}, false},
		{"largest key", []byte{22, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 0x0f, 'k', 0, 0}, false},
		{"value beyond the record", []byte{14, 0, 0, 0, 2, 'k', 6, 0}, false},
		{"header count -1", []byte{14, 0, 0, 0, 2, 'k', 0, 1}, false},
		{"header count lies", []byte{14, 0, 0, 0, 2, 'k', 0, 2}, false},
		{"largest header count", []byte{22, 0, 0, 0, 2, 'k', 0, 0xfe, 0xff, 0xff, 0xff, 0x0f}, false},
		{"header with null key", []byte{18, 0, 0, 0, 2, 'k', 0, 2, 1, 0}, false},
		{"header value -2", []byte{18, 0, 0, 0, 2, 'k', 0, 2, 0, 3}, false},
		{"header", []byte{18, 0, 0, 0, 2, 'k', 0, 2, 0, 1}, true},
		{"varint of eleven bytes", []byte{14, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0}, false},
		{"varint beyond 64 bits", []byte{30, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 1, 1, 0}, false},
		{"trailing byte", append(append([]byte{}, good...), 0), false},
		{"second record", append(append([]byte{}, good...), good...), false},
		{"cut", good[:5], false},
	} {
		for _, codec := range allCodecs {
			body := c.body
			if codec != CodecNone {
				var err error
				if body, err = compress(nil, codec, 0, c.body); err != nil {
					t.Fatal(err)
				}
			}
			b := withBody(sample(t, CodecNone, 1), codec, body)
			_, err := Validate(b, lenient())
			if c.ok != (err == nil) || !c.ok && kafka.CodeOf(err) != kafka.ErrInvalidRecord {
				t.Errorf("%s, %s: Validate says %v", c.name, codec, err)
			}
			var readErr error
			for _, err := range b.Records(1 << 20) {
				readErr = err
			}
			if c.ok != (readErr == nil) && !strings.HasPrefix(c.name, "offset delta 1") {
				t.Errorf("%s, %s: Records says %v", c.name, codec, readErr)
			}
		}
	}
}

func TestValidateCutCompressedBody(t *testing.T) {
	t.Parallel()
	for _, codec := range allCodecs {
		b := sample(t, codec, 50)
		for cut := BatchOverhead; cut < len(b)-1; cut++ {
			short := withBody(b, codec, b[BatchOverhead:cut])
			if _, err := Validate(short, lenient()); kafka.CodeOf(err) != kafka.ErrInvalidRecord && !onlyChecksumCut(codec, len(b)-cut) {
				t.Fatalf("%s cut at %d of %d: %v", codec, cut, len(b), err)
			}
		}
	}
}

// onlyChecksumCut: the records are whole when only the end mark or checksum is missing; a
// reader that stops after the last record may not notice.
func onlyChecksumCut(codec Codec, missing int) bool {
	return codec == CodecLZ4 && missing <= 8 || codec == CodecGzip && missing <= 8
}

func TestRecordErrors(t *testing.T) {
	t.Parallel()
	nb := NewBuilder(NoProducer(CodecSnappy))
	for i := range 3000 {
		var key []byte
		if i == 0 || i == 2999 {
			key = []byte("k")
		}
		nb.Append(nowMs, key, nil, nil)
	}
	b, err := nb.Build()
	if err != nil {
		t.Fatal(err)
	}
	o := strict()
	o.CompactedTopic = true
	_, err = Validate(b, o)
	re, ok := errors.AsType[*RecordErrors](err)
	if !ok || kafka.CodeOf(err) != kafka.ErrInvalidRecord || kafka.MessageOf(err) == nil {
		t.Fatalf("got %v", err)
	}
	if len(re.Records) != maxRecordErrors || re.Records[0].Index != 1 || re.Records[999].Index != 1000 {
		t.Fatalf("%d record errors, first %+v", len(re.Records), re.Records[0])
	}
}

func TestTimestampDecidesTheCode(t *testing.T) {
	t.Parallel()
	nb := NewBuilder(NoProducer(CodecNone))
	nb.Append(nowMs, nil, nil, nil)
	nb.Append(math.MinInt64, []byte("k"), nil, nil)
	nb.Append(math.MaxInt64, []byte("k"), nil, nil)
	nb.Append(kafka.NoTimestamp, []byte("k"), nil, nil)
	b, err := nb.Build()
	if err != nil {
		t.Fatal(err)
	}
	o := strict()
	o.CompactedTopic = true
	_, err = Validate(b, o)
	re, ok := errors.AsType[*RecordErrors](err)
	if !ok || kafka.CodeOf(err) != kafka.ErrInvalidTimestamp || len(re.Records) != 3 {
		t.Fatalf("got %v with %+v", err, re)
	}
}

func TestSingle(t *testing.T) {
	t.Parallel()
	one := sample(t, CodecNone, 1)
	magic1 := append(Batch{}, one...)
	magic1[posMagic] = 1
	short := append(Batch{}, one...)
	setLength(short, 10)
	for _, c := range []struct {
		name string
		data []byte
		want kafka.ErrorCode
	}{
		{"one", one, kafka.ErrNone},
		{"none", nil, kafka.ErrInvalidRecord},
		{"two", append(append([]byte{}, one...), one...), kafka.ErrInvalidRecord},
		{"old format", magic1, kafka.ErrInvalidRecord},
		{"cut", one[:len(one)-1], kafka.ErrInvalidRecord}, // as Apache Kafka answers
		{"a few bytes", one[:5], kafka.ErrInvalidRecord},
		{"length too small", short, kafka.ErrCorruptMessage},
		{"trailing", append(append([]byte{}, one...), 0), kafka.ErrInvalidRecord},
	} {
		if b, err := Single(c.data); kafka.CodeOf(err) != c.want || (err == nil) != (b != nil) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestValidateAllocatesNothing(t *testing.T) {
	b := sample(t, CodecNone, 1000)
	o := lenient()
	if n := testing.AllocsPerRun(100, func() {
		if _, err := Validate(b, o); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("Validate of an uncompressed batch allocates %v times", n)
	}
}

func TestCompressedValidateReusesDecompressors(t *testing.T) {
	for _, codec := range allCodecs[1:] {
		b := sample(t, codec, 1000)
		o := lenient()
		if n := testing.AllocsPerRun(100, func() {
			if _, err := Validate(b, o); err != nil {
				t.Fatal(err)
			}
		}); n > 30 {
			t.Errorf("%s: Validate allocates %v times for 1000 records", codec, n)
		}
	}
}

func BenchmarkValidate(b *testing.B) {
	for _, codec := range allCodecs {
		b.Run(codec.String(), func(b *testing.B) {
			batch := sample(b, codec, 1000)
			b.SetBytes(int64(len(batch)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Validate(batch, lenient()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
