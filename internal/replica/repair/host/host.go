package host

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/replica/repair"
)

// Options configure a Host.
type Options struct {
	NodeID int32
	// Fetch has another broker answer a fetch.
	Fetch func(ctx context.Context, broker int32, r *kmsg.FetchRequest) (kmsg.Response, error)
	// Propose takes a change of the in-sync replicas to the controller.
	Propose func(p *partition.Partition, change *partition.ISRChange)
	Clock   env.Clock
	Spawner *env.Spawner
	Metrics *metrics.Registry
}

// Host is how partitions with damage come to a Mender.
type Host struct {
	options Options
	wake    chan struct{} // holds one

	mu    sync.Mutex
	added map[*partition.Partition]bool // that the goroutine has not seen
}

// New returns a Host; Start runs it.
func New(o Options) *Host {
	return &Host{options: o, wake: make(chan struct{}, 1), added: map[*partition.Partition]bool{}}
}

// Mend has the damage in the log of a partition mended. It does not block, and takes no lock of the log's.
func (h *Host) Mend(p *partition.Partition) {
	h.mu.Lock()
	h.added[p] = true
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// Start begins to mend.
func (h *Host) Start() { h.options.Spawner.Go("repair", h.run) }

// askTimeout is how long one replica may take to answer, connecting included.
const askTimeout = 10 * time.Second

func (h *Host) run(ctx context.Context) {
	core := repair.New(repair.Options{NodeID: h.options.NodeID, Propose: h.options.Propose, Metrics: h.options.Metrics})
	for ctx.Err() == nil {
		h.mu.Lock()
		for p := range h.added {
			core.Add(p)
		}
		clear(h.added)
		h.mu.Unlock()
		now := h.nowMs()
		ask, againMs := core.Next(now)
		if ask == nil {
			h.sleep(ctx, againMs, now)
			continue
		}
		if response, err := h.ask(ctx, ask); err != nil {
			slog.Warn("cannot ask another replica for what is damaged here", "broker", ask.Broker, "error", err)
			core.Failed(h.nowMs())
		} else {
			core.Take(response, h.nowMs())
		}
	}
}

func (h *Host) nowMs() int64 { return h.options.Clock.Now().UnixMilli() }

func (h *Host) ask(ctx context.Context, ask *repair.Ask) (*kmsg.FetchResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	response, err := h.options.Fetch(ctx, ask.Broker, ask.Request)
	if err != nil {
		return nil, err
	}
	fetched, ok := response.(*kmsg.FetchResponse)
	if !ok {
		return nil, fmt.Errorf("the answer to a fetch is of API key %d", response.Key())
	}
	return fetched, nil
}

func (h *Host) sleep(ctx context.Context, againMs, nowMs int64) {
	wait := time.Hour
	if againMs > 0 {
		wait = time.Duration(againMs-nowMs) * time.Millisecond
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-h.wake:
	case <-timer.C:
	case <-ctx.Done():
	}
}
