package coordinator

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/shard"
)

// fixture is a runtime of noteShards over a memLog, inside a synctest bubble.
type fixture struct {
	t       *testing.T
	log     *memLog
	clock   *settableClock
	runtime *Runtime[*noteShard]
	spawner *env.Spawner
	dropped int
	metrics *metrics.Registry
}

var testTP = kafka.TopicPartition{Topic: "__notes", Partition: 0}

func withRuntime(t *testing.T, f func(f *fixture)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fx := &fixture{t: t, log: newMemLog(), clock: &settableClock{}, metrics: metrics.NewRegistry()}
		fx.spawner = env.NewSpawner(t.Context(), func(name string, err error) { t.Errorf("%s: %v", name, err) })
		fx.runtime = NewRuntime(RuntimeOptions{
			Name: "note", Topic: testTP.Topic, Log: fx.log, Clock: fx.clock, SteadyMs: sinceNow(), Spawner: fx.spawner, Metrics: fx.metrics,
			Workers: 2, MaxBatchSizeBytes: func() int32 { return 1_000 },
		}, func() *noteShard { return &noteShard{deadline: shard.NoDeadline, dropped: &fx.dropped} })
		fx.runtime.Start()
		defer fx.spawner.Stop()
		f(fx)
	})
}

// outcome is what became of a call that runs by itself.
type outcome struct{ result atomic.Pointer[result] }

type result struct {
	value any
	err   error
	done  bool
}

func (o *outcome) get() result {
	if r := o.result.Load(); r != nil {
		return *r
	}
	return result{}
}

// call runs a step in the background; its outcome is settled after synctest.Wait.
func (f *fixture) call(ctx context.Context, step Step[*noteShard]) *outcome {
	o := &outcome{}
	go func() {
		value, err := f.runtime.Do(ctx, 0, step)
		o.result.Store(&result{value, err, true})
	}()
	return o
}

// pass lets virtual time pass.
func (f *fixture) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (f *fixture) elect(epoch int32) {
	f.log.set(func() { f.log.epoch = epoch })
	f.runtime.Elect(0, epoch)
	synctest.Wait()
}

// must runs a step and returns the notes that it answers with.
func (f *fixture) must(step Step[*noteShard]) string {
	f.t.Helper()
	value, err := f.runtime.Do(f.t.Context(), 0, step)
	if err != nil {
		f.t.Fatal(err)
	}
	return strings.Join(value.([]string), " ")
}

func (f *fixture) fails(step Step[*noteShard], want kafka.ErrorCode) {
	f.t.Helper()
	if _, err := f.runtime.Do(f.t.Context(), 0, step); kafka.CodeOf(err) != want {
		f.t.Fatalf("error %v, want %v", err, want)
	}
}

func TestNotCoordinator(t *testing.T) {
	withRuntime(t, func(f *fixture) {
		f.fails(note("a"), kafka.ErrNotCoordinator)
		f.elect(1)
		if got := f.must(note("a")); got != "a" {
			t.Errorf("notes %q", got)
		}
		f.runtime.Resign(0)
		f.fails(note("b"), kafka.ErrNotCoordinator)
		synctest.Wait()
		if f.dropped != 1 {
			t.Errorf("%d shards dropped, want 1", f.dropped)
		}
	})
}

func TestStateSurvivesAnElection(t *testing.T) {
	withRuntime(t, func(f *fixture) {
		f.elect(1)
		f.must(note("a", "b"))
		f.elect(1) // the same epoch changes nothing
		f.must(note("c"))
		if f.dropped != 0 {
			t.Fatal("the shard was dropped")
		}
		f.elect(2)
		if got := f.must(note()); got != "a b c" || f.dropped != 1 {
			t.Errorf("notes %q, %d dropped", got, f.dropped)
		}
	})
}

func TestRefusedWhileLoading(t *testing.T) {
	withRuntime(t, func(f *fixture) {
		f.elect(1)
		f.must(note("a"))
		f.log.set(func() { f.log.reading = make(chan struct{}) })
		f.elect(2)
		f.fails(note("b"), kafka.ErrCoordinatorLoadInProgress)
		f.runtime.Broadcast(note("broadcast")) // waits for the load
		close(f.log.reading)
		synctest.Wait()
		if got := f.must(note()); got != "a broadcast" {
			t.Errorf("notes %q", got)
		}
	})
}

