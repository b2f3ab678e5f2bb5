package host

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/storage"
)

// startOn starts a host on fsys; config is that of the logs it creates.
func startOn(t *testing.T, fsys vfs.FS) (*storage.Manager, func()) {
	t.Helper()
	if err := fsys.MkdirAll("/data"); err != nil {
		t.Fatal(err)
	}
	m, err := storage.OpenManager(storage.Options{
		FS: fsys, Dirs: []string{"/data"}, Defaults: storage.DefaultLogConfig(), Metrics: metrics.NewRegistry(), Random: env.NewSeededRandom(1),
		Clock: env.SystemClock{}, ProducerExpirationMs: 86_400_000, OpenFilesPerDir: 100,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Load(storage.LoadOptions{NowMs: time.Now().UnixMilli()}); err != nil {
		t.Fatal(err)
	}
	spawner := env.NewSpawner(context.Background(), nil)
	h := Start(Options{Manager: m, Clock: env.SystemClock{}, Spawner: spawner, RetentionInterval: time.Hour, LogStartInterval: time.Hour})
	return m, func() { h.Stop(); spawner.Stop() }
}

func logWith(t *testing.T, m *storage.Manager, partition int32, change func(c *storage.LogConfig)) *storage.Log {
	t.Helper()
	config := storage.DefaultLogConfig()
	change(config)
	l, err := m.GetOrCreate(kafka.TopicIDPartition{TopicID: kafka.UUID{1}, TopicPartition: kafka.TopicPartition{Topic: "t", Partition: partition}}, config, time.Now().UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestCommitsAtOnceAndTogether: the first append is flushed without delay, what comes during its
// fsync is the next group, and that fsync keeps no append waiting.
func TestCommitsAtOnceAndTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var syncs atomic.Int64
		disk := make(chan struct{})
		m, stop := startOn(t, vfs.NewFault(vfs.NewMem(), func(op vfs.Op, _ string) error {
			if op == vfs.OpSync {
				syncs.Add(1)
				<-disk
			}
			return nil
		}))
		l := logWith(t, m, 0, func(c *storage.LogConfig) { c.FlushMessages = 1 })
		start := time.Now()
		produce(t, l)
		synctest.Wait()
		if syncs.Load() != 1 || l.CountedOffset() != 0 {
			t.Fatalf("%d syncs are under way, counted %d", syncs.Load(), l.CountedOffset())
		}
		for range 10 {
			produce(t, l)
		}
		disk <- struct{}{} // the records
		synctest.Wait()
		disk <- struct{}{} // the topic id, the first time
		synctest.Wait()
		if syncs.Load() != 3 || l.CountedOffset() != 1 {
			t.Fatalf("%d syncs, counted %d", syncs.Load(), l.CountedOffset())
		}
		disk <- struct{}{}
		synctest.Wait()
		if syncs.Load() != 3 || l.CountedOffset() != 11 || l.FlushedOffset() != 11 || time.Since(start) != 0 {
			t.Fatalf("%d syncs, counted %d, flushed %d after %s", syncs.Load(), l.CountedOffset(), l.FlushedOffset(), time.Since(start))
		}
		close(disk)
		stop()
	})
}

// TestGroupSyncsLogsTogether: the syncs of several logs that wait are under way at the same time.
func TestGroupSyncsLogsTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var syncs atomic.Int64
		disk := make(chan struct{})
		m, stop := startOn(t, vfs.NewFault(vfs.NewMem(), func(op vfs.Op, _ string) error {
			if op == vfs.OpSync {
				syncs.Add(1)
				<-disk
			}
			return nil
		}))
		logs := make([]*storage.Log, 1+commitWorkers)
		for i := range logs {
			logs[i] = logWith(t, m, int32(i), func(c *storage.LogConfig) { c.FlushMessages = 1 })
		}
		produce(t, logs[0])
		synctest.Wait()
		if n := syncs.Load(); n != 1 {
			t.Fatalf("%d syncs are under way", n)
		}
		for _, l := range logs[1:] { // the next group
			produce(t, l)
		}
		for i := range logs {
			for logs[i].CountedOffset() == 0 {
				disk <- struct{}{}
				synctest.Wait()
				if n := syncs.Load(); i > 0 && n < commitWorkers {
					t.Fatalf("%d syncs", n)
				}
			}
		}
		close(disk)
		stop()
	})
}

func TestFlushMs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, stop := startOn(t, vfs.NewMem())
		slow := logWith(t, m, 0, func(c *storage.LogConfig) { c.FlushMs = 900 })
		fast := logWith(t, m, 1, func(c *storage.LogConfig) { c.FlushMs = 200 })
		produce(t, slow)
		produce(t, fast)
		if slow.CountedOffset() != 1 || fast.CountedOffset() != 1 {
			t.Fatal("flush.ms holds records back")
		}
		sleep(context.Background(), 199*time.Millisecond)
		produce(t, fast)
		if fast.FlushedOffset() != 0 {
			t.Fatal("flushed too early")
		}
		sleep(context.Background(), 2*time.Millisecond)
		synctest.Wait()
		if fast.FlushedOffset() != 2 || slow.FlushedOffset() != 0 {
			t.Fatalf("flushed %d and %d", fast.FlushedOffset(), slow.FlushedOffset())
		}
		soon := *slow.Config()
		soon.FlushMs = 0
		slow.UpdateConfig(&soon)
		synctest.Wait()
		if slow.FlushedOffset() != 1 {
			t.Fatal("a new flush.ms does not count for what is unflushed")
		}
		stop()
	})
}
