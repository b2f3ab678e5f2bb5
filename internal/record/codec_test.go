package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/kafka"
)

var allCodecs = []Codec{CodecNone, CodecGzip, CodecSnappy, CodecLZ4, CodecZstd}

// TestGoldenBatches reads what Apache Kafka 4.3.1's console producer had the broker write:
// 20 records with keys and two headers, one file per codec.
func TestGoldenBatches(t *testing.T) {
	t.Parallel()
	for _, codec := range allCodecs {
		t.Run(codec.String(), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(filepath.Join("testdata", "kafka", "console-"+codec.String()+".log"))
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for len(data) > 0 {
				var b Batch
				if b, data, err = Next(data); err != nil {
					t.Fatal(err)
				}
				if err := b.CheckCRC(); err != nil {
					t.Fatal(err)
				}
				if b.Codec() != codec || b.BaseOffset() != int64(n) || b.PartitionLeaderEpoch() != 0 || b.BaseSequence() != int32(n) {
					t.Fatalf("codec %s, base offset %d, leader epoch %d, sequence %d", b.Codec(), b.BaseOffset(), b.PartitionLeaderEpoch(), b.BaseSequence())
				}
				b.SetBaseOffset(0)
				if v, err := Validate(b, lenient()); err != nil || v.Count != b.Count() || v.MaxTimestamp != b.MaxTimestamp() {
					t.Fatalf("Validate: %+v, %v; the batch has %d records up to %d", v, err, b.Count(), b.MaxTimestamp())
				}
				n = checkConsoleRecords(t, b, n)
			}
			if n != 20 {
				t.Fatalf("%d records, want 20", n)
			}
		})
	}
}

func checkConsoleRecords(t *testing.T, b Batch, n int) int {
	t.Helper()
	for r, err := range b.Records(1 << 20) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		key, value := fmt.Sprintf("key-%d", n), fmt.Sprintf("the quick brown fox jumps over the lazy dog number %d", n)
		if string(r.Key) != key || string(r.Value) != value || len(r.Headers) != 2 || string(r.Headers[0].Value) != fmt.Sprintf("v%d", n) || string(r.Headers[1].Key) != "h2" {
			t.Fatalf("record %d: %q %q %q", n, r.Key, r.Value, r.Headers)
		}
	}
	return n
}

func lenient() ValidateOptions {
	return ValidateOptions{ProduceVersion: 13, MaxBatchBytes: 1 << 30, TimestampBeforeMaxMs: 1 << 62, TimestampAfterMaxMs: 1 << 62}
}

// TestCompatWithFranzGo reads what franz-go's compressor writes, and lets franz-go read ours.
func TestCompatWithFranzGo(t *testing.T) {
	t.Parallel()
	kgoCodecs := map[Codec]kgo.CompressionCodec{CodecGzip: kgo.GzipCompression(), CodecSnappy: kgo.SnappyCompression(), CodecLZ4: kgo.Lz4Compression(), CodecZstd: kgo.ZstdCompression()}
	for codec, kgoCodec := range kgoCodecs {
		t.Run(codec.String(), func(t *testing.T) {
			t.Parallel()
			plain := sample(t, CodecNone, 5000)
			compressor, err := kgo.DefaultCompressor(kgoCodec)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			compressed, used := compressor.Compress(&out, plain.body())
			if Codec(used) != codec {
				t.Fatalf("franz-go used codec %d", used)
			}
			theirs := withBody(plain, codec, compressed)
			if v, err := Validate(theirs, lenient()); err != nil || v.Count != 5000 || v.UncompressedBytes != int64(len(plain.body())) {
				t.Fatalf("Validate: %+v, %v", v, err)
			}
			mustMatch(t, plain, theirs)
			ours, err := Recompress(plain, codec, 0)
			if err != nil {
				t.Fatal(err)
			}
			back, err := kgo.DefaultDecompressor().Decompress(ours.body(), kgo.CompressionCodecType(codec))
			if err != nil || !bytes.Equal(back, plain.body()) {
				t.Fatalf("franz-go reads other bytes than were compressed: %v", err)
			}
		})
	}
}

// withBody replaces the records of b by body, compressed with codec.
func withBody(b Batch, codec Codec, body []byte) Batch {
	n := append(append(Batch{}, b[:BatchOverhead]...), body...)
	n[posAttributes+1] = n[posAttributes+1]&^attrCodecMask | byte(codec)
	setLength(n, int32(len(n)-lengthOverhead))
	n.sealCRC()
	return n
}

