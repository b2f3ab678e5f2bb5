package host

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/controller"
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
// node that votes; it matters while this one is the active controller.
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

// beginWatch grants every broker a full session when the controller becomes active.
func (h *Host) beginWatch() {
	now := h.nowMs()
	h.balanceAt, h.uncleanAt = now+h.o.BalanceInterval.Milliseconds(), now+h.o.UncleanInterval.Milliseconds()
	h.growAt = now + h.o.GrowInterval.Milliseconds()
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

func (h *Host) input() controller.Input {
	in := controller.Input{Image: h.image, NextOffset: h.nextOffset, Random: h.o.Random}
	if h.o.Voters != nil {
		in.Voters = h.o.Voters()
	}
	return in
}

// decide has the core compute a request. Those about sessions see them.
func (h *Host) decide(r request) (controller.Result, error) {
	switch req := r.req.(type) {
	case *wire.PeerLoadRequest:
		return controller.Result{Response: h.takeLoad(req)}, nil
	case *wire.PeerBalancerRequest:
		return controller.Result{Response: h.describeBalance(req)}, nil
	}
	in := h.input()
	in.Permit = r.origin.Permit
	if h.sessions != nil {
		switch req := r.req.(type) {
		case *kmsg.BrokerHeartbeatRequest:
			h.sessionsMu.Lock()
			defer h.sessionsMu.Unlock()
			h.sessions.Applied(req.BrokerID, req.BrokerEpoch, req.CurrentMetadataOffset, h.nowMs())
			in.Sessions = h.sessions
		case *kmsg.BrokerRegistrationRequest:
			h.sessionsMu.Lock()
			defer h.sessionsMu.Unlock()
			in.Sessions = h.sessions
		}
	}
	return h.o.Controller.Handle(in, r.req)
}

// watch does what is due by time: fences brokers that are gone, and holds elections.
func (h *Host) watch(ctx context.Context) {
	if !h.serving.IsSelf || h.sessions == nil {
		return
	}
	now := h.nowMs()
	h.sessionsMu.Lock()
	gone := h.sessions.Tick(h.image, now)
	h.sessionsMu.Unlock()
	for _, id := range gone {
		h.o.Logger.Warn("a broker is silent or dead; its partitions get other leaders", "broker", id)
		h.fencedCount.Add(1)
		h.proposeOwn(ctx, h.o.Controller.Fence(h.input(), id))
	}
	if h.o.BalanceInterval > 0 && now >= h.balanceAt {
		h.balanceAt = h.elect(ctx, now, h.o.BalanceInterval, h.o.Controller.BalanceLeaders)
	}
	if h.o.UncleanInterval > 0 && now >= h.uncleanAt {
		h.uncleanAt = h.elect(ctx, now, h.o.UncleanInterval, h.o.Controller.ElectUncleanLeaders)
	}
	if h.o.GrowInterval > 0 && now >= h.growAt {
		h.growAt = now + h.o.GrowInterval.Milliseconds()
		h.proposeOwn(ctx, h.o.Controller.GrowInternalTopics(h.input()))
	}
	h.doBalance(ctx, now)
}

// elect holds a round of elections and returns when the next is due.
func (h *Host) elect(ctx context.Context, now int64, interval time.Duration, round func(controller.Input) ([]metadata.Record, bool)) int64 {
	records, more := round(h.input())
	h.proposeOwn(ctx, records)
	if more {
		return now
	}
	return now + interval.Milliseconds()
}

// proposeOwn proposes what nobody waits for. Where that fails, the leadership is lost or the node stops.
func (h *Host) proposeOwn(ctx context.Context, records []metadata.Record) {
	if len(records) == 0 || !h.serving.IsSelf {
		return
	}
	if err := h.proposeInPieces(ctx, records, func(int64, error) {}); err != nil && ctx.Err() == nil {
		h.o.Logger.Error("cannot write a change of the controller's own", "error", err)
	}
}
