package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage"
	"github.com/moldau/moldau/internal/storage/checkpoint"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(m.Run())
}

const startMs = int64(1_700_000_000_000)

// dataFolder makes /data with a log of several segments, compacted if asked, and shuts down.
func dataFolder(t *testing.T, compact, clean bool) *vfs.Mem {
	t.Helper()
	mem := vfs.NewMem()
	if err := mem.MkdirAll("/data"); err != nil {
		t.Fatal(err)
	}
	config := storage.DefaultLogConfig()
	config.SegmentBytes, config.IndexIntervalBytes, config.Compact, config.MinCleanableRatio = 2000, 100, compact, 0
	m, err := storage.OpenManager(storage.Options{FS: mem, Dirs: []string{"/data"}, Defaults: config, Metrics: metrics.NewRegistry(), Random: env.NewSeededRandom(1),
		Clock: env.NewManualClock(time.UnixMilli(startMs)), ProducerExpirationMs: 86_400_000, OpenFilesPerDir: 100})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Load(storage.LoadOptions{NowMs: startMs}); err != nil {
		t.Fatal(err)
	}
	l, err := m.GetOrCreate(kafka.TopicIDPartition{TopicID: kafka.UUID{1}, TopicPartition: kafka.TopicPartition{Topic: "t"}}, config, startMs)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		o := record.NoProducer(record.Codec(i % 5))
		o.ProducerID, o.ProducerEpoch, o.BaseSequence = 7, 0, int32(2*i)
		b := record.NewBuilder(o)
		for j := range 2 {
			b.Append(startMs+int64(i), fmt.Appendf(nil, "k%d", (i+j)%9), []byte("some value to fill the segments"), nil)
		}
		batch, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Append(storage.AppendRequest{Records: batch, LeaderEpoch: int32(i / 20), Origin: storage.OriginClient, NowMs: startMs, ProduceVersion: 9}); err != nil {
			t.Fatal(err)
		}
		l.AdvanceHighWatermark(math.MaxInt64)
	}
	if !compact {
		appendTransactions(t, l)
	}
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	if compact {
		if _, err := m.CleanDirtiest(storage.CleanOptions{NowMs: startMs, MapBytes: 1 << 20, MapLoadFactor: 0.9, BufferBytes: 1 << 10, Throttle: func(int) error { return nil }}); err != nil {
			t.Fatal(err)
		}
		if err := m.RemoveDeleted(math.MaxInt64); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.FlushDir(0, startMs+60_000); err != nil {
		t.Fatal(err)
	}
	if clean {
		if err := m.Shutdown(1); err != nil {
			t.Fatal(err)
		}
	}
	err = checkpoint.WriteMetaProperties(mem, "/data/meta.properties", checkpoint.MetaProperties{ClusterID: "c", NodeID: 1, DirectoryID: kafka.UUID{9}})
	if err != nil {
		t.Fatal(err)
	}
	return mem
}

