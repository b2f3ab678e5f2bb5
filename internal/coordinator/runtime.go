package coordinator

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/shard"
)

// Limits of the runtime.
const (
	maxQueuedRequests = 10_000  // per shard; more are told to retry
	maxStepsPerRun    = 512     // then other shards get their turn
	loadChunkBytes    = 1 << 20 // read per turn while loading
	// maxClockSkewMs is how far a shard's time may drift from the wall clock before it follows.
	maxClockSkewMs = 1_000
)

// RuntimeOptions are what a Runtime needs.
type RuntimeOptions struct {
	Name  string // of the coordinator, in metrics and logs: "group"
	Topic string // its log
	Log   Log
	Clock env.Clock
	// SteadyMs is the time by which deadlines are kept: it goes on evenly when the wall clock is set,
	// so that sessions neither all expire at once nor last until the clock is back where it was.
	SteadyMs func() int64
	Spawner  *env.Spawner
	Metrics  *metrics.Registry
	// Workers is how many shards may run at the same time.
	Workers int
	// Wake is called when there is something for Turn to do, and must not block; nil where Start's workers
	// take the turns.
	Wake func()
	// MaxBatchSizeBytes returns max.message.bytes of the log's topic as it is now.
	MaxBatchSizeBytes func() int32
	// CommitTimeout is how long what was appended may take to be committed before those are told to come back who wait for it; 0 means 5 s.
	CommitTimeout time.Duration
	// OnNotice is called on a worker with the notices of shards; it must not block. Nil where the
	// shards have none.
	OnNotice func(partition, leaderEpoch int32, notice any)
}

// Runtime hosts the shards of one coordinator. All methods are safe for concurrent use.
type Runtime[S shard.Shard] struct {
	o        RuntimeOptions
	newShard func() S
	metrics  *runtimeMetrics
	wakeTick chan struct{}

	mu      sync.Mutex
	cond    *sync.Cond // ready has grown, or stopped is set
	ready   []*host[S] // in the order in which they get a worker
	hosts   map[int32]*host[S]
	stopped bool
	// armedMs is when, in steady time, the timer goroutine will look for due shards next.
	armedMs int64
}

// NewRuntime returns a Runtime without shards. newShard makes an empty shard.
func NewRuntime[S shard.Shard](o RuntimeOptions, newShard func() S) *Runtime[S] {
	o.CommitTimeout = cmp.Or(o.CommitTimeout, defaultCommitTimeout)
	r := &Runtime[S]{
		o: o, newShard: newShard, metrics: newRuntimeMetrics(o.Metrics, o.Name),
		wakeTick: make(chan struct{}, 1), hosts: map[int32]*host[S]{}, armedMs: shard.NoDeadline,
	}
	r.cond = sync.NewCond(&r.mu)
	return r
}

// Start starts the workers and the timer. They end with the Spawner.
func (r *Runtime[S]) Start() {
	for range r.o.Workers {
		r.o.Spawner.Go(r.o.Name+"-coordinator-worker", r.work)
	}
	r.o.Spawner.Go(r.o.Name+"-coordinator-timer", r.runTimer)
}

// Elect begins to load the shard of a partition that this broker now leads in leaderEpoch. A
// shard of an older epoch is dropped; the same or an older epoch is ignored.
func (r *Runtime[S]) Elect(partition, leaderEpoch int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if former := r.hosts[partition]; former != nil {
		if former.leaderEpoch >= leaderEpoch {
			return
		}
		former.closing = true
		r.scheduleLocked(former)
	}
	h := newHost(r, kafka.TopicPartition{Topic: r.o.Topic, Partition: partition}, leaderEpoch)
	r.hosts[partition] = h
	r.scheduleLocked(h)
}

// Resign drops the shard of a partition that this broker no longer leads; requests that wait for
// it are answered NOT_COORDINATOR.
func (r *Runtime[S]) Resign(partition int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h := r.hosts[partition]; h != nil {
		delete(r.hosts, partition)
		h.closing = true
		r.scheduleLocked(h)
	}
}

