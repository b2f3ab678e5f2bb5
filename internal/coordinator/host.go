package coordinator

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/shard"
)

// hostState is what has become of a shard.
type hostState int8

const (
	stateLoading hostState = iota
	stateActive
	stateFailed // its log cannot be read here; a new election may help
	stateCount
	stateClosed = stateCount // dropped: counted nowhere
)

var stateNames = [stateCount]string{"loading", "active", "failed"}

func (s hostState) String() string { return stateNames[s] }

// waiter gets a response; the zero value where nobody waits. Most are a channel with room for it, which costs no
// allocation beside the channel.
type waiter struct {
	reply chan<- shard.Response
	call  func(shard.Response) // instead
	// isPatient says that it has a time of its own for a slow commit.
	isPatient bool
}

func (w waiter) exists() bool { return w.reply != nil || w.call != nil }

func (w waiter) send(response shard.Response) {
	if w.call != nil {
		w.call(response)
		return
	}
	w.reply <- response
}

// request is one step that waits for its turn.
type request[S shard.Shard] struct {
	step     Step[S]
	reads    bool // it writes nothing
	done     waiter
	queuedAt time.Time
}

// release is a set of responses that may leave once endOffset is committed.
type release struct {
	endOffset int64
	dueMs     int64 // when, in steady time, those who wait for it have waited for too long
	responses []shard.Response
	notices   []any
}

// host owns one shard in one leader epoch. Fields of the first block are guarded by the
// runtime's mutex (state is written by the worker alone, which therefore reads it without); the
// others belong to the worker whose turn it is (scheduled is the baton).
type host[S shard.Shard] struct {
	runtime     *Runtime[S]
	tp          kafka.TopicPartition
	leaderEpoch int32

	state      hostState
	queue      []request[S]
	closing    bool // the shard is to be dropped for good
	scheduled  bool
	again      bool  // something has happened during the turn
	recheck    bool  // whether the log takes appends
	deadlineMs int64 // in steady time
	// committed is what WhenCommitted has told; awaiting says that it still has to call back,
	// arming that it is being called right now.
	committed int64
	commitErr error
	refusal   kafka.ErrorCode // of requests while the shard has failed
	awaiting  bool
	arming    bool

	shard     S
	nextToken shard.Token
	waiting   map[shard.Token]waiter // without anybody where it was sent away
	endOffset int64                  // the log end offset after the last record in the shard's state
	pending   []release
	late      int             // of how many of pending clients that waited were sent away
	batch     *record.Builder // records not appended yet
	responses []shard.Response
	notices   []any
	load      *loading
	retry     time.Duration
	retryAtMs int64 // when, in steady time, a failed load is tried again
	spell     failedAppends
	hold      hold
	now       time.Time // at which the turn began
	steadyMs  int64     // the same instant in steady time
	nowMs     int64     // the same instant to the shard: steadyMs + aheadMs
	aheadMs   int64     // by which the shard's time is ahead of steady time
}

func newHost[S shard.Shard](r *Runtime[S], tp kafka.TopicPartition, leaderEpoch int32) *host[S] {
	h := &host[S]{
		runtime: r, tp: tp, leaderEpoch: leaderEpoch,
		deadlineMs: shard.NoDeadline, waiting: map[shard.Token]waiter{}, retry: firstLoadRetry,
	}
	r.metrics.partitions[stateLoading].Add(1)
	return h
}

// run is one turn on a worker. It returns true if the host wants another one at once.
func (h *host[S]) run() (more bool) {
	r := h.runtime
	h.tellTime()
	r.mu.Lock()
	if h.state == stateClosed {
		r.mu.Unlock()
		return false
	}
	closing, state, commitErr, recheck := h.closing, h.state, h.commitErr, h.recheck
	h.recheck = false
	var queue []request[S]
	if state == stateActive && !closing && commitErr == nil {
		queue, more = h.takeLocked()
	}
	r.mu.Unlock()

	switch {
	case closing:
		h.drop(stateClosed, kafka.ErrNotCoordinator)
		return false
	case state == stateLoading:
		return h.continueLoading()
	case state == stateFailed:
		return h.retryLoad()
	case commitErr != nil:
		h.fail(commitErr)
		return h.state != stateFailed
	}
	h.releaseCommitted()
	h.answerLate()
	isDue := h.shard.NextDeadlineMs() <= h.nowMs && h.steadyMs >= h.hold.ticksFromMs
	if refused := h.checkAppend(isDue || len(queue) > 0 || recheck); refused != nil {
		h.handleHeld(queue, coordinatorCode(refused))
	} else {
		if isDue && h.steadyMs >= h.hold.ticksFromMs { // which may have just been set
			h.apply(h.shard.Tick(h.nowMs))
		}
		for i := range queue {
			h.handle(&queue[i])
		}
	}
	h.flush()
	switch h.state {
	case stateActive:
		r.setDeadline(h, h.nextTurnMs())
		return more
	case stateFailed: // it is tried again later
		return false
	}
	return true
}

