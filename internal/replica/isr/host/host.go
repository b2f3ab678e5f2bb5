package host

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/replica/isr"
)

// Options configure a Host.
type Options struct {
	NodeID int32
	// Send takes a request to the active controller, wherever it is.
	Send func(ctx context.Context, r *kmsg.AlterPartitionRequest) (*kmsg.AlterPartitionResponse, error)
	// BrokerEpoch is the one in which this broker is registered.
	BrokerEpoch func() int64
	// LagMaxMs is replica.lag.time.max.ms.
	LagMaxMs int64
	Clock    env.Clock
	Spawner  *env.Spawner
	Metrics  *metrics.Registry
}

// Host is the way of proposals to the controller.
type Host struct {
	options Options
	wake    chan struct{} // holds one

	mu        sync.Mutex
	proposals []isr.Proposal // that the goroutine has not seen; about one per partition led here at most
}

// New returns a Host; Start runs it.
func New(o Options) *Host {
	h := &Host{options: o, wake: make(chan struct{}, 1)}
	return h
}

// Propose takes a change that the leader of p wants. It does not block.
func (h *Host) Propose(p *partition.Partition, c *partition.ISRChange) {
	h.mu.Lock()
	h.proposals = append(h.proposals, isr.Proposal{Partition: p, Change: c})
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// Start begins to send, and to call checkLag as often as followers may begin to lag.
func (h *Host) Start(checkLag func(nowMs int64)) {
	h.options.Spawner.Go("isr-sender", func(ctx context.Context) { h.run(ctx, checkLag) })
}

// mostCheckMs is the longest time between two looks for followers that lag: what is not in sync any more holds up every
// producer with acks=all until it is taken out.
const mostCheckMs = 1000

// requestTimeout is how long one request may take. It is sent again then.
const requestTimeout = 30 * time.Second

func (h *Host) run(ctx context.Context, checkLag func(nowMs int64)) {
	core := isr.New(h.options.NodeID, h.options.Metrics)
	every := max(min(h.options.LagMaxMs/2, mostCheckMs), 1)
	checkMs := h.options.Clock.Now().UnixMilli() + every
	for ctx.Err() == nil {
		now := h.options.Clock.Now().UnixMilli()
		if now >= checkMs || checkMs-now > every { // the wall clock may be set back
			checkLag(now)
			checkMs = now + every
		}
		h.mu.Lock()
		for _, p := range h.proposals {
			core.Add(p)
		}
		h.proposals = nil
		h.mu.Unlock()
		r, againMs := core.Next(now, h.options.BrokerEpoch())
		if r == nil {
			if againMs == 0 || againMs > checkMs {
				againMs = checkMs
			}
			h.sleep(ctx, time.Duration(againMs-now)*time.Millisecond)
			continue
		}
		response, err := h.send(ctx, r)
		now = h.options.Clock.Now().UnixMilli()
		if err != nil {
			if ctx.Err() == nil {
				slog.Warn("the controller was not reached with a change of in-sync replicas; trying again", "error", err)
			}
			core.Failed(now)
			continue
		}
		core.Take(response, now)
	}
}

func (h *Host) send(ctx context.Context, r *kmsg.AlterPartitionRequest) (*kmsg.AlterPartitionResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return h.options.Send(ctx, r)
}

func (h *Host) sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-h.wake:
	case <-timer.C:
	case <-ctx.Done():
	}
}
