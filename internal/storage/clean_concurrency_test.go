package storage

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
)

// TestCompactionBesideEverythingElse compacts while others append, read, flush and delete: no
// reader gets an error or stale bytes, and the newest record of every key stays.
func TestCompactionBesideEverythingElse(t *testing.T) {
	t.Parallel()
	config := testConfig()
	config.Compact, config.Delete, config.MinCleanableRatio, config.FileDeleteDelayMs = true, false, 0, 0
	m, l := openLogOn(t, newMem(t), config)
	const batches, keys = 2000, 17
	var done atomic.Bool
	var all sync.WaitGroup
	beside := func(what string, do func() error) {
		all.Go(func() {
			for !done.Load() {
				if err := do(); err != nil {
					t.Errorf("%s: %v", what, err)
					return
				}
			}
		})
	}
	beside("compact", func() error {
		_, err := m.CleanDirtiest(CleanOptions{NowMs: startMs, MapBytes: 1 << 16, MapLoadFactor: 0.9, BufferBytes: 512, Throttle: func(int) error { return nil }})
		return err
	})
	beside("flush", l.Flush)
	beside("remove", func() error { return m.RemoveDeleted(math.MaxInt64) })
	beside("read", func() error {
		_, err := readAllOf(l)
		if kafka.CodeOf(err) == kafka.ErrOffsetOutOfRange {
			return nil // the log start moved meanwhile
		}
		return err
	})
	beside("look up", func() error { _, _, err := l.OffsetForTimestamp(startMs, l.HighWatermark()); return err })
	newest := map[string]int64{}
	for i := range int64(batches) {
		b := record.NewBuilder(record.NoProducer(record.CodecNone))
		key := fmt.Sprintf("k%d", i*7%keys)
		b.Append(startMs, []byte(key), []byte("value value value value"), nil)
		batch, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		r, err := produce(l, batch, 0, startMs)
		if err != nil {
			t.Fatal(err)
		}
		newest[key] = r.BaseOffset
		l.AdvanceHighWatermark(r.LastOffset + 1)
		if i == batches/2 {
			if err := l.AdvanceLogStartOffset(100); err != nil {
				t.Fatal(err)
			}
			if _, err := m.CleanupRetention(startMs); err != nil {
				t.Fatal(err)
			}
		}
	}
	done.Store(true)
	all.Wait()
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.CleanDirtiest(CleanOptions{NowMs: startMs, MapBytes: 1 << 16, MapLoadFactor: 0.9, BufferBytes: 512, Throttle: func(int) error { return nil }}); err != nil {
		t.Fatal(err)
	}
	there := map[int64]bool{}
	for _, b := range readAll(t, l) {
		there[b.BaseOffset()] = there[b.BaseOffset()] || b.Count() > 0
	}
	for key, offset := range newest {
		if !there[offset] {
			t.Errorf("the newest record of %s at %d is gone", key, offset)
		}
	}
	if l.CleanedOffset() == 0 || len(there) > batches/2 {
		t.Fatalf("hardly compacted: to %d, %d batches are left", l.CleanedOffset(), len(there))
	}
}

// TestFailedDirIsAlone takes one of two log dirs offline: it is described as failed, its logs
// answer KAFKA_STORAGE_ERROR, and the other goes on, compaction included.
func TestFailedDirIsAlone(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	if err := mem.MkdirAll("/more"); err != nil {
		t.Fatal(err)
	}
	config := testConfig()
	o := testOptions(mem, config)
	o.Dirs = []string{testDir, "/more"}
	m, err := OpenManager(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Load(LoadOptions{NowMs: startMs}); err != nil {
		t.Fatal(err)
	}
	var logs []*Log
	for i := range int32(2) {
		tp := testTP
		tp.Partition = i
		l, err := m.GetOrCreate(tp, config, startMs)
		if err != nil {
			t.Fatal(err)
		}
		mustProduce(t, l, plain(2), 0)
		logs = append(logs, l)
	}
	if logs[0].Dir() == logs[1].Dir() {
		t.Fatal("both logs are in one dir")
	}
	failed, other := logs[0], logs[1]
	failed.dir.fail(fmt.Errorf("the disk is gone"))
	_, err = produce(failed, plain(1).build(t, 1), 0, startMs)
	wantCode(t, err, kafka.ErrKafkaStorageError)
	mustProduce(t, other, plain(1), 0)
	if err := m.CheckpointHighWatermarks(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.CleanDirtiest(CleanOptions{NowMs: startMs, Throttle: func(int) error { return nil }}); err != nil {
		t.Fatal(err)
	}
	for _, d := range m.DescribeDirs(func(kafka.TopicPartition) bool { return true }) {
		if isFailed := strings.HasSuffix(d.Path, failed.Dir()); isFailed != (kafka.CodeOf(d.Err) == kafka.ErrKafkaStorageError) || isFailed == (len(d.Logs) == 1) {
			t.Errorf("%s: %v, %d logs", d.Path, d.Err, len(d.Logs))
		}
	}
}
