package host

import (
	"context"
	"fmt"
	"time"

	"github.com/moldau/moldau/internal/controller/office"
)

// run is the goroutine that owns the speculative image.
func (h *Host) run(ctx context.Context) {
	h.office = h.newOffice(ctx)
	defer close(h.stopped)
	defer h.deactivate()
	var tick <-chan time.Time
	if h.sessions != nil {
		ticker := time.NewTicker(h.tick())
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		// A change of leadership goes before requests that wait.
		select {
		case <-h.wake:
			h.changeLeadership(ctx)
		default:
		}
		select {
		case <-ctx.Done():
			return
		case <-h.wake:
			h.changeLeadership(ctx)
		case <-tick:
			h.watch(ctx)
		case <-h.died:
			h.watch(ctx)
		case r := <-h.queue:
			h.queued.Add(-1)
			began := h.o.Clock.Now()
			h.handle(r)
			h.handleSeconds.Observe(h.o.Clock.Now().Sub(began).Seconds())
		}
	}
}

// newOffice returns the core, which the goroutine owns.
func (h *Host) newOffice(ctx context.Context) *office.Office {
	return office.New(office.Options{Controller: h.o.Controller, Random: h.o.Random, Voters: h.o.Voters,
		Propose: func(o uint64, records [][]byte, done office.Done) error {
			return h.o.ProposeAsync(ctx, o, records, done)
		},
		BalanceIntervalMs: h.o.BalanceInterval.Milliseconds(), UncleanIntervalMs: h.o.UncleanInterval.Milliseconds(), GrowIntervalMs: h.o.GrowInterval.Milliseconds()})
}

// changeLeadership makes the controller active in a new epoch of its own, and passive otherwise.
func (h *Host) changeLeadership(ctx context.Context) {
	h.mu.Lock()
	l := h.leadership
	h.mu.Unlock()
	if l == h.office.Held() {
		return
	}
	h.deactivate()
	if !l.IsSelf {
		return
	}
	// Everything up to the quorum's LeaderChange is with the loader already; the controller acts
	// only on an image that includes it.
	if err := h.o.WaitFor(ctx, l.StartOffset-1); err != nil {
		if ctx.Err() == nil {
			h.o.OnFault(fmt.Errorf("the controller cannot load the metadata: %w", err))
		}
		return
	}
	if err := h.office.Begin(l, h.o.Image(), h.nowMs()); err != nil {
		h.o.OnFault(err)
		return
	}
	if err := h.office.Bootstrap(); err != nil {
		if ctx.Err() == nil { // else the node is stopping
			h.o.Logger.Error("cannot write the first metadata records", "error", err)
		}
		return
	}
	h.o.Logger.Debug("this node is the active controller", "epoch", l.Epoch, "offset", l.StartOffset)
	h.activeCount.Set(1)
	h.beginWatch()
	h.mu.Lock()
	close(h.active)
	h.mu.Unlock()
}

// deactivate drops the speculative image. Requests in flight are answered by the quorum.
func (h *Host) deactivate() {
	h.activeCount.Set(0)
	h.office.End()
	h.endWatch()
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.active:
		h.active = make(chan struct{})
	default:
	}
}

func (h *Host) handle(r request) {
	if !h.office.Held().IsSelf {
		r.reply <- reply{err: notActive()}
		return
	}
	result, err := h.decide(r)
	if err != nil {
		r.reply <- reply{err: err}
		return
	}
	if len(result.Records) > 0 {
		h.o.Logger.Debug("metadata change", "request", fmt.Sprintf("%T", r.req), "records", len(result.Records),
			"principal", r.origin.Principal, "client", r.origin.ClientID, "host", r.origin.Host)
	}
	err = h.office.Carry(result, func(lastOffset int64, err error) {
		if err != nil {
			r.reply <- reply{err: err}
			return
		}
		r.reply <- reply{resp: result.Response, offset: lastOffset}
	})
	if err != nil {
		r.reply <- reply{err: err}
	}
}
