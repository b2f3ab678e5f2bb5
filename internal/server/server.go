package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/quota"
	"github.com/moldau/moldau/internal/wire"
)

// Server accepts connections and serves requests. Bind, then Start (StartControllers may go before it), once each;
// Stop may come at any time and more than once.
type Server struct {
	options Options
	limits  Limits // those of connections are guarded by mu
	metrics *serverMetrics
	log     *limitedLog
	logger  *slog.Logger
	memory  *budget

	spawner   *env.Spawner
	listeners []boundListener
	stopping  atomic.Bool
	draining  chan struct{} // closed when stopping is set
	nextID    atomic.Uint64

	mu          sync.Mutex
	connections map[*connection]struct{}
	perIP       map[string]int
	perListener map[string]int
	// refusedSockets are connections that wait to be closed; guarded by mu.
	refusedSockets map[net.Conn]*time.Timer
	// slotFreed is closed and replaced when a connection ends; guarded by mu.
	slotFreed chan struct{}
}

type boundListener struct {
	Listener
	socket  net.Listener
	started bool
}

// New returns a server that is not listening yet.
func New(options Options) *Server {
	limits := options.Limits.withDefaults()
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	if options.Connections == nil {
		options.Connections = quota.NewConnections(quota.Window{Samples: 1, Sample: time.Second}, time.Now())
	}
	s := &Server{
		options:        options,
		limits:         limits,
		metrics:        newServerMetrics(options.Metrics),
		log:            newLimitedLog(options.Logger),
		logger:         options.Logger,
		memory:         newBudget(limits.RequestMemoryBytes),
		connections:    map[*connection]struct{}{},
		perIP:          map[string]int{},
		perListener:    map[string]int{},
		refusedSockets: map[net.Conn]*time.Timer{},
		slotFreed:      make(chan struct{}),
		draining:       make(chan struct{}),
	}
	options.Metrics.GaugeFunc("moldau_connections", "Open connections.", func() float64 {
		s.mu.Lock()
		defer s.mu.Unlock()
		return float64(len(s.connections))
	})
	options.Metrics.GaugeFunc("moldau_request_memory_bytes", "Memory that requests are charged with.", func() float64 {
		return float64(s.memory.used.Value())
	})
	return s
}

// Bind opens the listening sockets, all or none. Clients that connect now wait for Start.
func (s *Server) Bind() error {
	for _, l := range s.options.Listeners {
		socket, err := net.Listen("tcp", l.Address)
		if err != nil {
			for _, bound := range s.listeners {
				_ = bound.socket.Close()
			}
			s.listeners = nil
			return fmt.Errorf("cannot listen on %s for listener %s: %w", l.Address, l.Name, err)
		}
		s.listeners = append(s.listeners, boundListener{Listener: l, socket: socket})
	}
	return nil
}

// Addr returns where the named listener listens, nil before Bind or for an unknown name.
func (s *Server) Addr(listener string) net.Addr {
	for _, l := range s.listeners {
		if l.Name == listener {
			return l.socket.Addr()
		}
	}
	return nil
}

// Start begins to accept connections. onPanic hears of a panic outside request handling, which
// the owner should treat as fatal.
func (s *Server) Start(ctx context.Context, onPanic func(name string, err error)) {
	s.start(ctx, onPanic, func(wire.ListenerKind) bool { return true })
}

// StartControllers is Start for the controller listeners alone: controllers talk to each other before
// they serve clients. Start then begins with the rest.
func (s *Server) StartControllers(ctx context.Context, onPanic func(name string, err error)) {
	s.start(ctx, onPanic, func(kind wire.ListenerKind) bool { return kind == wire.ControllerListener })
}

func (s *Server) start(ctx context.Context, onPanic func(name string, err error), wants func(kind wire.ListenerKind) bool) {
	if s.spawner == nil {
		// The goroutines outlive ctx: Stop ends them in order.
		s.spawner = env.NewSpawner(context.WithoutCancel(ctx), onPanic)
	}
	for i := range s.listeners {
		if l := &s.listeners[i]; !l.started && wants(l.Kind) {
			l.started = true
			s.spawner.Go("accept "+l.Name, func(ctx context.Context) { s.accept(ctx, *l) })
		}
	}
}

// stuckHandler is how long Stop waits for handlers after it has closed their connections.
const stuckHandler = 5 * time.Second

// Stop closes the listeners and idle connections, lets requests in flight finish until the
// grace has passed, ends their contexts, waits until they have answered or ctx ends, and closes
// what is left. It returns ctx's error if it had to cut somebody off.
func (s *Server) Stop(ctx context.Context) error {
	if s.stopping.CompareAndSwap(false, true) {
		close(s.draining)
	}
	for _, l := range s.listeners {
		_ = l.socket.Close()
	}
	if s.spawner == nil {
		return nil
	}
	s.closeRefused()
	s.eachConnection((*connection).stopReading)
	grace := time.NewTimer(s.limits.StopGrace)
	defer grace.Stop()
	var cut error
	var lastResort <-chan time.Time
	for {
		s.mu.Lock()
		left, freed := len(s.connections), s.slotFreed
		s.mu.Unlock()
		if left == 0 {
			break
		}
		select {
		case <-freed:
		case <-grace.C:
			s.eachConnection(func(c *connection) { c.cancel() })
		case <-ctx.Done():
			cut = fmt.Errorf("closed %d connections with requests in flight: %w", left, ctx.Err())
			s.eachConnection((*connection).fail)
			ctx = context.Background()
			lastResort = time.After(stuckHandler)
		case <-lastResort:
			return fmt.Errorf("BUG: %d handlers do not heed the end of their contexts: %w", left, cut)
		}
	}
	s.spawner.Stop()
	return cut
}

func (s *Server) eachConnection(f func(c *connection)) {
	s.mu.Lock()
	all := make([]*connection, 0, len(s.connections))
	for c := range s.connections {
		all = append(all, c)
	}
	s.mu.Unlock()
	for _, c := range all {
		f(c)
	}
}