// nextTurnMs is when, in steady time, the shard wants its turn without anybody asking for it.
func (h *host[S]) nextTurnMs() int64 {
	if h.late < len(h.pending) {
		return min(h.pending[h.late].dueMs, h.nextStepMs())
	}
	return h.nextStepMs()
}

func (h *host[S]) nextStepMs() int64 {
	if h.hold.active {
		return h.hold.checkAtMs
	}
	deadlineMs := h.shard.NextDeadlineMs()
	if deadlineMs == shard.NoDeadline {
		return deadlineMs
	}
	return max(deadlineMs-h.aheadMs, h.hold.ticksFromMs)
}

// tellTime sets the instant of the turn. A shard's time runs steadily and near the wall clock: when
// that was set, the shard's time jumps with it and takes its deadlines along.
func (h *host[S]) tellTime() {
	h.now, h.steadyMs = h.runtime.o.Clock.Now(), h.runtime.o.SteadyMs()
	if aheadMs := h.now.UnixMilli() - h.steadyMs; max(aheadMs-h.aheadMs, h.aheadMs-aheadMs) > maxClockSkewMs {
		if h.state == stateActive {
			slog.Info("The clock was set; what coordinators wait for is not affected", "partition", h.tp.String(), "byMs", aheadMs-h.aheadMs)
			h.shard.ShiftDeadlines(aheadMs - h.aheadMs)
		}
		h.aheadMs = aheadMs
	}
	h.nowMs = h.steadyMs + h.aheadMs
}

// takeLocked takes what this turn handles out of the queue.
func (h *host[S]) takeLocked() (queue []request[S], more bool) {
	queue = h.queue
	if len(queue) > maxStepsPerRun {
		queue, h.queue = queue[:maxStepsPerRun:maxStepsPerRun], queue[maxStepsPerRun:]
		more = true
	} else {
		h.queue = nil
	}
	h.runtime.metrics.queued.Add(-int64(len(queue)))
	return queue, more
}

func (h *host[S]) handle(q *request[S]) {
	if h.state != stateActive { // an append failed earlier in this turn
		h.postpone(q)
		return
	}
	h.runtime.metrics.queueSeconds.Observe(h.now.Sub(q.queuedAt).Seconds())
	var token shard.Token
	if q.done.exists() {
		h.nextToken++
		token = h.nextToken
		h.waiting[token] = q.done
		h.runtime.metrics.parked.Add(1)
	}
	h.apply(q.step(h.shard, token, h.nowMs))
}

// postpone refuses a request while the shard is loaded again; what nobody waits for, and nobody
// would ask for again, is kept.
func (h *host[S]) postpone(q *request[S]) {
	if q.done.exists() {
		q.done.send(shard.Response{Err: h.refusalNow()})
		return
	}
	r := h.runtime
	r.mu.Lock()
	defer r.mu.Unlock()
	h.queue = append(h.queue, *q)
	r.metrics.queued.Add(1)
}

// apply takes what a step of the shard asks for. Records of several steps go into one batch. Where an append fails that has to come first, the step
// has been answered, and what is left of it must not come into the shard that is loaded next.
func (h *host[S]) apply(effects shard.Effects) {
	if effects.Producer != nil || effects.Marker != nil {
		h.applyTransactional(effects)
		return
	}
	limit := int(h.runtime.o.MaxBatchSizeBytes())
	if h.batch != nil {
		size := h.batch.UncompressedBytes()
		for i, rec := range effects.Records {
			size += record.SizeBytes(h.batch.Count()+i, rec.Key, rec.Value)
		}
		if size > limit && !h.flush() {
			return
		}
	}
	for _, rec := range effects.Records {
		// Only a step that does not fit in one batch is split; no shard emits one whose records
		// must stay together.
		if h.batch != nil && h.batch.UncompressedBytes()+record.SizeBytes(h.batch.Count(), rec.Key, rec.Value) > limit && !h.flush() {
			return
		}
		if h.batch == nil {
			h.batch = record.NewBuilder(record.NoProducer(record.CodecNone))
		}
		h.batch.Append(h.nowMs, rec.Key, rec.Value, nil)
	}
	h.responses = append(h.responses, effects.Responses...)
	h.notices = append(h.notices, effects.Notices...)
}

