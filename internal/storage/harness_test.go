package storage

import (
	"encoding/binary"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"os"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/record"
)

const (
	testDir = "/data"
	startMs = int64(1_700_000_000_000)
)

var testTP = kafka.TopicIDPartition{TopicID: kafka.UUID{1, 2, 3}, TopicPartition: kafka.TopicPartition{Topic: "events", Partition: 0}}

// testConfig is small enough that a few batches fill a segment.
func testConfig() *LogConfig {
	c := DefaultLogConfig()
	c.SegmentBytes, c.IndexIntervalBytes, c.IndexMaxBytes = 2000, 200, 1200
	c.RetentionMs, c.SegmentMs = -1, math.MaxInt64
	return c
}

func newMem(t testing.TB) *vfs.Mem {
	t.Helper()
	mem := vfs.NewMem()
	if err := mem.MkdirAll(testDir); err != nil {
		t.Fatal(err)
	}
	if err := mem.SyncDir("/"); err != nil {
		t.Fatal(err)
	}
	return mem
}

func testOptions(fsys vfs.FS, config *LogConfig) Options {
	return Options{
		FS: fsys, Dirs: []string{testDir}, Defaults: config, Metrics: metrics.NewRegistry(),
		Random: env.NewSeededRandom(1), Clock: env.NewManualClock(time.UnixMilli(startMs)),
		ProducerExpirationMs: 86_400_000, OpenFilesPerDir: 100,
	}
}

// open loads what fsys holds.
func open(t testing.TB, fsys vfs.FS, config *LogConfig) *Manager {
	t.Helper()
	m, err := OpenManager(testOptions(fsys, config))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Load(LoadOptions{NowMs: startMs}); err != nil {
		t.Fatal(err)
	}
	return m
}

// openLogOn opens fsys and returns the log of testTP, created if it is not there.
func openLogOn(t testing.TB, fsys vfs.FS, config *LogConfig) (*Manager, *Log) {
	t.Helper()
	m, l, err := tryOpen(fsys, config)
	if err != nil {
		t.Fatal(err)
	}
	return m, l
}

func tryOpen(fsys vfs.FS, config *LogConfig) (*Manager, *Log, error) {
	m, err := OpenManager(testOptions(fsys, config))
	if err == nil {
		err = m.Load(LoadOptions{NowMs: startMs})
	}
	if err != nil {
		return nil, nil, err
	}
	l, err := m.GetOrCreate(testTP, config, startMs)
	return m, l, err
}

// batchSpec describes a batch as a client sends it.
type batchSpec struct {
	producerID  int64
	epoch       int16
	sequence    int32
	codec       record.Codec
	timestampMs int64
	records     int
	valueBytes  int
	noKey       bool
}

func plain(records int) batchSpec {
	return batchSpec{producerID: kafka.NoProducerID, epoch: -1, sequence: -1, timestampMs: startMs, records: records, valueBytes: 20}
}

func idempotent(producerID int64, epoch int16, sequence int32, records int) batchSpec {
	s := plain(records)
	s.producerID, s.epoch, s.sequence = producerID, epoch, sequence
	return s
}

func (s batchSpec) build(t testing.TB, seed uint64) record.Batch {
	t.Helper()
	b := record.NewBuilder(record.BuilderOptions{Codec: s.codec, LeaderEpoch: -1, ProducerID: s.producerID, ProducerEpoch: s.epoch, BaseSequence: s.sequence})
	for i := range s.records {
		value := make([]byte, max(8, s.valueBytes))
		binary.BigEndian.PutUint64(value, seed+uint64(i))
		key := fmt.Appendf(nil, "key-%d", i)
		if s.noKey {
			key = nil
		}
		b.Append(s.timestampMs+int64(i), key, value, nil)
	}
	batch, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

func produce(l *Log, b record.Batch, leaderEpoch int32, nowMs int64) (AppendResult, error) {
	return l.Append(AppendRequest{Records: b, LeaderEpoch: leaderEpoch, Origin: OriginClient, NowMs: nowMs, ProduceVersion: 9})
}

func mustProduce(t testing.TB, l *Log, s batchSpec, leaderEpoch int32) AppendResult {
	t.Helper()
	r, err := produce(l, s.build(t, uint64(l.LogEndOffset())), leaderEpoch, startMs)
	if err != nil {
		t.Fatal(err)
	}
	l.AdvanceHighWatermark(l.LogEndOffset())
	return r
}

// The model tests go through more seeds where they are asked to: see the Makefile's model.
var (
	seedsFlag = flag.Int("storage.seeds", 0, "how many seeds each model test runs, instead of its own number")
	seedFlag  = flag.Uint64("storage.seed", 0, "the first seed")
)

// eachSeed runs a model test with its seeds.
func eachSeed(seeds int, run func(seed uint64)) {
	if testing.Short() {
		seeds = (seeds + 3) / 4
	}
	if *seedsFlag > 0 {
		seeds = *seedsFlag
	}
	for i := range uint64(seeds) {
		run(*seedFlag + i)
	}
}

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // restarts by the hundred would drown the failures
	os.Exit(m.Run())
}

// readAll returns every batch from the log start to the log end.
func readAll(t testing.TB, l *Log) []record.Batch {
	t.Helper()
	all, err := readAllOf(l)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func readAllOf(l *Log) (all []record.Batch, err error) {
	for offset := l.LogStartOffset(); offset < l.LogEndOffset(); {
		r, err := l.Read(ReadRequest{Offset: offset, MaxBytes: 1 << 20, MinOneBatch: true, UpTo: math.MaxInt64})
		if err != nil {
			return nil, err
		}
		if len(r.Records) == 0 {
			return nil, fmt.Errorf("nothing to read at %d, the log ends at %d", offset, l.LogEndOffset())
		}
		for rest := r.Records; len(rest) > 0; {
			b, next, err := record.Next(rest)
			if err != nil {
				return nil, err
			}
			all = append(all, b)
			offset, rest = b.NextOffset(), next
		}
	}
	return all, nil
}

func wantCode(t testing.TB, err error, want kafka.ErrorCode) {
	t.Helper()
	if kafka.CodeOf(err) != want {
		t.Fatalf("error %v, want code %s", err, want)
	}
}