// Partitions returns the partitions that this broker coordinates or loads, in no order.
func (r *Runtime[S]) Partitions() []int32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	partitions := make([]int32, 0, len(r.hosts))
	for p := range r.hosts {
		partitions = append(partitions, p)
	}
	return partitions
}

// hostsIn reports whether this broker has the shard of a partition in a leader epoch, loaded or not.
func (r *Runtime[S]) hostsIn(partition, leaderEpoch int32) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.hosts[partition]
	return h != nil && h.leaderEpoch == leaderEpoch
}

// Step is one request's work on a shard.
type Step[S shard.Shard] func(s S, token shard.Token, nowMs int64) shard.Effects

// Pending is a step on its way.
type Pending struct {
	done    chan shard.Response
	code    kafka.ErrorCode // why it was not even queued
	stopped <-chan struct{}
}

// Begin has the shard of partition run step; whoever has several steps begins them all before
// waiting for the first.
func (r *Runtime[S]) Begin(partition int32, step Step[S]) Pending {
	return r.begin(partition, request[S]{step: step})
}

// BeginRead is Begin for a step that writes nothing: it is answered also while the log refuses appends.
func (r *Runtime[S]) BeginRead(partition int32, step Step[S]) Pending {
	return r.begin(partition, request[S]{step: step, reads: true})
}

// BeginPatient is Begin for the broker's own work, which would do more than is needed if it came back: it waits for a slow commit for as long as it
// likes.
func (r *Runtime[S]) BeginPatient(partition int32, step Step[S]) Pending {
	return r.begin(partition, request[S]{step: step, done: waiter{isPatient: true}})
}

func (r *Runtime[S]) begin(partition int32, q request[S]) Pending {
	p := Pending{done: make(chan shard.Response, 1), stopped: r.o.Spawner.Context().Done()}
	q.done.reply, q.queuedAt = p.done, r.o.Clock.Now()
	p.code = r.enqueue(partition, q)
	return p
}

// Enqueue has the shard of partition run step; done gets the response to the step's token, once, and must not
// block. The code says why the step was not even queued: done is not called then.
func (r *Runtime[S]) Enqueue(partition int32, step Step[S], done func(shard.Response)) kafka.ErrorCode {
	return r.enqueue(partition, request[S]{step: step, done: waiter{call: done}, queuedAt: r.o.Clock.Now()})
}

// Wait waits for the response to the step's token. The error carries the kafka.ErrorCode for the
// client, unless ctx ended.
func (p Pending) Wait(ctx context.Context) (any, error) {
	if p.code != kafka.ErrNone {
		return nil, p.code
	}
	defer env.StartWait(ctx).End()
	select {
	case response := <-p.done:
		return response.Value, response.Err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-p.stopped:
		return nil, kafka.ErrCoordinatorNotAvailable
	}
}

// Do is BeginPatient and Wait.
func (r *Runtime[S]) Do(ctx context.Context, partition int32, step Step[S]) (any, error) {
	return r.BeginPatient(partition, step).Wait(ctx)
}

func (r *Runtime[S]) enqueue(partition int32, q request[S]) kafka.ErrorCode {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.hosts[partition]
	switch {
	case r.stopped:
		return kafka.ErrCoordinatorNotAvailable
	case h == nil:
		return kafka.ErrNotCoordinator
	case h.state == stateLoading:
		return kafka.ErrCoordinatorLoadInProgress
	case h.state == stateFailed:
		return h.refusal
	case len(h.queue) >= maxQueuedRequests:
		r.metrics.refused.Inc()
		return kafka.ErrCoordinatorLoadInProgress // clients retry without looking for another coordinator
	}
	h.queue = append(h.queue, q)
	r.metrics.queued.Add(1)
	r.scheduleLocked(h)
	return kafka.ErrNone
}