func audited(t *testing.T, fsys vfs.FS) (report string, problems bool) {
	t.Helper()
	var lines []string
	err := Run(context.Background(), fsys, "/data", func(line string) { lines = append(lines, line) }, func(int, int) {})
	if err != nil && !errors.Is(err, ErrProblems) {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n"), err != nil
}

func TestGoodDataHasNoProblems(t *testing.T) {
	t.Parallel()
	for _, compact := range []bool{false, true} {
		for _, clean := range []bool{false, true} {
			if report, problems := audited(t, dataFolder(t, compact, clean)); problems || !strings.Contains(report, "1 partitions") {
				t.Errorf("compact %v, clean %v:\n%s", compact, clean, report)
			}
		}
	}
}

// TestEveryFlippedBitIsFound flips one bit after the other: in whole files, except for what no
// sum covers in a batch (its base offset and leader epoch, which order and epochs bound only).
func TestEveryFlippedBitIsFound(t *testing.T) {
	t.Parallel()
	mem := dataFolder(t, false, true)
	entries, err := mem.ReadDir("/data/t-0")
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, e := range entries {
		path := filepath.Join("/data/t-0", e.Name())
		suffix := filepath.Ext(path)
		if suffix != ".log" && suffix != ".index" && suffix != ".snapshot" {
			continue
		}
		data, err := vfs.ReadFile(mem, path, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		covered := coveredBytes(t, data, suffix)
		for position := 0; position < len(data); position += 7 {
			if !covered[position] {
				continue
			}
			tried++
			f, err := mem.Open(path, true)
			if err != nil {
				t.Fatal(err)
			}
			flip := func(bit byte) {
				if _, err := f.WriteAt([]byte{data[position] ^ bit}, int64(position)); err != nil {
					t.Fatal(err)
				}
			}
			flip(1 << (position % 8))
			report, problems := audited(t, mem)
			if !problems || !strings.Contains(report, path) {
				t.Fatalf("%s: the bit at position %d is not found:\n%s", path, position, report)
			}
			flip(0)
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if tried < 200 {
		t.Fatalf("only %d bits were flipped", tried)
	}
	if report, problems := audited(t, mem); problems {
		t.Fatalf("after all was mended:\n%s", report)
	}
}

func coveredBytes(t *testing.T, data []byte, suffix string) []bool {
	t.Helper()
	covered := make([]bool, len(data))
	for i := range covered {
		covered[i] = suffix != ".index" || i%8 >= 4 // positions; an offset may be any of its batch or above
	}
	if suffix != ".log" {
		return covered
	}
	for rest := data; len(rest) > 0; {
		b, next, err := record.Next(rest)
		if err != nil {
			t.Fatal(err)
		}
		at := len(data) - len(rest)
		for i := range 8 {
			covered[at+i] = false
		}
		for i := 12; i < 16; i++ {
			covered[at+i] = false
		}
		rest = next
		_ = b
	}
	return covered
}

func TestMissingRecordsAreFound(t *testing.T) {
	t.Parallel()
	mem := dataFolder(t, false, true)
	entries, err := mem.ReadDir("/data/t-0")
	if err != nil {
		t.Fatal(err)
	}
	var last string
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ".log" {
			last = filepath.Join("/data/t-0", e.Name())
		}
	}
	if err := mem.Remove(last); err != nil {
		t.Fatal(err)
	}
	if report, problems := audited(t, mem); !problems || !strings.Contains(report, "flushed records are missing") {
		t.Fatal(report)
	}
}

func TestTornTailIsNoDamage(t *testing.T) {
	t.Parallel()
	for _, clean := range []bool{false, true} {
		mem := dataFolder(t, false, clean)
		entries, err := mem.ReadDir("/data/t-0")
		if err != nil {
			t.Fatal(err)
		}
		var last string
		for _, e := range entries {
			if filepath.Ext(e.Name()) == ".log" {
				last = filepath.Join("/data/t-0", e.Name())
			}
		}
		f, err := mem.Open(last, true)
		if err != nil {
			t.Fatal(err)
		}
		size, err := f.Size()
		if err == nil {
			_, err = f.WriteAt(make([]byte, 30), size)
		}
		if err != nil {
			t.Fatal(err)
		}
		report, problems := audited(t, mem)
		if problems != clean || !strings.Contains(report, last) {
			t.Fatalf("clean %v:\n%s", clean, report)
		}
	}
}

func TestRunningBrokersDataIsRefused(t *testing.T) {
	t.Parallel()
	mem := dataFolder(t, false, true)
	lock, err := mem.Lock("/data/.lock")
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	err = Run(context.Background(), mem, "/data", func(string) {}, func(int, int) {})
	if err == nil || errors.Is(err, ErrProblems) || !strings.Contains(err.Error(), "running broker") {
		t.Fatalf("%v", err)
	}
	if err := Run(context.Background(), mem, "/nowhere", func(string) {}, func(int, int) {}); err == nil || errors.Is(err, ErrProblems) {
		t.Fatalf("a folder that is not there: %v", err)
	}
}
