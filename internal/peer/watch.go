package peer

import (
	"context"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/peer/suspect"
)

// probeTimeout is when a node that accepts connections and says nothing is left to its session.
const probeTimeout = time.Second

// WatchOptions is what a Watch needs; Network may be nil.
type WatchOptions struct {
	Self    Self
	Spawner *env.Spawner
	Metrics *metrics.Registry
	Network Network
	// OnDead hears of a process that is gone, once; it must not block.
	OnDead func(nodeID int32, incarnationID kafka.UUID)
}

// Watch finds out whether nodes live whose connections have ended. It drives suspect.List.
type Watch struct {
	o    WatchOptions
	wake chan struct{}
	dead *metrics.Counter

	mu   sync.Mutex
	list suspect.List // guarded by mu
}

// NewWatch returns a Watch, whose goroutine runs until the spawner stops.
func NewWatch(o WatchOptions) *Watch {
	w := &Watch{o: o, wake: make(chan struct{}, 1), dead: o.Metrics.Counter("moldau_peer_deaths_total", "Nodes that were found dead: their connections had ended, and nobody listened where they had.")}
	o.Metrics.GaugeFunc("moldau_peer_suspects", "Nodes that are probed because connections to them have ended.", func() float64 {
		w.mu.Lock()
		defer w.mu.Unlock()
		return float64(w.list.Len())
	})
	o.Spawner.Go("peer-watch", w.run)
	return w
}

// Lost says that a connection to or from a node has ended without having been closed here: it is
// Options.OnLost. address is where the node listens. It does not block.
func (w *Watch) Lost(nodeID int32, incarnationID kafka.UUID, address Address) {
	w.mu.Lock()
	w.list.Lost(suspect.Node{ID: nodeID, IncarnationID: incarnationID, Host: address.Host, Port: address.Port}, time.Now())
	w.mu.Unlock()
	w.wakeUp()
}

func (w *Watch) wakeUp() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run is the watch's goroutine: it sends the probes when they are due.
func (w *Watch) run(ctx context.Context) {
	for {
		w.mu.Lock()
		due := w.list.Due(time.Now())
		next, some := w.list.Next()
		w.mu.Unlock()
		for _, node := range due {
			w.o.Spawner.Go("peer-probe "+node.Host, func(ctx context.Context) { w.probe(ctx, node) })
		}
		var timer *time.Timer
		var expired <-chan time.Time
		if some {
			timer = time.NewTimer(time.Until(next))
			expired = timer.C
		}
		select {
		case <-w.wake:
		case <-expired:
		case <-ctx.Done():
		}
		if some {
			timer.Stop()
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// probe sends one probe and takes its outcome to the list.
func (w *Watch) probe(ctx context.Context, node suspect.Node) {
	within, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	hello, err := Probe(within, w.o.Self, Address{NodeID: node.ID, Host: node.Host, Port: node.Port}, w.o.Network)
	outcome, answered := suspect.Silent, kafka.UUID{}
	switch {
	case ctx.Err() != nil:
		return
	case err == nil:
		outcome, answered = suspect.Answered, hello.IncarnationID
	case isRefused(err):
		outcome = suspect.Refused
	case isCut(err):
		outcome = suspect.Cut
	}
	w.mu.Lock()
	dead := w.list.Probed(node, outcome, answered, time.Now())
	w.mu.Unlock()
	if dead {
		w.dead.Inc()
		w.o.OnDead(node.ID, node.IncarnationID)
	}
	w.wakeUp()
}
