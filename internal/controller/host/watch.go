package host

import (
	"context"
	"time"

	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/controller/office"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/wire"
)

// tick is how often sessions are looked at.
func (h *Host) tick() time.Duration {
	return min(max(h.o.SessionTimeout/30, 5*time.Millisecond), 100*time.Millisecond)
}

// nowMs is monotonic.
func (h *Host) nowMs() int64 { return h.o.Clock.Now().Sub(h.started).Milliseconds() }

// BrokerTouched notes that something was heard of a broker. Any goroutine may call it, on every
// node that votes: each may be the active controller next.
func (h *Host) BrokerTouched(broker int32, epoch int64) {
	if h.sessions == nil {
		return
	}
	h.sessionsMu.Lock()
	defer h.sessionsMu.Unlock()
	h.sessions.Touch(broker, epoch, h.nowMs())
}

// BrokerDead notes that a broker's process is gone, of which nobody listens any more. The active
// controller fences it at once; others remember it until they become active.
func (h *Host) BrokerDead(broker int32, incarnation kafka.UUID) {
	if h.sessions == nil {
		return
	}
	h.sessionsMu.Lock()
	h.sessions.Dead(broker, incarnation, h.nowMs())
	h.sessionsMu.Unlock()
	select {
	case h.died <- struct{}{}:
	default:
	}
}

// beginWatch has brokers judged by what was heard of them when the controller becomes active.
func (h *Host) beginWatch() {
	now := h.nowMs()
	if h.balancer != nil {
		h.balancer.Activate(now)
	}
	if h.sessions == nil {
		return
	}
	h.sessionsMu.Lock()
	h.sessions.Activate(now)
	h.sessionsMu.Unlock()
	select {
	case h.died <- struct{}{}: // perhaps: some may be known to be dead
	default:
	}
}

func (h *Host) endWatch() {
	h.endBalance()
	if h.sessions == nil {
		return
	}
	h.sessionsMu.Lock()
	defer h.sessionsMu.Unlock()
	h.sessions.Deactivate()
}

// decide has the core compute a request. Those about sessions see them.
func (h *Host) decide(r request) (controller.Result, error) {
	switch req := r.req.(type) {
	case *wire.PeerLoadRequest:
		return controller.Result{Response: h.takeLoad(req)}, nil
	case *wire.PeerBalancerRequest:
		return controller.Result{Response: h.describeBalance(req)}, nil
	}
	if office.IsAboutSessions(r.req) {
		h.sessionsMu.Lock()
		defer h.sessionsMu.Unlock()
	}
	return h.office.Decide(r.req, r.origin, h.sessions, h.nowMs())
}

// watch does what is due by time: fences brokers that are gone, and holds elections.
func (h *Host) watch(ctx context.Context) {
	if h.sessions == nil {
		return
	}
	now := h.nowMs()
	h.sessionsMu.Lock()
	image := h.office.Image()
	gone := h.sessions.Tick(image, now)
	h.sessionsMu.Unlock()
	if !h.office.Held().IsSelf {
		return
	}
	for _, id := range gone {
		if image.Broker(id).InControlledShutdown {
			h.o.Logger.Info("a broker that was leaving has left", "broker", id)
			continue
		}
		h.o.Logger.Warn("a broker is silent or dead; its partitions get other leaders", "broker", id)
		h.fencedCount.Add(1)
	}
	h.tell(ctx, h.office.Watch(gone, now))
	h.doBalance(ctx, now)
}

// proposeOwn proposes what nobody waits for.
func (h *Host) proposeOwn(ctx context.Context, records []metadata.Record) {
	h.tell(ctx, h.office.ProposeOwn(records))
}

// tell logs why a change of the controller's own is not made, unless the node stops.
func (h *Host) tell(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		h.o.Logger.Error("cannot write a change of the controller's own", "error", err)
	}
}
