package host

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/storage"
)

// Intervals of the passes that no config sets.
const (
	flushCheckInterval    = time.Second // a pass looks at dirty logs only
	highWatermarkInterval = 5 * time.Second
	removalInterval       = time.Second
	spaceInterval         = time.Second // storage counts what is appended in between
	idleFilesInterval     = time.Minute
	producerCheckInterval = 10 * time.Minute
	// leastInterval is what a config of 0 comes to.
	leastInterval = 100 * time.Millisecond
)

// Options configure a Host.
type Options struct {
	Manager *storage.Manager
	Clock   env.Clock
	Spawner *env.Spawner
	// RetentionInterval is log.retention.check.interval.ms.
	RetentionInterval time.Duration
	// LogStartInterval is log.flush.start.offset.checkpoint.interval.ms.
	LogStartInterval time.Duration
}

// Host owns the maintenance goroutines of a storage.Manager.
type Host struct {
	o    Options
	ctx  context.Context
	stop context.CancelFunc
	done sync.WaitGroup
}

// Start begins the maintenance of loaded logs.
func Start(o Options) *Host {
	ctx, cancel := context.WithCancel(o.Spawner.Context())
	h := &Host{o: o, ctx: ctx, stop: cancel}
	m := o.Manager
	for i := range m.DirCount() {
		h.spawn(ctx, "storage-flush-"+strconv.Itoa(i), pass{flushCheckInterval, "flush dirty logs", func(nowMs int64) error {
			return m.FlushDir(i, nowMs)
		}})
	}
	h.spawn(ctx, "storage-checkpoint",
		pass{highWatermarkInterval, "write high watermarks", func(int64) error { return m.CheckpointHighWatermarks() }},
		pass{o.LogStartInterval, "write log start offsets", func(int64) error { return m.CheckpointLogStartOffsets() }},
	)
	h.spawn(ctx, "storage-retention",
		pass{removalInterval, "remove deleted data", m.RemoveDeleted},
		pass{spaceInterval, "look at the free space", func(int64) error { return m.CheckSpace() }},
		pass{o.RetentionInterval, "apply retention", func(nowMs int64) error {
			_, err := m.CleanupRetention(nowMs)
			return err
		}},
		pass{idleFilesInterval, "close idle files", func(int64) error {
			m.CloseIdleFiles()
			return nil
		}},
		pass{producerCheckInterval, "expire producers", func(nowMs int64) error {
			m.ExpireProducers(nowMs)
			return nil
		}},
	)
	h.startCommits()
	return h
}

// Stop ends the maintenance and waits for passes under way. Manager.Shutdown comes after it.
func (h *Host) Stop() {
	h.stop()
	h.done.Wait()
}

// pass is something to do again and again.
type pass struct {
	every time.Duration
	name  string
	run   func(nowMs int64) error
}

// spawn starts one goroutine that runs the passes, each at its own pace. Errors are logged:
// storage has taken the log dir offline, and the next pass skips it.
func (h *Host) spawn(ctx context.Context, name string, passes ...pass) {
	h.done.Add(1)
	h.o.Spawner.Go(name, func(context.Context) {
		defer h.done.Done()
		due := make([]time.Time, len(passes))
		start := h.o.Clock.Now()
		for i := range passes {
			passes[i].every = max(passes[i].every, leastInterval)
			due[i] = start.Add(passes[i].every)
		}
		timer := time.NewTimer(0)
		defer timer.Stop()
		for {
			now := h.o.Clock.Now()
			next := now.Add(time.Hour)
			for i, p := range passes {
				if !due[i].After(now) && ctx.Err() == nil {
					if err := p.run(now.UnixMilli()); err != nil {
						slog.Error("storage maintenance failed", "pass", p.name, "error", err)
					}
					due[i] = now.Add(p.every)
				}
				if due[i].Before(next) {
					next = due[i]
				}
			}
			timer.Reset(next.Sub(now))
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
		}
	})
}

// Parallel returns what storage.LoadOptions.Parallel wants: work is done by up to workers
// goroutines of spawner, num.recovery.threads.per.data.dir times the log dirs.
func Parallel(spawner *env.Spawner, workers int) func(count int, work func(i int)) {
	return spawned(spawner, "storage-load", workers)
}

// spawned returns a function that has work done by up to workers goroutines, which end with it.
func spawned(spawner *env.Spawner, name string, workers int) func(count int, work func(i int)) {
	return func(count int, work func(i int)) {
		var next atomic.Int64
		var done sync.WaitGroup
		for w := range min(workers, count) {
			done.Add(1)
			spawner.Go(name+"-"+strconv.Itoa(w), func(context.Context) {
				defer done.Done()
				for {
					i := int(next.Add(1)) - 1
					if i >= count {
						return
					}
					work(i)
				}
			})
		}
		done.Wait()
	}
}
