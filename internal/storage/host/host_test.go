package host

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newManager(t *testing.T, mem *vfs.Mem, parallel func(int, func(int))) *storage.Manager {
	t.Helper()
	m, err := storage.OpenManager(storage.Options{
		FS: mem, Dirs: []string{"/data"}, Defaults: storage.DefaultLogConfig(), Metrics: metrics.NewRegistry(), Random: env.NewSeededRandom(1),
		Clock: env.SystemClock{}, ProducerExpirationMs: 86_400_000, OpenFilesPerDir: 100,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Load(storage.LoadOptions{NowMs: time.Now().UnixMilli(), Parallel: parallel}); err != nil {
		t.Fatal(err)
	}
	return m
}

func produce(t *testing.T, l *storage.Log) {
	t.Helper()
	b := record.NewBuilder(record.NoProducer(record.CodecNone))
	b.Append(time.Now().UnixMilli(), nil, []byte("value"), nil)
	batch, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	r, err := l.Append(storage.AppendRequest{Records: batch, Origin: storage.OriginClient, NowMs: time.Now().UnixMilli(), ProduceVersion: 9})
	if err != nil {
		t.Fatal(err)
	}
	l.AdvanceHighWatermark(r.LastOffset + 1)
}

func TestHostMaintainsTheLogs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		if err := mem.MkdirAll("/data"); err != nil {
			t.Fatal(err)
		}
		m := newManager(t, mem, nil)
		config := storage.DefaultLogConfig()
		config.RetentionMs = 60_000
		spawner := env.NewSpawner(context.Background(), nil)
		h := Start(Options{Manager: m, Clock: env.SystemClock{}, Spawner: spawner, RetentionInterval: 5 * time.Minute, LogStartInterval: time.Minute})
		l, err := m.GetOrCreate(kafka.TopicIDPartition{TopicID: kafka.UUID{1}, TopicPartition: kafka.TopicPartition{Topic: "t"}}, config, time.Now().UnixMilli())
		if err != nil {
			t.Fatal(err)
		}
		produce(t, l)
		sleep(context.Background(), 4*time.Second)
		synctest.Wait()
		if l.FlushedOffset() != 0 {
			t.Fatal("flushed too soon")
		}
		sleep(context.Background(), 3*time.Second)
		synctest.Wait()
		if l.FlushedOffset() != 1 {
			t.Fatal("not flushed after five seconds")
		}
		sleep(context.Background(), 5*time.Minute)
		synctest.Wait()
		if l.LogStartOffset() != 1 {
			t.Fatal("retention was not applied")
		}
		// Stopped, nothing happens any more.
		produce(t, l)
		h.Stop()
		sleep(context.Background(), time.Hour)
		if l.FlushedOffset() != 1 {
			t.Fatal("flushed after Stop")
		}
		spawner.Stop()
		if err := m.Shutdown(1); err != nil {
			t.Fatal(err)
		}
	})
}

// countingClock ends the test when it is asked for the time too often.
type countingClock struct {
	t     *testing.T
	stop  func()
	calls atomic.Int64
}

func (c *countingClock) Now() time.Time {
	if c.calls.Add(1) == 1000 {
		c.t.Error("the maintenance does not pause")
		c.stop()
	}
	return time.Now()
}

// TestIntervalOfZeroDoesNotSpin has the smallest value that the config accepts.
func TestIntervalOfZeroDoesNotSpin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		if err := mem.MkdirAll("/data"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		spawner := env.NewSpawner(ctx, nil)
		h := Start(Options{Manager: newManager(t, mem, nil), Clock: &countingClock{t: t, stop: cancel}, Spawner: spawner, RetentionInterval: time.Minute})
		sleep(context.Background(), 5*time.Second)
		h.Stop()
		spawner.Stop()
	})
}

func TestParallelDoesAllWork(t *testing.T) {
	t.Parallel()
	spawner := env.NewSpawner(context.Background(), nil)
	defer spawner.Stop()
	for _, count := range []int{0, 1, 3, 100} {
		var done atomic.Int64
		Parallel(spawner, 4)(count, func(i int) { done.Add(int64(i) + 1) })
		if want := int64(count * (count + 1) / 2); done.Load() != want {
			t.Fatalf("%d tasks: %d, want %d", count, done.Load(), want)
		}
	}
}