// Broadcast has every shard run step, those that are being loaded as soon as they are, without
// waiting for it.
func (r *Runtime[S]) Broadcast(step Step[S]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range r.sortedLocked() {
		if h.state == stateFailed && h.refusal == kafka.ErrNotCoordinator {
			continue
		}
		h.queue = append(h.queue, request[S]{step: step, queuedAt: r.o.Clock.Now()})
		r.metrics.queued.Add(1)
		r.scheduleLocked(h)
	}
}

// CheckAppends has every shard ask at once whether its log takes appends: who waits for one may have to be sent away.
func (r *Runtime[S]) CheckAppends() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range r.sortedLocked() {
		h.recheck = true
		r.scheduleLocked(h)
	}
}

// scheduleLocked gives h a turn. A host is in ready or with a worker at most once.
func (r *Runtime[S]) scheduleLocked(h *host[S]) {
	if h.scheduled {
		h.again = true
		return
	}
	h.scheduled = true
	r.ready = append(r.ready, h)
	if r.o.Wake != nil {
		r.o.Wake()
		return
	}
	r.cond.Signal()
}

// sortedLocked returns the hosts in one order, so that runs of the simulation are the same.
func (r *Runtime[S]) sortedLocked() []*host[S] {
	return slices.SortedFunc(maps.Values(r.hosts), func(a, b *host[S]) int { return cmp.Compare(a.tp.Partition, b.tp.Partition) })
}

// Turn gives the next shard that has something to do its turn, and reports whether there was one.
func (r *Runtime[S]) Turn() bool {
	h := r.takeReady()
	if h == nil {
		return false
	}
	more := h.run() // without the mutex, also where it panics: the worker's owner stops the node then
	r.mu.Lock()
	defer r.mu.Unlock()
	h.scheduled = false
	if more || h.again {
		r.scheduleLocked(h)
	}
	return true
}

// takeReady returns the next shard that has something to do, nil if there is none.
func (r *Runtime[S]) takeReady() *host[S] {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ready) == 0 || r.stopped {
		return nil
	}
	h := r.ready[0]
	r.ready[0] = nil
	r.ready = r.ready[1:]
	h.again = false
	return h
}

func (r *Runtime[S]) work(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.stopped = true
		r.cond.Broadcast()
	})
	defer stop()
	for r.awaitReady() {
		r.Turn() // unless another worker was faster
	}
}

// awaitReady returns when there is something to do, or with false when the runtime has stopped.
func (r *Runtime[S]) awaitReady() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.ready) == 0 && !r.stopped {
		r.cond.Wait()
	}
	return !r.stopped
}

// setDeadline notes when, in steady time, h wants to run next. The timer goroutine is woken only if that is sooner
// than it expects.
func (r *Runtime[S]) setDeadline(h *host[S], deadlineMs int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h.deadlineMs = deadlineMs
	if deadlineMs < r.armedMs {
		select {
		case r.wakeTick <- struct{}{}:
		default:
		}
	}
}

// runTimer gives shards their turn when their deadline comes.
func (r *Runtime[S]) runTimer(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(until(r.ScheduleDue(), r.o.SteadyMs()))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-r.wakeTick:
		}
	}
}

// longestWait is for how long the timer sleeps at most.
const longestWait = time.Hour

// until is the time from one instant to another. Deadlines may be too far away for a time.Duration.
func until(nextMs, nowMs int64) time.Duration {
	return time.Duration(min(nextMs-nowMs, longestWait.Milliseconds())) * time.Millisecond
}

// ScheduleDue gives turns to the shards that are due, and returns when, in steady time, the next one is.
func (r *Runtime[S]) ScheduleDue() (nextMs int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	nowMs := r.o.SteadyMs()
	nextMs = shard.NoDeadline
	for _, h := range r.sortedLocked() {
		if h.deadlineMs <= nowMs {
			h.deadlineMs = shard.NoDeadline // until its turn is over
			r.scheduleLocked(h)
		}
		nextMs = min(nextMs, h.deadlineMs)
	}
	r.armedMs = nextMs
	return nextMs
}
