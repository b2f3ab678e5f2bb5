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

	spawner  *env.Spawner // nil before Start; guarded by mu for who is no connection
	stopping atomic.Bool
	nextID   atomic.Uint64

	mu          sync.Mutex
	listeners   []*boundListener
	wants       func(kind wire.ListenerKind) bool // whose connections are accepted; nil before Start
	connections map[*connection]struct{}
	perListener map[string]int
	// brokers and controllers count apart, as Kafka's two socket servers do; guarded by mu.
	brokers, controllers gate
	// drained says that Stop waits for connections no longer: one that comes now is closed; guarded by mu.
	drained bool
	// refusedSockets are connections that wait to be closed; guarded by mu.
	refusedSockets map[net.Conn]*time.Timer
	// slotFreed is closed and replaced when a connection ends; guarded by mu.
	slotFreed chan struct{}
}

// gate counts the connections of listeners that have their limits together.
type gate struct {
	rates *quota.Connections
	open  int
	perIP map[string]int
	// guests are the connections beyond their address's limit that have to say hello first.
	guests int
}

// New returns a server that is not listening yet.
func New(options Options) *Server {
	limits := options.Limits.withDefaults()
	if options.Logger == nil {
		options.Logger = slog.Default()
	}
	s := &Server{
		options:        options,
		limits:         limits,
		metrics:        newServerMetrics(options.Metrics),
		log:            newLimitedLog(options.Logger),
		logger:         options.Logger,
		memory:         newBudget(limits.RequestMemoryBytes),
		connections:    map[*connection]struct{}{},
		perListener:    map[string]int{},
		brokers:        newGate(options.Connections),
		controllers:    newGate(options.ControllerConnections),
		refusedSockets: map[net.Conn]*time.Timer{},
		slotFreed:      make(chan struct{}),
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

func newGate(rates *quota.Connections) gate {
	if rates == nil {
		rates = quota.NewConnections(quota.Window{Samples: 1, Sample: time.Second}, time.Now())
	}
	return gate{rates: rates, perIP: map[string]int{}}
}

// Bind opens the listening sockets, all or none. Clients that connect now wait for Start.
func (s *Server) Bind() error {
	for _, l := range s.options.Listeners {
		if err := s.Open(l); err != nil {
			for _, bound := range s.Listeners() {
				s.Close(bound.Name)
			}
			return err
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
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spawner == nil {
		// The goroutines outlive ctx: Stop ends them in order.
		s.spawner = env.NewSpawner(context.WithoutCancel(ctx), onPanic)
	}
	s.wants = wants
	for _, l := range s.listeners {
		s.acceptFrom(l)
	}
}

// closeLimit bounds how long requests in flight hold up the end of a listener that was removed.
const closeLimit = 10 * time.Second

// stuckHandler is how long Stop waits for handlers after it has closed their connections.
const stuckHandler = 5 * time.Second

// Stop closes the listeners and idle connections, lets requests in flight finish until the
// grace has passed, ends their contexts, waits until they have answered or ctx ends, and closes
// what is left. It returns ctx's error if it had to cut somebody off.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	s.stopping.Store(true)
	listeners, spawner := s.listeners, s.spawner
	s.mu.Unlock()
	for _, l := range listeners {
		l.close()
	}
	if spawner == nil {
		return nil
	}
	s.closeRefused()
	cut := s.drain(ctx, nil)
	s.mu.Lock()
	s.drained = true
	s.mu.Unlock()
	s.eachConnection(nil, (*connection).fail) // accepted just before, and admitted after the last look
	spawner.Stop()
	return cut
}

// drain ends the connections of a listener that has been closed, of all listeners for nil, and
// waits for their end.
func (s *Server) drain(ctx context.Context, of *boundListener) error {
	s.eachConnection(of, (*connection).stopReading)
	grace, newcomers := time.NewTimer(s.limits.StopGrace), time.NewTimer(s.limits.NewcomerGrace)
	defer grace.Stop()
	defer newcomers.Stop()
	var cut error
	var lastResort <-chan time.Time
	for {
		left, freed := s.left(of)
		if left == 0 {
			return cut
		}
		select {
		case <-freed:
		case <-newcomers.C:
			s.eachConnection(of, func(c *connection) {
				c.listener.over.Store(true)
				c.stopReading()
			})
		case <-grace.C:
			s.eachConnection(of, func(c *connection) { c.cancel() })
		case <-ctx.Done():
			cut = fmt.Errorf("closed %d connections with requests in flight: %w", left, ctx.Err())
			// Each by itself: a socket that a file is being sent to closes when its disk has answered.
			s.eachConnection(of, func(c *connection) { time.AfterFunc(0, c.fail) })
			ctx = context.Background()
			lastResort = time.After(stuckHandler)
		case <-lastResort:
			return fmt.Errorf("BUG: %d handlers do not heed the end of their contexts: %w", left, cut)
		}
	}
}

// left counts the connections of a listener, of all for nil; freed is closed when one ends.
func (s *Server) left(of *boundListener) (count int, freed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.connections {
		if of == nil || c.listener == of {
			count++
		}
	}
	return count, s.slotFreed
}

func (s *Server) eachConnection(of *boundListener, f func(c *connection)) {
	s.mu.Lock()
	all := make([]*connection, 0, len(s.connections))
	for c := range s.connections {
		if of == nil || c.listener == of {
			all = append(all, c)
		}
	}
	s.mu.Unlock()
	for _, c := range all {
		f(c)
	}
}