// mustMatch fails unless both batches have the same records.
func mustMatch(t *testing.T, want, got Batch) {
	t.Helper()
	dump := func(b Batch) (all []string) {
		for r, err := range b.Records(1 << 28) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, fmt.Sprintf("%d %d %q %q %q", r.OffsetDelta, r.Timestamp, r.Key, r.Value, r.Headers))
		}
		return all
	}
	w, g := dump(want), dump(got)
	if len(w) != len(g) {
		t.Fatalf("%d records, want %d", len(g), len(w))
	}
	for i := range w {
		if w[i] != g[i] {
			t.Fatalf("record %d is %s, want %s", i, g[i], w[i])
		}
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(7, 7))
	for _, codec := range allCodecs {
		for _, level := range []int{0, 1, 9} {
			b := NewBuilder(BuilderOptions{Codec: codec, Level: level, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1, LogAppendTime: false})
			var want []Record
			for i := range 200 {
				r := Record{OffsetDelta: int32(i), Timestamp: random.Int64() - random.Int64()}
				if random.IntN(4) > 0 {
					r.Key = randomBytes(random, 40)
				}
				if random.IntN(4) > 0 {
					r.Value = randomBytes(random, 3000)
				}
				for range random.IntN(3) {
					r.Headers = append(r.Headers, Header{Key: randomBytes(random, 10), Value: randomBytes(random, 100)})
				}
				want = append(want, r)
				b.Append(r.Timestamp, r.Key, r.Value, r.Headers)
			}
			batch, err := b.Build()
			if err != nil {
				t.Fatal(err)
			}
			i := 0
			for r, err := range batch.Records(1 << 24) {
				if err != nil {
					t.Fatalf("%s: %v", codec, err)
				}
				w := want[i]
				if r.Timestamp != w.Timestamp || !bytes.Equal(r.Key, w.Key) || (r.Key == nil) != (w.Key == nil) || !bytes.Equal(r.Value, w.Value) || (r.Value == nil) != (w.Value == nil) || len(r.Headers) != len(w.Headers) {
					t.Fatalf("%s: record %d differs", codec, i)
				}
				i++
			}
			if i != len(want) {
				t.Fatalf("%s: %d records, want %d", codec, i, len(want))
			}
		}
	}
}

func randomBytes(random *rand.Rand, most int) []byte {
	b := make([]byte, random.IntN(most))
	for i := range b {
		b[i] = byte('a' + random.IntN(6))
	}
	return b
}

func TestRawSnappy(t *testing.T) {
	t.Parallel()
	plain := sample(t, CodecNone, 3000)
	raw := withBody(plain, CodecSnappy, snappy.Encode(nil, plain.body()))
	if _, err := Validate(raw, lenient()); err != nil {
		t.Fatal(err)
	}
	mustMatch(t, plain, raw)
}

// TestLargeZstdWindow has a frame whose window is above the common limit, as the highest
// levels write it.
func TestLargeZstdWindow(t *testing.T) {
	t.Parallel()
	plain := sample(t, CodecNone, 3000)
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, zstd.WithWindowSize(64<<20), zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(plain.body())
	_ = w.Flush() // the size of the content must not be known when the frame begins
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		b := withBody(plain, CodecZstd, out.Bytes())
		if _, err := Validate(b, lenient()); err != nil {
			t.Fatal(err)
		}
		mustMatch(t, plain, b)
	}
}

