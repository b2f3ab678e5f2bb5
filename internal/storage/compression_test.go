package storage

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/producerstate"
)

// topicCodecs are the values of compression.type, with the lowest, the default and the highest level.
var topicCodecs = []struct {
	recompress bool
	codec      record.Codec
	levels     []int
}{
	{false, record.CodecNone, []int{0}}, // producer
	{true, record.CodecNone, []int{0}},  // uncompressed
	{true, record.CodecGzip, []int{1, -1, 9}},
	{true, record.CodecSnappy, []int{0}},
	{true, record.CodecLZ4, []int{1, 9, 17}},
	{true, record.CodecZstd, []int{-131072, 3, 22}},
}

// wideBatch has records with and without key, value and headers, at different times.
func wideBatch(tb testing.TB, o record.BuilderOptions, records int) record.Batch {
	tb.Helper()
	b := record.NewBuilder(o)
	for i := range records {
		var key, value []byte
		var headers []record.Header
		if i%3 > 0 {
			key = fmt.Appendf(nil, "key %d", i)
		}
		if i%4 > 0 {
			value = []byte(strings.Repeat(fmt.Sprint(i*i, " "), i%40))
		}
		if i%5 == 0 {
			headers = []record.Header{{Key: []byte("h"), Value: []byte{byte(i)}}, {Key: []byte("null")}}
		}
		b.Append(startMs+int64(i*7919%1000), key, value, headers)
	}
	batch, err := b.Build()
	if err != nil {
		tb.Fatal(err)
	}
	return batch
}

// contentOf writes down all that recompression has to keep.
func contentOf(tb testing.TB, b record.Batch) string {
	tb.Helper()
	var out bytes.Buffer
	fmt.Fprint(&out, b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), b.IsTransactional(), b.Count(), b.LastOffsetDelta(), b.MaxTimestamp(), "\n")
	for r, err := range b.Records(record.UncompressedLimit(len(b))) {
		if err != nil {
			tb.Fatal(err)
		}
		fmt.Fprintf(&out, "%d %d %q %t %q %t %q\n", r.OffsetDelta, r.Timestamp, r.Key, r.Key == nil, r.Value, r.Value == nil, r.Headers)
	}
	return out.String()
}

// TestEveryCodecBecomesEveryCodec appends batches of each codec to topics of each compression.type
// and level: what is read back is what was sent, in the topic's codec, and a batch that is sent
// again is known.
func TestEveryCodecBecomesEveryCodec(t *testing.T) {
	t.Parallel()
	for _, topic := range topicCodecs {
		for _, level := range topic.levels {
			t.Run(fmt.Sprintf("%t %s %d", topic.recompress, topic.codec, level), func(t *testing.T) {
				t.Parallel()
				config := DefaultLogConfig()
				config.Recompress, config.Codec, config.CodecLevel = topic.recompress, topic.codec, level
				_, l := openLogOn(t, newMem(t), config)
				producer := int64(0)
				for codec := record.CodecNone; codec <= record.CodecZstd; codec++ {
					for _, records := range []int{1, 1000} {
						for _, transactional := range []bool{false, true} {
							producer++
							o := record.NoProducer(codec)
							o.ProducerID, o.ProducerEpoch, o.BaseSequence, o.Transactional = producer, 3, 0, transactional
							sent := wideBatch(t, o, records)
							want, again := contentOf(t, sent), bytes.Clone(sent)
							request := AppendRequest{Records: sent, Origin: OriginClient, NowMs: startMs, ProduceVersion: 9, Guard: producerstate.Unverified, LeaderEpoch: 4}
							end := l.LogEndOffset()
							if _, err := l.Append(request); err != nil {
								t.Fatalf("%s, %d records: %v", codec, records, err)
							}
							stored := batchAt(t, l, end)
							wantCodec := topic.codec
							if !topic.recompress {
								wantCodec = codec
							}
							if stored.Codec() != wantCodec || stored.BaseOffset() != end || stored.PartitionLeaderEpoch() != 4 || stored.CheckCRC() != nil {
								t.Errorf("%s, %d records: stored as %s at %d, CRC %v", codec, records, stored.Codec(), stored.BaseOffset(), stored.CheckCRC())
							}
							if got := contentOf(t, stored); got != want {
								t.Errorf("%s, %d records: the content has changed", codec, records)
							}
							request.Records = again
							if r, err := l.Append(request); err != nil || !r.Duplicate || r.BaseOffset != end || l.LogEndOffset() != end+int64(records) {
								t.Errorf("%s, %d records, sent again: %+v, %v", codec, records, r, err)
							}
						}
					}
				}
			})
		}
	}
}