func TestResponsesWaitForTheHighWatermark(t *testing.T) {
	withRuntime(t, func(f *fixture) {
		f.log.manual = true
		f.elect(1)
		write := f.call(f.t.Context(), note("a"))
		synctest.Wait()
		read := f.call(f.t.Context(), note()) // sees a, so it must not be answered before a is safe
		synctest.Wait()
		if write.get().done || read.get().done {
			t.Fatal("answered before the high watermark covers the append")
		}
		f.log.commit()
		synctest.Wait()
		if !write.get().done || write.get().err != nil || !read.get().done || fmt.Sprint(read.get().value) != "[a]" {
			t.Fatalf("after the commit: write %+v, read %+v", write.get(), read.get())
		}
		// A loaded shard answers once everything that it has read is committed.
		f.call(f.t.Context(), note("b"))
		synctest.Wait()
		f.log.lose(2)
		f.elect(2)
		read = f.call(f.t.Context(), note())
		synctest.Wait()
		if read.get().done {
			t.Fatal("answered with records that are not committed")
		}
		f.log.commit()
		synctest.Wait()
		if fmt.Sprint(read.get().value) != "[a b]" {
			t.Fatalf("read %+v", read.get())
		}
	})
}

func TestQueuedRequestsShareABatch(t *testing.T) {
	withRuntime(t, func(f *fixture) {
		f.elect(1)
		f.log.set(func() { f.log.gate = make(chan struct{}) })
		var calls []*outcome
		for i := range 10 {
			calls = append(calls, f.call(f.t.Context(), note(fmt.Sprint(i))))
			synctest.Wait() // the first waits in Append, the others in the queue
		}
		close(f.log.gate)
		synctest.Wait()
		for i, c := range calls {
			if !c.get().done || c.get().err != nil {
				t.Errorf("call %d: %+v", i, c.get())
			}
		}
		if f.log.appends != 2 {
			t.Errorf("%d appends, want 2: one for the first request, one for all that queued", f.log.appends)
		}
	})
}

func TestBatchesAreBounded(t *testing.T) {
	withRuntime(t, func(f *fixture) {
		f.elect(1)
		long := strings.Repeat("x", 330)
		f.must(note(long+"1", long+"2", long+"3", long+"4", long+"5"))
		if got := f.log.batches(testTP); got != 3 {
			t.Errorf("%d batches, want 3 of at most 1000 bytes", got)
		}
		// Two requests that do not fit together are not torn apart.
		f.log.set(func() { f.log.gate, f.log.appends = make(chan struct{}), 0 })
		for range 3 {
			f.call(f.t.Context(), note(long, long))
			synctest.Wait()
		}
		close(f.log.gate)
		synctest.Wait()
		if f.log.appends != 3 {
			t.Errorf("%d appends, want 3", f.log.appends)
		}
	})
}

func TestFailedAppendReloads(t *testing.T) {
	withRuntime(t, func(f *fixture) {
		f.elect(1)
		f.must(note("a"))
		parked := f.call(f.t.Context(), park(60_000))
		synctest.Wait()
		f.log.set(func() { f.log.appendErr = kafka.ErrNotEnoughReplicas })
		f.fails(note("lost"), kafka.ErrCoordinatorNotAvailable)
		synctest.Wait()
		if kafka.CodeOf(parked.get().err) != kafka.ErrCoordinatorNotAvailable {
			t.Errorf("parked request: %+v", parked.get())
		}
		f.log.set(func() { f.log.appendErr = nil })
		if got := f.must(note("b")); got != "a b" {
			t.Errorf("notes %q: what was not appended must be gone", got)
		}
		if got := f.metrics.Counter("coordinator_append_failures_total", "", "coordinator", "note").Value(); got != 1 {
			t.Errorf("%d failures counted", got)
		}
	})
}

