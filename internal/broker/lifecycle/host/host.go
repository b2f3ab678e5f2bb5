package host

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/broker/lifecycle"
	"github.com/moldau/moldau/internal/env"
)

// callTimeout is how long the controller may take to answer before it is asked again.
const callTimeout = 5 * time.Second

// quietSilence is for how long the operator need not hear of a controller that does not answer: a failover takes less.
const quietSilence = 2 * callTimeout

// errUnregistered is why a broker whose registration was removed while it started does not run.
var errUnregistered = errors.New("the broker was unregistered while it started: start it again")

// Options is what a Host needs; every field is required.
type Options struct {
	Lifecycle lifecycle.Options
	// Send sends a request to the active controller and returns once this node's metadata shows
	// what the answer rests on.
	Send func(ctx context.Context, req kmsg.Request) (kmsg.Response, error)
	// Facts returns what the broker knows now.
	Facts   func() lifecycle.Facts
	Spawner *env.Spawner
	Logger  *slog.Logger
	// OnRegistered is called after each registration, the first one too. It must not block.
	OnRegistered func()
	// OnFailed is called at most once, when a broker that was registered cannot go on.
	OnFailed func(error)
}

// Host drives one broker's lifecycle.
type Host struct {
	o       Options
	started time.Time     // with a monotonic reading: the core's time begins here
	wake    chan struct{} // there may be news

	mu      sync.Mutex
	core    *lifecycle.Lifecycle
	changed chan struct{}      // closed and replaced when the state changes
	cancel  context.CancelFunc // of the request under way; nil without one

	// What was said last, on the goroutine, and since when the controller has not answered.
	said        lifecycle.State
	saidUse     bool
	saidSilent  bool
	silentSince time.Time
}

// Start begins the broker's life: it registers.
func Start(o Options) *Host {
	h := &Host{o: o, started: time.Now(), wake: make(chan struct{}, 1), changed: make(chan struct{})}
	h.core = lifecycle.New(o.Lifecycle, 0)
	o.Spawner.Go("lifecycle", h.run)
	return h
}

func (h *Host) nowMs() int64 { return time.Since(h.started).Milliseconds() }

// Epoch returns the broker epoch, -1 before the registration.
func (h *Host) Epoch() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.core.Epoch()
}

// Wake has the host look for news that the controller should hear. It never blocks.
func (h *Host) Wake() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// AwaitRegistered returns once the controller has registered this broker and its metadata shows
// that, or with the reason why it never will be.
func (h *Host) AwaitRegistered(ctx context.Context) error { return h.await(ctx, lifecycle.StateFenced) }

// AwaitRunning returns once clients and brokers may use this broker, or with the reason why they
// never will.
func (h *Host) AwaitRunning(ctx context.Context) error { return h.await(ctx, lifecycle.StateRunning) }

