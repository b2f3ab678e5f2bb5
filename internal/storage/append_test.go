package storage

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
)

func reseal(b record.Batch) record.Batch {
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

func TestAppendRefusesWhatProducersMayNotSend(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		config func(c *LogConfig)
		batch  func(t *testing.T) record.Batch
		want   kafka.ErrorCode
	}{
		{"good", nil, func(t *testing.T) record.Batch { return plain(2).build(t, 0) }, kafka.ErrNone},
		{"nothing", nil, func(*testing.T) record.Batch { return nil }, kafka.ErrInvalidRecord},
		{"two batches", nil, func(t *testing.T) record.Batch { return append(plain(1).build(t, 0), plain(1).build(t, 0)...) }, kafka.ErrInvalidRecord},
		{"wrong crc", nil, func(t *testing.T) record.Batch {
			b := plain(1).build(t, 0)
			b[len(b)-1] ^= 1
			return b
		}, kafka.ErrCorruptMessage},
		{"base offset", nil, func(t *testing.T) record.Batch {
			b := plain(1).build(t, 0)
			b.SetBaseOffset(3)
			return b
		}, kafka.ErrInvalidRecord},
		{"leader epoch of the client does not matter", nil, func(t *testing.T) record.Batch {
			b := plain(1).build(t, 0)
			b.SetPartitionLeaderEpoch(999)
			return b
		}, kafka.ErrNone},
		{"control bit", nil, func(t *testing.T) record.Batch {
			b := plain(1).build(t, 0)
			b[22] |= 0x20
			return reseal(b)
		}, kafka.ErrInvalidRecord},
		{"outside of a transaction", nil, func(t *testing.T) record.Batch {
			b := idempotent(1, 0, 0, 1).build(t, 0)
			b[22] |= 0x10
			return reseal(b)
		}, kafka.ErrInvalidTxnState},
		{"above max.message.bytes", func(c *LogConfig) { c.MaxMessageBytes = 100 }, func(t *testing.T) record.Batch { return plain(3).build(t, 0) }, kafka.ErrMessageTooLarge},
		{"above segment.bytes", func(c *LogConfig) { c.SegmentBytes = 100 }, func(t *testing.T) record.Batch { return plain(3).build(t, 0) }, kafka.ErrRecordListTooLarge},
		{"no key on a compacted topic", func(c *LogConfig) { c.Compact = true }, func(t *testing.T) record.Batch {
			s := plain(2)
			s.noKey = true
			return s.build(t, 0)
		}, kafka.ErrInvalidRecord},
		{"timestamp in the future", nil, func(t *testing.T) record.Batch {
			s := plain(1)
			s.timestampMs += 3_600_001
			return s.build(t, 0)
		}, kafka.ErrInvalidTimestamp},
		{"timestamp in the past", func(c *LogConfig) { c.TimestampBeforeMs = 10 }, func(t *testing.T) record.Batch {
			s := plain(1)
			s.timestampMs -= 11
			return s.build(t, 0)
		}, kafka.ErrInvalidTimestamp},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			config := testConfig()
			if c.config != nil {
				c.config(config)
			}
			_, l := openLogOn(t, newMem(t), config)
			_, err := produce(l, c.batch(t), 5, startMs)
			wantCode(t, err, c.want)
			if c.want != kafka.ErrNone {
				if l.LogEndOffset() != 0 || l.SizeBytes() != 0 {
					t.Fatal("a refused batch left something in the log")
				}
				mustProduce(t, l, idempotent(1, 0, 0, 1), 5) // and it left nothing in the producer state
			}
		})
	}
}

func TestAppendNamesTheRefusedRecords(t *testing.T) {
	t.Parallel()
	config := testConfig()
	config.Compact = true
	_, l := openLogOn(t, newMem(t), config)
	s := plain(3)
	s.noKey = true
	_, err := produce(l, s.build(t, 0), 0, startMs)
	refused, ok := errors.AsType[*record.RecordErrors](err)
	if !ok || len(refused.Records) != 3 || refused.Records[2].Index != 2 {
		t.Fatalf("got %v", err)
	}
}

func TestAppendAssignsOffsetsEpochAndTimestamps(t *testing.T) {
	t.Parallel()
	_, l := openLogOn(t, newMem(t), testConfig())
	mustProduce(t, l, plain(3), 4)
	b := plain(2).build(t, 0)
	binary.BigEndian.PutUint64(b[35:], 12345) // a wrong largest timestamp
	r, err := produce(l, reseal(b), 4, startMs)
	if err != nil || r.BaseOffset != 3 || r.LastOffset != 4 || r.LogAppendTimeMs != -1 {
		t.Fatalf("%+v, %v", r, err)
	}
	got := readAll(t, l)[1]
	if got.BaseOffset() != 3 || got.PartitionLeaderEpoch() != 4 || got.MaxTimestamp() != startMs+1 || got.CheckCRC() != nil {
		t.Fatalf("stored: offset %d, epoch %d, timestamp %d, %v", got.BaseOffset(), got.PartitionLeaderEpoch(), got.MaxTimestamp(), got.CheckCRC())
	}
}