func TestLostLeadership(t *testing.T) {
	withRuntime(t, func(f *fixture) {
		f.log.manual = true
		f.elect(1)
		write, parked := f.call(f.t.Context(), note("a")), f.call(f.t.Context(), park(60_000))
		synctest.Wait()
		f.log.lose(5)
		synctest.Wait()
		for _, o := range []*outcome{write, parked} {
			if kafka.CodeOf(o.get().err) != kafka.ErrNotCoordinator {
				t.Errorf("%+v, want NOT_COORDINATOR", o.get())
			}
		}
		f.fails(note("b"), kafka.ErrNotCoordinator)
		f.runtime.Resign(0)
		f.elect(5)
		f.log.commit()
		if got := f.must(note()); got != "a" {
			t.Errorf("notes %q", got)
		}
	})
}

func TestResignAnswersEverybody(t *testing.T) {
	withRuntime(t, func(f *fixture) {
		f.elect(1)
		f.log.set(func() { f.log.gate = make(chan struct{}) })
		parked, running := f.call(f.t.Context(), park(60_000)), f.call(f.t.Context(), note("a"))
		synctest.Wait()
		queued := f.call(f.t.Context(), note("b"))
		synctest.Wait()
		f.runtime.Resign(0)
		close(f.log.gate)
		synctest.Wait()
		if running.get().err != nil || !running.get().done {
			t.Errorf("its append went through: %+v", running.get())
		}
		for _, o := range []*outcome{parked, queued} {
			if kafka.CodeOf(o.get().err) != kafka.ErrNotCoordinator {
				t.Errorf("%+v, want NOT_COORDINATOR", o.get())
			}
		}
	})
}

func TestLoadIsRetried(t *testing.T) {
	withRuntime(t, func(f *fixture) {
		f.elect(1)
		f.must(note("a"))
		f.log.set(func() { f.log.readErr = errors.New("disk") })
		f.elect(2)
		f.fails(note("b"), kafka.ErrNotCoordinator)
		f.pass(firstLoadRetry + time.Millisecond)
		f.fails(note("b"), kafka.ErrNotCoordinator)
		f.log.set(func() { f.log.readErr = nil })
		f.pass(2*firstLoadRetry + time.Millisecond)
		if got := f.must(note("b")); got != "a b" {
			t.Errorf("notes %q", got)
		}
	})
}

func TestCorruptRecordsFailTheLoad(t *testing.T) {
	withRuntime(t, func(f *fixture) {
		f.log.epoch = 1
		b := record.NewBuilder(record.NoProducer(record.CodecNone))
		b.Append(0, []byte("bad"), nil, nil)
		batch, err := b.Build()
		f.log.appendRaw(t, testTP, batch, err)
		f.elect(1)
		f.fails(note("b"), kafka.ErrNotCoordinator)
		if f.dropped != 1 {
			t.Errorf("%d shards dropped, want 1", f.dropped)
		}
	})
}

func TestLoadReadsTransactions(t *testing.T) {
	withRuntime(t, func(f *fixture) {
		f.log.epoch = 1
		o := record.BuilderOptions{ProducerID: 7, ProducerEpoch: 1, Transactional: true}
		b := record.NewBuilder(o)
		b.Append(0, []byte("in transaction"), nil, nil)
		batch, err := b.Build()
		f.log.appendRaw(t, testTP, batch, err)
		batch, err = record.BuildControl(o, 0, record.ControlCommit, record.EndTxnMarker{}.Encode())
		f.log.appendRaw(t, testTP, batch, err)
		batch, err = record.BuildControl(o, 0, record.ControlAbort, record.EndTxnMarker{}.Encode())
		f.log.appendRaw(t, testTP, batch, err)
		f.elect(1)
		if got := f.must(note()); got != "in transaction commit abort" {
			t.Errorf("notes %q", got)
		}
	})
}

func TestLoadInChunks(t *testing.T) {
	withRuntime(t, func(f *fixture) {
		f.log.epoch = 1
		const batches = 3
		for range batches {
			b := record.NewBuilder(record.NoProducer(record.CodecGzip))
			b.Append(0, []byte("big"), []byte(strings.Repeat("x", 100)), nil)
			b.Append(0, make([]byte, loadChunkBytes), nil, nil)
			batch, err := b.Build()
			f.log.appendRaw(t, testTP, batch, err)
		}
		f.elect(1)
		if got := strings.Count(f.must(note()), "big"); got != batches {
			t.Errorf("%d records loaded, want %d", got, batches)
		}
	})
}