func (h *Host) await(ctx context.Context, wanted lifecycle.State) error {
	for {
		state, err, changed := h.observe()
		switch {
		case state == lifecycle.StateFailed:
			return err
		case state == lifecycle.StateUnregistered:
			return errUnregistered
		case state >= wanted:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Leave has the controller move this broker's leaderships away, and returns when that is done or was
// waited for long enough.
func (h *Host) Leave(ctx context.Context) error {
	h.mu.Lock()
	before := h.core.State()
	h.core.Leave(h.nowMs())
	h.noteLocked(before)
	if h.cancel != nil {
		h.cancel() // there is something more urgent to say
	}
	h.mu.Unlock()
	h.Wake()
	for {
		state, _, changed := h.observe()
		if state != lifecycle.StateLeaving {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// GiveUp has Leave wait no longer.
func (h *Host) GiveUp() {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.core.State()
	h.core.GiveUp()
	h.noteLocked(before)
	if h.cancel != nil {
		h.cancel()
	}
}

func (h *Host) observe() (state lifecycle.State, err error, changed <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.core.State(), h.core.Err(), h.changed
}

// noteLocked wakes who waits if the state is not the one of before any more.
func (h *Host) noteLocked(before lifecycle.State) {
	if h.core.State() != before {
		close(h.changed)
		h.changed = make(chan struct{})
	}
}

// run is the goroutine that talks to the controller.
func (h *Host) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		req, call, cancel, wait := h.next(ctx)
		h.report()
		if req != nil {
			asked := time.Now()
			resp, err := h.o.Send(call, req)
			cancel()
			if ctx.Err() == nil {
				h.reportSilence(asked, err)
			}
			h.answered(resp, err)
			continue
		}
		if wait < 0 {
			return
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-h.wake:
		}
	}
}

// next asks the core for a request, or for how long to wait; a negative wait is for ever.
func (h *Host) next(ctx context.Context) (req kmsg.Request, call context.Context, cancel context.CancelFunc, wait time.Duration) {
	facts := h.o.Facts()
	h.mu.Lock()
	defer h.mu.Unlock()
	before, nowMs := h.core.State(), h.nowMs()
	req = h.core.Next(nowMs, facts)
	h.noteLocked(before)
	deadlineMs := h.core.NextDeadlineMs()
	untilDeadline := time.Duration(-1)
	if deadlineMs != math.MaxInt64 {
		untilDeadline = max(0, time.Duration(deadlineMs-nowMs)*time.Millisecond)
	}
	if req == nil {
		return nil, nil, nil, untilDeadline
	}
	timeout := callTimeout
	if untilDeadline >= 0 {
		timeout = min(timeout, untilDeadline)
	}
	call, cancel = context.WithTimeout(ctx, timeout)
	h.cancel = cancel
	return req, call, cancel, 0
}

func (h *Host) answered(resp kmsg.Response, err error) {
	facts := h.o.Facts()
	h.mu.Lock()
	h.cancel = nil
	before := h.core.State()
	h.core.Answered(h.nowMs(), facts, resp, err)
	h.noteLocked(before)
	isRegistered := before == lifecycle.StateRegistering && h.core.State() == lifecycle.StateFenced
	h.mu.Unlock()
	if isRegistered {
		h.o.OnRegistered()
	}
}

// reportSilence tells the operator, once, that the controller has not answered for long, and when it does again.
func (h *Host) reportSilence(asked time.Time, err error) {
	switch id := h.o.Lifecycle.Registration.BrokerID; {
	case err == nil:
		if h.saidSilent {
			h.o.Logger.Warn("the controller answers this broker again", "nodeId", id)
		}
		h.silentSince, h.saidSilent = time.Time{}, false
	case h.silentSince.IsZero():
		h.silentSince = asked
	case !h.saidSilent && time.Since(h.silentSince) >= quietSilence:
		h.saidSilent = true
		h.o.Logger.Warn("the controller does not answer this broker, which goes on asking: check that most of the controllers run and can be reached", "nodeId", id, "error", err)
	}
}

// report tells the operator what has changed.
func (h *Host) report() {
	h.mu.Lock()
	state, err, inUse, gaveUp, before := h.core.State(), h.core.Err(), h.core.IDInUse(), h.core.GaveUp(), h.said
	newUse := inUse && !h.saidUse
	h.said, h.saidUse = state, inUse
	h.mu.Unlock()
	id := h.o.Lifecycle.Registration.BrokerID
	switch {
	case newUse:
		h.o.Logger.Warn("another process is registered under this broker's id; if it was this broker, it is taken over as soon as its session has ended; if it is another node, give this one a node.id of its own and an empty folder", "nodeId", id)
	case state == before:
	case state == lifecycle.StateFenced && before == lifecycle.StateRunning:
		h.o.Logger.Warn("the controller has fenced this broker, of which it had not heard for too long; it comes back by itself", "nodeId", id)
	case state == lifecycle.StateUnregistered:
		h.o.Logger.Warn("This broker has been unregistered: it leads no partition until it is started again", "nodeId", id)
	case state == lifecycle.StateFailed && before != lifecycle.StateRegistering:
		h.o.OnFailed(err)
	case gaveUp:
		h.o.Logger.Warn("the controller has not moved this broker's leaderships away in time; it stops without", "nodeId", id)
	}
}