func TestLogAppendTime(t *testing.T) {
	t.Parallel()
	config := testConfig()
	config.LogAppendTime = true
	_, l := openLogOn(t, newMem(t), config)
	s := idempotent(1, 0, 0, 2)
	s.timestampMs = 7 // far in the past: does not matter here
	sent := s.build(t, 0)
	again := append(record.Batch(nil), sent...)
	r, err := produce(l, sent, 0, startMs+500)
	if err != nil || r.LogAppendTimeMs != startMs+500 {
		t.Fatalf("%+v, %v", r, err)
	}
	b := readAll(t, l)[0]
	if !b.IsLogAppendTime() || b.MaxTimestamp() != startMs+500 || b.CheckCRC() != nil {
		t.Fatalf("stored with timestamp %d, %v", b.MaxTimestamp(), b.CheckCRC())
	}
	r, err = produce(l, again, 0, startMs+900)
	if err != nil || !r.Duplicate || r.LogAppendTimeMs != startMs+500 || r.BaseOffset != 0 || r.LastOffset != 1 {
		t.Fatalf("duplicate: %+v, %v", r, err)
	}
	at, found, err := l.OffsetForTimestamp(startMs+500, 2)
	if err != nil || !found || at.Offset != 0 || at.TimestampMs != startMs+500 {
		t.Fatalf("lookup: %+v %v %v", at, found, err)
	}
}

func TestRecompressionKeepsTheProducer(t *testing.T) {
	t.Parallel()
	config := testConfig()
	config.Recompress, config.Codec = true, record.CodecZstd
	_, l := openLogOn(t, newMem(t), config)
	s := idempotent(9, 2, 0, 6)
	s.codec = record.CodecGzip
	sent := s.build(t, 0)
	again := append(record.Batch(nil), sent...)
	if _, err := produce(l, sent, 0, startMs); err != nil {
		t.Fatal(err)
	}
	b := readAll(t, l)[0]
	if b.Codec() != record.CodecZstd || b.ProducerID() != 9 || b.ProducerEpoch() != 2 || b.BaseSequence() != 0 || b.Count() != 6 || b.CheckCRC() != nil {
		t.Fatalf("stored as %s, producer %d epoch %d sequence %d", b.Codec(), b.ProducerID(), b.ProducerEpoch(), b.BaseSequence())
	}
	if r, err := produce(l, again, 0, startMs); err != nil || !r.Duplicate {
		t.Fatalf("%+v, %v", r, err)
	}
}

func TestProducerErrorsReachTheClient(t *testing.T) {
	t.Parallel()
	_, l := openLogOn(t, newMem(t), testConfig())
	mustProduce(t, l, idempotent(1, 3, 0, 2), 0)
	_, err := produce(l, idempotent(1, 3, 5, 1).build(t, 0), 0, startMs)
	wantCode(t, err, kafka.ErrOutOfOrderSequenceNumber)
	_, err = produce(l, idempotent(1, 2, 2, 1).build(t, 0), 0, startMs)
	wantCode(t, err, kafka.ErrInvalidProducerEpoch)
	_, err = produce(l, idempotent(1, 4, 1, 1).build(t, 0), 0, startMs)
	wantCode(t, err, kafka.ErrOutOfOrderSequenceNumber)
	mustProduce(t, l, idempotent(1, 4, 0, 1), 0)
	if l.ProducerCount() != 1 {
		t.Fatalf("%d producers", l.ProducerCount())
	}
	l.ExpireProducers(startMs + 86_400_000)
	if l.ProducerCount() != 0 {
		t.Fatal("not expired")
	}
	mustProduce(t, l, idempotent(1, 4, 77, 1), 0) // forgotten: any sequence will do
}

func TestCoordinatorsAppendManyBatches(t *testing.T) {
	t.Parallel()
	_, l := openLogOn(t, newMem(t), testConfig())
	batches := append(plain(2).build(t, 0), plain(3).build(t, 0)...)
	r, err := l.Append(AppendRequest{Records: batches, LeaderEpoch: 1, Origin: OriginCoordinator, NowMs: startMs})
	if err != nil || r.BaseOffset != 0 || r.LastOffset != 4 {
		t.Fatalf("%+v, %v", r, err)
	}
	if all := readAll(t, l); len(all) != 2 || all[1].BaseOffset() != 2 {
		t.Fatalf("%d batches", len(all))
	}
}

func TestRoll(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		config func(c *LogConfig)
		gapMs  int64 // between the timestamps of two batches
		want   int   // segments after five batches
	}{
		{"large and slow enough", func(*LogConfig) {}, 0, 1},
		{"size", func(c *LogConfig) { c.SegmentBytes = 250 }, 0, 3},
		{"time", func(c *LogConfig) { c.SegmentMs = 1000 }, 600, 3},
		{"time counts from the first batch", func(c *LogConfig) { c.SegmentMs = 2000 }, 600, 2},
		{"indexes full", func(c *LogConfig) { c.IndexIntervalBytes, c.IndexMaxBytes = 1, 24 }, 0, 3},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			config := testConfig()
			config.SegmentMs = 1 << 40
			c.config(config)
			_, l := openLogOn(t, newMem(t), config)
			for i := range int64(5) {
				s := plain(1)
				s.timestampMs += i * c.gapMs
				mustProduce(t, l, s, 0)
			}
			if l.SegmentCount() != c.want {
				t.Fatalf("%d segments, want %d", l.SegmentCount(), c.want)
			}
			if len(readAll(t, l)) != 5 {
				t.Fatal("batches are missing")
			}
		})
	}
}