func TestDeadlines(t *testing.T) {
	withRuntime(t, func(f *fixture) {
		f.elect(1)
		late := f.call(f.t.Context(), park(90_000))
		synctest.Wait()
		f.pass(89_999 * time.Millisecond)
		if late.get().done {
			t.Fatal("answered before its deadline")
		}
		f.pass(2 * time.Millisecond)
		if late.get().value != "tick" {
			t.Fatalf("%+v", late.get())
		}
	})
}

func TestQueueIsBounded(t *testing.T) {
	withRuntime(t, func(f *fixture) {
		f.elect(1)
		f.log.set(func() { f.log.gate = make(chan struct{}) })
		f.call(f.t.Context(), note("a"))
		synctest.Wait()
		for range maxQueuedRequests {
			f.runtime.Broadcast(func(*noteShard, shard.Token, int64) shard.Effects { return shard.Effects{} })
		}
		f.fails(note("b"), kafka.ErrCoordinatorLoadInProgress)
		close(f.log.gate)
		synctest.Wait()
		f.must(note("b"))
		if got := f.metrics.Gauge("coordinator_queued_requests", "", "coordinator", "note").Value(); got != 0 {
			t.Errorf("gauge of queued requests is %d at rest", got)
		}
	})
}

func TestCallerLeaves(t *testing.T) {
	withRuntime(t, func(f *fixture) {
		f.elect(1)
		ctx, cancel := context.WithCancel(f.t.Context())
		parked := f.call(ctx, park(1_000))
		synctest.Wait()
		cancel()
		synctest.Wait()
		if !errors.Is(parked.get().err, context.Canceled) {
			t.Fatalf("%+v", parked.get())
		}
		f.pass(2 * time.Second)
		if got := f.metrics.Gauge("coordinator_waiting_requests", "", "coordinator", "note").Value(); got != 0 {
			t.Errorf("%d requests wait, nobody does", got)
		}
	})
}

func TestStop(t *testing.T) {
	withRuntime(t, func(f *fixture) {
		f.elect(1)
		parked := f.call(f.t.Context(), park(60_000))
		synctest.Wait()
		f.spawner.Stop()
		synctest.Wait()
		if kafka.CodeOf(parked.get().err) != kafka.ErrCoordinatorNotAvailable {
			t.Errorf("%+v", parked.get())
		}
		f.fails(note("a"), kafka.ErrCoordinatorNotAvailable)
	})
}

// A deadline that never comes, as of offsets.retention.check.interval.ms at its largest, does not make the timer spin.
func TestTimerWaitsForADistantDeadline(t *testing.T) {
	t.Parallel()
	for next, want := range map[int64]time.Duration{
		shard.NoDeadline: longestWait, math.MaxInt64 - 1: longestWait, math.MaxInt64 - 1_700_000_000_000: longestWait, 1500: time.Second, 400: -100 * time.Millisecond,
	} {
		if got := until(next, 500); got != want {
			t.Errorf("%s until %d, want %s", got, next, want)
		}
	}
}

// TestPanicOfAShard: the owner of the worker hears of it and stops the node in order, instead of the process ending at once.
func TestPanicOfAShard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		heard := make(chan error, 1)
		spawner := env.NewSpawner(t.Context(), func(_ string, err error) { heard <- err })
		defer spawner.Stop()
		log, dropped := newMemLog(), 0
		r := NewRuntime(RuntimeOptions{
			Name: "note", Topic: testTP.Topic, Log: log, Clock: &settableClock{}, SteadyMs: sinceNow(), Spawner: spawner, Metrics: metrics.NewRegistry(),
			Workers: 1, MaxBatchSizeBytes: func() int32 { return 1_000 },
		}, func() *noteShard { return &noteShard{deadline: shard.NoDeadline, dropped: &dropped} })
		r.Start()
		r.Elect(0, 0)
		synctest.Wait()
		p := r.Begin(0, func(*noteShard, shard.Token, int64) shard.Effects { panic("a bug") })
		if err := <-heard; !strings.Contains(err.Error(), "a bug") {
			t.Errorf("heard of %v", err)
		}
		go spawner.Stop()
		if _, err := p.Wait(t.Context()); kafka.CodeOf(err) != kafka.ErrCoordinatorNotAvailable {
			t.Errorf("who waits is told %v", err)
		}
	})
}