func bomb(t *testing.T, codec Codec) []byte {
	t.Helper()
	const size = 300 << 20 // above every limit
	chunk := make([]byte, 1<<20)
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch codec {
	case CodecGzip:
		w = gzip.NewWriter(&out)
	case CodecLZ4:
		lw := lz4.NewWriter(&out)
		err = lw.Apply(lz4.BlockSizeOption(lz4.Block4Mb))
		w = lw
	case CodecZstd:
		w, err = zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
	case CodecSnappy:
		out.Write(xerialMagic)
		out.Write([]byte{0, 0, 0, 1, 0, 0, 0, 1})
		block := snappy.Encode(nil, chunk)
		for range size / len(chunk) {
			out.Write([]byte{byte(len(block) >> 24), byte(len(block) >> 16), byte(len(block) >> 8), byte(len(block))})
			out.Write(block)
		}
		return out.Bytes()
	}
	if err != nil {
		t.Fatal(err)
	}
	// One record that claims all of it, so that only the limits stop the reader.
	head := binary.AppendVarint([]byte{0, 0, 0, 1}, size-100)
	if _, err := w.Write(append(binary.AppendVarint(nil, int64(len(head))+size-100+1), head...)); err != nil {
		t.Fatal(err)
	}
	for range size / len(chunk) {
		if _, err := w.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestBombs(t *testing.T) { // not parallel: it measures allocations
	for _, codec := range allCodecs[1:] {
		t.Run(codec.String(), func(t *testing.T) {
			plain := sample(t, CodecNone, 1)
			b := withBody(plain, codec, bomb(t, codec))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Validate(b, lenient())
			runtime.ReadMemStats(&after)
			if err == nil {
				t.Fatal("the bomb was accepted")
			}
			if codec != CodecSnappy && kafka.CodeOf(err) != kafka.ErrMessageTooLarge {
				t.Errorf("got %v", err)
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > 40<<20 {
				t.Errorf("validating %d bytes took %d MiB of memory", len(b), got>>20)
			}
			for _, err := range b.Records(1 << 20) {
				if err == nil {
					t.Fatal("a record came out of the bomb")
				}
			}
		})
	}
}

// TestSnappyLyingLengths has tiny blocks that claim to hold gigabytes.
func TestSnappyLyingLengths(t *testing.T) {
	lie := []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0} // 4 GiB - 1
	framed := append(append(append([]byte{}, xerialMagic...), 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, byte(len(lie))), lie...)
	for _, body := range [][]byte{lie, framed, framed[:10], framed[:18], framed[:22]} {
		b := withBody(sample(t, CodecNone, 1), CodecSnappy, body)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Validate(b, lenient())
		runtime.ReadMemStats(&after)
		if kafka.CodeOf(err) != kafka.ErrInvalidRecord {
			t.Errorf("got %v", err)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
			t.Errorf("%d bytes claimed took %d bytes", len(b), got)
		}
	}
}

func TestRecordsLimit(t *testing.T) {
	t.Parallel()
	for _, codec := range allCodecs[1:] {
		b := sample(t, codec, 2000)
		var last error
		for _, err := range b.Records(4096) {
			last = err
		}
		if !errors.Is(last, ErrTooLarge) {
			t.Errorf("%s: got %v", codec, last)
		}
	}
}

func TestParseCodec(t *testing.T) {
	t.Parallel()
	for _, codec := range allCodecs {
		if got, err := ParseCodec(codec.String()); err != nil || got != codec {
			t.Errorf("%s: %v, %v", codec, got, err)
		}
	}
	if got, err := ParseCodec("uncompressed"); err != nil || got != CodecNone {
		t.Errorf("uncompressed: %v, %v", got, err)
	}
	if _, err := ParseCodec("brotli"); err == nil {
		t.Error("brotli was accepted")
	}
	if Codec(7).String() != "unknown codec 7" {
		t.Error(Codec(7).String())
	}
}

// TestRecordsLargerThanTheWindow has records that no window holds in one piece at first.
func TestRecordsLargerThanTheWindow(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	nb := NewBuilder(NoProducer(CodecNone))
	for i := range 5 {
		value := make([]byte, windowBytes*3+i*1000)
		for j := range value {
			value[j] = byte(random.IntN(256))
		}
		nb.Append(int64(i), []byte("k"), value, []Header{{Key: []byte("h"), Value: value[:i*10000]}})
	}
	plain, err := nb.Build()
	if err != nil {
		t.Fatal(err)
	}
	for _, codec := range allCodecs {
		b, err := Recompress(plain, codec, 0)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := Validate(b, lenient()); err != nil || v.Count != 5 || v.UncompressedBytes != int64(len(plain.body())) {
			t.Fatalf("%s: %+v, %v", codec, v, err)
		}
		mustMatch(t, plain, b)
	}
}

// TestCompressorsAreReused builds batches of all codecs and levels side by side: a compressor
// that one batch leaves behind must not show in the next.
func TestCompressorsAreReused(t *testing.T) {
	t.Parallel()
	var builders sync.WaitGroup
	for worker := range 4 {
		builders.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 1))
			for i := range 60 {
				o := NoProducer(allCodecs[1+i%4])
				o.Level = i % 10
				b := NewBuilder(o)
				value := bytes.Repeat([]byte{byte(worker), byte(i)}, 1+random.IntN(100_000))
				b.Append(int64(i), nil, value, nil)
				batch, err := b.Build()
				if err != nil {
					t.Errorf("%s level %d: %v", o.Codec, o.Level, err)
					return
				}
				for r, err := range batch.Records(1 << 20) {
					if err != nil || !bytes.Equal(r.Value, value) {
						t.Errorf("%s level %d: %d bytes came back of %d, %v", o.Codec, o.Level, len(r.Value), len(value), err)
					}
				}
			}
		})
	}
	builders.Wait()
}

// BenchmarkRecompress brings 16 records of 1 KB to the codec of a topic's compression.type.
func BenchmarkRecompress(b *testing.B) {
	for _, codec := range allCodecs[1:] {
		b.Run(codec.String(), func(b *testing.B) {
			nb := NewBuilder(NoProducer(CodecNone))
			for i := range 16 {
				value := make([]byte, 1000)
				for j := range value {
					value[j] = byte(i * j % 61)
				}
				nb.Append(int64(i), []byte("key"), value, nil)
			}
			batch, err := nb.Build()
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(batch)))
			for b.Loop() {
				if _, err := Recompress(batch, codec, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