func batchAt(t *testing.T, l *Log, offset int64) record.Batch {
	t.Helper()
	r, err := l.Read(ReadRequest{Offset: offset, MaxBytes: 1, MinOneBatch: true, UpTo: l.LogEndOffset()})
	if err != nil {
		t.Fatal(err)
	}
	return record.Batch(r.Records)
}

// TestLogAppendTimeAndRecompression: with both, records are stamped; a batch that was sent again gets
// the time of the first answer, and the producers' timestamps do not matter.
func TestLogAppendTimeAndRecompression(t *testing.T) {
	t.Parallel()
	for codec := record.CodecNone; codec <= record.CodecZstd; codec++ {
		config := DefaultLogConfig()
		config.Recompress, config.Codec, config.LogAppendTime, config.Compact, config.TimestampAfterMs = true, codec, true, true, 0
		_, l := openLogOn(t, newMem(t), config)
		s := idempotent(5, 0, 0, 20)
		s.codec, s.timestampMs = record.CodecLZ4, startMs+90*86_400_000
		sent := s.build(t, 0)
		again := bytes.Clone(sent)
		r, err := produce(l, sent, 0, startMs+77)
		if err != nil || r.LogAppendTimeMs != startMs+77 {
			t.Fatalf("%s: %+v, %v", codec, r, err)
		}
		b := batchAt(t, l, 0)
		if b.Codec() != codec || !b.IsLogAppendTime() || b.MaxTimestamp() != startMs+77 || b.CheckCRC() != nil {
			t.Errorf("%s: stored as %s, append time %t %d", codec, b.Codec(), b.IsLogAppendTime(), b.MaxTimestamp())
		}
		for r, err := range b.Records(1 << 20) {
			if err != nil || r.Timestamp != startMs+77 {
				t.Fatalf("%s: record %d has timestamp %d, %v", codec, r.OffsetDelta, r.Timestamp, err)
			}
		}
		if r, err = produce(l, again, 0, startMs+500); err != nil || !r.Duplicate || r.LogAppendTimeMs != startMs+77 {
			t.Errorf("%s: sent again: %+v, %v", codec, r, err)
		}
	}
}

// TestTooLargeAfterRecompression: max.message.bytes counts for what is stored, too.
func TestTooLargeAfterRecompression(t *testing.T) {
	t.Parallel()
	config := DefaultLogConfig()
	config.Recompress, config.MaxMessageBytes = true, 2000
	_, l := openLogOn(t, newMem(t), config)
	s := idempotent(5, 0, 0, 50)
	s.codec, s.valueBytes = record.CodecGzip, 100
	sent := s.build(t, 0)
	if len(sent) > config.MaxMessageBytes {
		t.Fatalf("the batch has %d bytes already", len(sent))
	}
	_, err := produce(l, bytes.Clone(sent), 0, startMs)
	wantCode(t, err, kafka.ErrMessageTooLarge)
	if l.LogEndOffset() != 0 || l.SizeBytes() != 0 || l.ProducerCount() != 0 {
		t.Fatalf("something was written: end %d, %d bytes, %d producers", l.LogEndOffset(), l.SizeBytes(), l.ProducerCount())
	}
	config = DefaultLogConfig()
	config.Recompress, config.MaxMessageBytes = true, 20_000
	l.UpdateConfig(config)
	if r, err := produce(l, sent, 0, startMs); err != nil || r.Duplicate {
		t.Fatalf("after the limit was raised: %+v, %v", r, err)
	}
}

// TestMarkersStayAsTheyAre: control batches are not recompressed, nor what a coordinator writes.
func TestMarkersStayAsTheyAre(t *testing.T) {
	t.Parallel()
	config := DefaultLogConfig()
	config.Recompress, config.Codec = true, record.CodecZstd
	_, l := openLogOn(t, newMem(t), config)
	o := record.NoProducer(record.CodecNone)
	o.ProducerID, o.ProducerEpoch, o.BaseSequence, o.Transactional = 5, 0, 0, true
	if _, err := l.Append(AppendRequest{Records: wideBatch(t, o, 3), Origin: OriginClient, NowMs: startMs, ProduceVersion: 9, Guard: producerstate.Unverified}); err != nil {
		t.Fatal(err)
	}
	o.BaseSequence, o.Control = kafka.NoSequence, true
	marker, err := record.BuildControl(o, startMs, record.ControlCommit, record.EndTxnMarker{CoordinatorEpoch: 1}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	body := bytes.Clone(marker[record.BatchOverhead:])
	if _, err := l.Append(AppendRequest{Records: marker, Origin: OriginCoordinator, NowMs: startMs}); err != nil {
		t.Fatal(err)
	}
	if b := batchAt(t, l, 3); b.Codec() != record.CodecNone || !b.IsControl() || !bytes.Equal(b[record.BatchOverhead:], body) || b.CheckCRC() != nil {
		t.Errorf("the marker was stored as %s: %x", b.Codec(), b)
	}
}
