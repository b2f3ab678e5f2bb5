package host

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage"
)

// compactable makes a log of many closed segments with few keys.
func compactable(t *testing.T, m *storage.Manager) *storage.Log {
	t.Helper()
	config := storage.DefaultLogConfig()
	config.Compact, config.Delete, config.SegmentBytes = true, false, 4096
	l, err := m.GetOrCreate(kafka.TopicIDPartition{TopicID: kafka.UUID{1}, TopicPartition: kafka.TopicPartition{Topic: "t"}}, config, time.Now().UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 400 {
		b := record.NewBuilder(record.NoProducer(record.CodecNone))
		b.Append(time.Now().UnixMilli(), fmt.Appendf(nil, "k%d", i%3), make([]byte, 200), nil)
		batch, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Append(storage.AppendRequest{Records: batch, Origin: storage.OriginInternal, NowMs: time.Now().UnixMilli()}); err != nil {
			t.Fatal(err)
		}
	}
	l.AdvanceHighWatermark(l.LogEndOffset())
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	return l
}

// compacting is a host, until the test ends, with one log in which there is much to compact.
func compacting(t *testing.T) (h *Host, l *storage.Log, mem *vfs.Mem) {
	t.Helper()
	mem = vfs.NewMem()
	if err := mem.MkdirAll("/data"); err != nil {
		t.Fatal(err)
	}
	m := newManager(t, mem, nil)
	l = compactable(t, m)
	spawner := env.NewSpawner(context.Background(), nil)
	h = Start(Options{Manager: m, Clock: env.SystemClock{}, Spawner: spawner, RetentionInterval: time.Hour, LogStartInterval: time.Hour})
	t.Cleanup(func() {
		h.Stop()
		spawner.Stop()
		if err := m.Shutdown(1); err != nil {
			t.Error(err)
		}
	})
	return h, l, mem
}

func TestCleanersCompactAtTheirPace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, l, _ := compacting(t)
		size := l.SizeBytes()
		rate := float64(size) / 10 // the round reads everything twice: more than ten seconds
		h.StartCleaners(func() CleanerLimits {
			return CleanerLimits{Threads: 1, MapBytes: 1 << 20, MapLoadFactor: 0.9, BufferBytes: 4096, MaxBytesPerSecond: rate, Backoff: time.Second}
		})
		sleep(context.Background(), 10*time.Second)
		synctest.Wait()
		if l.CleanedOffset() != 0 {
			t.Fatal("compaction was faster than its limit")
		}
		sleep(context.Background(), 30*time.Second)
		synctest.Wait()
		if l.CleanedOffset() == 0 || l.SizeBytes() > size/4 {
			t.Fatalf("not compacted: %d of %d bytes are left, cleaned to %d", l.SizeBytes(), size, l.CleanedOffset())
		}
	})
}

// TestStopEndsACompaction stops the host in the middle of a slow round, which then begins anew.
func TestStopEndsACompaction(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, l, mem := compacting(t)
		h.StartCleaners(func() CleanerLimits {
			return CleanerLimits{Threads: 1, MapBytes: 1 << 20, MapLoadFactor: 0.9, BufferBytes: 4096, MaxBytesPerSecond: 1000, Backoff: time.Second}
		})
		sleep(context.Background(), 150*time.Second)
		h.Stop()
		if l.CleanedOffset() != 0 {
			t.Fatal("a round that was ended counts as done")
		}
		entries, err := mem.ReadDir("/data/t-0")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if len(e.Name()) > 8 && e.Name()[len(e.Name())-8:] == ".cleaned" {
				t.Fatalf("%s was left behind", e.Name())
			}
		}
	})
}

// TestLimitsChangeWhileCompactionRuns changes log.cleaner.threads and log.cleaner.io.max.bytes.per.second
// in the middle of a round that would last for hours.
func TestLimitsChangeWhileCompactionRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, l, _ := compacting(t)
		var limits atomic.Pointer[CleanerLimits]
		limits.Store(&CleanerLimits{Threads: 1, MapBytes: 1 << 20, MapLoadFactor: 0.9, BufferBytes: 4096, MaxBytesPerSecond: 10, Backoff: time.Hour})
		c := &cleaners{host: h, limits: func() CleanerLimits { return *limits.Load() }}
		c.adjust(*limits.Load())
		running := func() (n int) {
			c.mu.Lock()
			defer c.mu.Unlock()
			for _, r := range c.running {
				if r {
					n++
				}
			}
			return n
		}
		change := func(threads int, rate float64) {
			next := *limits.Load()
			next.Threads, next.MaxBytesPerSecond = threads, rate
			limits.Store(&next)
			sleep(context.Background(), 10*time.Second)
			synctest.Wait()
		}
		change(3, 10)
		if running() != 3 || l.CleanedOffset() != 0 {
			t.Fatalf("%d goroutines, cleaned to %d", running(), l.CleanedOffset())
		}
		change(1, 1e12)
		if running() != 1 || l.CleanedOffset() == 0 {
			t.Fatalf("%d goroutines, cleaned to %d", running(), l.CleanedOffset())
		}
	})
}