// flush appends the records at hand, and queues the responses at hand behind them. It returns false if the shard is gone.
func (h *host[S]) flush() bool {
	if h.state != stateActive {
		return false
	}
	if h.batch != nil {
		if err := h.append(); err != nil {
			h.fail(err)
			return false
		}
	}
	if len(h.responses) > 0 || len(h.notices) > 0 {
		h.pending = append(h.pending, release{h.endOffset, h.steadyMs + h.runtime.o.CommitTimeout.Milliseconds(), h.responses, h.notices})
		h.responses, h.notices = nil, nil
	}
	h.releaseCommitted()
	return true
}

func (h *host[S]) append() error {
	m := h.runtime.metrics
	count := h.batch.Count()
	batch, err := h.batch.Build()
	h.batch = nil
	if err != nil {
		return fmt.Errorf("append to %s: %w", h.tp, err)
	}
	started := h.runtime.o.Clock.Now()
	endOffset, err := h.runtime.o.Log.Append(h.tp, h.leaderEpoch, batch)
	if err != nil {
		m.appendFailure.Inc()
		return fmt.Errorf("append to %s: %w", h.tp, err)
	}
	m.appendSeconds.Observe(h.runtime.o.Clock.Now().Sub(started).Seconds())
	m.appends.Inc()
	m.appendRecords.Add(int64(count))
	h.endOffset = endOffset
	h.endSpell()
	return nil
}

// releaseCommitted delivers the responses whose records are committed, and has the log tell when
// the next ones are.
func (h *host[S]) releaseCommitted() {
	for len(h.pending) > 0 {
		committed, known := h.commitProgress()
		if !known {
			return
		}
		if h.pending[0].endOffset > committed {
			h.awaitCommit(h.pending[0].endOffset)
			if now, _ := h.commitProgress(); now < h.pending[0].endOffset {
				return
			}
			continue
		}
		for _, response := range h.pending[0].responses {
			h.deliver(response)
		}
		for _, notice := range h.pending[0].notices {
			h.runtime.o.OnNotice(h.tp.Partition, h.leaderEpoch, notice)
		}
		h.pending, h.late = h.pending[1:], max(0, h.late-1)
	}
}

// commitProgress returns the committed offset as far as it is known; known is false while an
// answer of the log is outstanding or the log has failed.
func (h *host[S]) commitProgress() (committed int64, known bool) {
	h.runtime.mu.Lock()
	defer h.runtime.mu.Unlock()
	return h.committed, !h.awaiting && h.commitErr == nil
}

func (h *host[S]) awaitCommit(endOffset int64) {
	r := h.runtime
	r.mu.Lock()
	h.awaiting, h.arming = true, true
	r.mu.Unlock()
	r.o.Log.WhenCommitted(h.tp, h.leaderEpoch, endOffset, func(err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		h.awaiting = false
		if err != nil {
			h.commitErr = fmt.Errorf("commit of %s: %w", h.tp, err)
		} else {
			h.committed = max(h.committed, endOffset)
		}
		if err != nil || !h.arming {
			r.scheduleLocked(h)
		}
	})
	r.mu.Lock()
	h.arming = false
	r.mu.Unlock()
}

func (h *host[S]) deliver(response shard.Response) {
	done, ok := h.waiting[response.Token]
	if !ok {
		panic(fmt.Sprintf("BUG: %s answers request %d, which does not wait", h.tp, response.Token))
	}
	delete(h.waiting, response.Token)
	if done.exists() {
		h.runtime.metrics.parked.Add(-1)
		done.send(response)
	}
}

// drop ends the shard and answers everybody who waits with code.
func (h *host[S]) drop(next hostState, code kafka.ErrorCode) {
	r := h.runtime
	if h.state == stateActive || h.load != nil {
		h.shard.Deactivate()
	}
	h.batch, h.responses, h.notices, h.pending, h.late, h.load = nil, nil, nil, nil, 0, nil
	for _, token := range slices.Sorted(maps.Keys(h.waiting)) {
		h.deliver(shard.Response{Token: token, Err: code})
	}
	r.mu.Lock()
	queue := h.queue
	h.queue, h.commitErr, h.deadlineMs = nil, nil, shard.NoDeadline
	r.metrics.queued.Add(-int64(len(queue)))
	h.setStateLocked(next)
	r.mu.Unlock()
	for i := range queue {
		switch {
		case queue[i].done.exists():
			queue[i].done.send(shard.Response{Err: code})
		case next != stateClosed:
			h.postpone(&queue[i])
		}
	}
}

func (h *host[S]) setStateLocked(s hostState) {
	h.runtime.metrics.partitions[h.state].Add(-1)
	if s != stateClosed {
		h.runtime.metrics.partitions[s].Add(1)
	}
	h.state = s
}

func (h *host[S]) setState(s hostState) {
	h.runtime.mu.Lock()
	defer h.runtime.mu.Unlock()
	h.setStateLocked(s)
}
