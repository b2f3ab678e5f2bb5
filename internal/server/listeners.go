package server

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
)

// boundListener is a listener with its socket.
type boundListener struct {
	Listener
	socket   net.Listener
	started  bool // connections are accepted; guarded by the server's mu
	closing  atomic.Bool
	draining chan struct{} // closed when closing is set
	// over ends the connections that are still without an answer some time after closing.
	over atomic.Bool
}

// close ends accepting; the listener's connections see it and end after the request at hand.
func (l *boundListener) close() {
	if l.closing.CompareAndSwap(false, true) {
		close(l.draining)
	}
	_ = l.socket.Close()
}

// Open listens on l, too, and accepts its connections once the server is started.
func (s *Server) Open(l Listener) error {
	socket, err := net.Listen("tcp", l.Address)
	if err != nil {
		return fmt.Errorf("cannot listen on %s for listener %s: %w", l.Address, l.Name, err)
	}
	bound := &boundListener{Listener: l, socket: socket, draining: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping.Load() {
		bound.close()
		return nil
	}
	s.listeners = append(slices.Clip(s.listeners), bound) // Stop may be reading the old ones
	s.acceptFrom(bound)
	return nil
}

// acceptFrom begins to accept connections, if that is wanted already. mu is held.
func (s *Server) acceptFrom(l *boundListener) {
	if l.started || s.wants == nil || !s.wants(l.Kind) {
		return
	}
	l.started = true
	s.spawner.Go("accept "+l.Name, func(ctx context.Context) { s.accept(ctx, l) })
}

// Close closes the named listener: nobody can connect any more when it returns. Its connections end
// as with Stop: requests in flight get the grace, then their contexts end.
func (s *Server) Close(listener string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.IndexFunc(s.listeners, func(l *boundListener) bool { return l.Name == listener })
	if at < 0 || s.stopping.Load() {
		return
	}
	closed := s.listeners[at]
	s.listeners = slices.Delete(slices.Clone(s.listeners), at, at+1)
	closed.close()
	if s.spawner == nil {
		return
	}
	s.spawner.Go("close "+listener, func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, closeLimit)
		defer cancel()
		if err := s.drain(ctx, closed); err != nil {
			s.logger.Warn("a listener that was removed", "listener", listener, "error", err)
		}
	})
}

// Listeners returns what is listened on.
func (s *Server) Listeners() []Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Listener, len(s.listeners))
	for i, l := range s.listeners {
		all[i] = l.Listener
	}
	return all
}

// Addr returns where the named listener listens, nil before Bind or for an unknown name.
func (s *Server) Addr(listener string) net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.listeners {
		if l.Name == listener {
			return l.socket.Addr()
		}
	}
	return nil
}
