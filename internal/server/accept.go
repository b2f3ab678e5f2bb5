package server

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/moldau/moldau/internal/wire"
)

// acceptRetry is the pause after accepting failed, which happens when files run out.
const acceptRetry = 100 * time.Millisecond

func (s *Server) accept(ctx context.Context, l *boundListener) {
	for {
		socket, err := l.socket.Accept()
		switch {
		case err == nil:
			// Only now: the limits may have changed while nobody came.
			if !s.waitForSlot(ctx, l) {
				_ = socket.Close()
				return
			}
			s.admit(l, socket)
		case l.closing.Load() || errors.Is(err, net.ErrClosed):
			return
		default:
			s.log.warn("accept", "cannot accept a connection, trying again: raise the limit of open files if it says too many", "listener", l.Name, "error", err)
			if !pause(ctx, acceptRetry) {
				return
			}
		}
	}
}

// pause waits for d and reports whether ctx is still going on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// waitForSlot waits until the rates of connections and max.connections admit one connection more;
// as in Kafka those behind it wait in the socket's backlog meanwhile.
func (s *Server) waitForSlot(ctx context.Context, l *boundListener) bool {
	gate := s.gateOf(l.Kind)
	now := time.Now()
	until := now.Add(gate.rates.Accept(l.Name, now))
	for {
		s.mu.Lock()
		limit, freed := s.limits.MaxConnections, s.slotFreed
		full := gate.open >= limit && !s.isProtected(l)
		if most, limited := s.limits.MaxListenerConnections[l.Name]; !full && limited {
			limit, full = most, s.perListener[l.Name] >= most
		}
		s.mu.Unlock()
		ahead := time.Until(until)
		switch {
		case full:
			s.log.warn("max.connections", "max.connections is reached: new connections wait until one closes", "limit", limit, "listener", l.Name)
			ahead = time.Hour
		case ahead <= 0:
			return true
		}
		timer := time.NewTimer(ahead)
		select {
		case <-freed: // or the limits have changed
			if !gate.rates.IsLimited(l.Name) {
				until = now
			}
		case <-timer.C:
		case <-l.draining:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil || l.closing.Load() {
			return false
		}
	}
}

// isProtected reports whether max.connections does not hold for a listener, as in Kafka: brokers that have one of their
// own reach each other whatever clients take. mu is held.
func (s *Server) isProtected(l *boundListener) bool {
	return l.Privileged && l.Kind&wire.BrokerListener != 0 && slices.ContainsFunc(s.listeners, func(other *boundListener) bool {
		return other != l && other.Kind&wire.BrokerListener != 0
	})
}

// refuse closes a connection of an address that makes them too fast when its throttle time is over,
// as Kafka does: closed at once, its client would only try again the sooner.
func (s *Server) refuse(socket net.Conn, wait time.Duration) {
	s.metrics.refused("address rate")
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.refusedSockets) >= maxRefused || s.stopping.Load() {
		_ = socket.Close()
		return
	}
	s.refusedSockets[socket] = time.AfterFunc(wait, func() {
		_ = socket.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.refusedSockets, socket)
	})
}

// maxRefused bounds the connections that wait to be closed; those beyond it are closed at once.
const maxRefused = 1000

// closeRefused closes what waits to be closed.
func (s *Server) closeRefused() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for socket, timer := range s.refusedSockets {
		timer.Stop()
		_ = socket.Close()
	}
	clear(s.refusedSockets)
}

func (s *Server) admit(l *boundListener, socket net.Conn) {
	gate := s.gateOf(l.Kind)
	s.metrics.accepted.Inc()
	if peer, err := netip.ParseAddrPort(socket.RemoteAddr().String()); err == nil {
		if wait := gate.rates.AcceptFrom(l.Name, peer.Addr(), time.Now()); wait > 0 {
			s.refuse(socket, wait)
			return
		}
	}
	s.setBuffers(socket)
	c := newConnection(s, l, socket)
	s.mu.Lock()
	if s.drained {
		s.mu.Unlock()
		c.fail()
		return
	}
	limit := s.limits.MaxConnectionsPerIP
	if override, ok := s.limits.MaxConnectionsPerIPOverrides[c.context.Host]; ok {
		limit = override
	}
	isFull := gate.perIP[c.context.Host] >= limit
	if isFull && !(l.Privileged && gate.guests < maxGuests) {
		s.mu.Unlock()
		s.refuseAddress(c)
		return
	}
	if c.isGuest = isFull; isFull {
		gate.guests++
	} else {
		gate.perIP[c.context.Host]++
	}
	gate.open++
	s.perListener[l.Name]++
	s.connections[c] = struct{}{}
	s.mu.Unlock()
	s.spawner.Go("connection "+strconv.FormatUint(c.context.ID, 10), c.serve)
}

// maxGuests bounds the connections above max.connections.per.ip that have not said who they are, on the listeners
// where other nodes come in.
const maxGuests = 64

// refuseAddress ends a connection that is one too many of its address.
func (s *Server) refuseAddress(c *connection) {
	s.metrics.refused("per ip")
	c.fail()
	s.log.warn("max.connections.per.ip", "refused a connection: its address has as many as max.connections.per.ip allows", "address", c.context.Host)
}

// uncount takes a connection off its address's, of which it is none any more: it has ended, or is another
// node's, which no limit for clients holds back.
func (s *Server) uncount(c *connection) {
	if c.isUncounted {
		return
	}
	c.isUncounted = true
	gate := s.gateOf(c.kind)
	if c.isGuest {
		gate.guests--
	} else if gate.perIP[c.context.Host]--; gate.perIP[c.context.Host] == 0 {
		delete(gate.perIP, c.context.Host)
	}
}

// SetConnectionLimits changes MaxConnections, MaxListenerConnections, MaxConnectionsPerIP and its
// overrides to those of l while the server runs. Connections that are open stay.
func (s *Server) SetConnectionLimits(l Limits) {
	l = l.withDefaults()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits.MaxConnections, s.limits.MaxConnectionsPerIP = l.MaxConnections, l.MaxConnectionsPerIP
	s.limits.MaxListenerConnections = l.MaxListenerConnections
	s.limits.MaxConnectionsPerIPOverrides = l.MaxConnectionsPerIPOverrides
	close(s.slotFreed) // who waits for a slot looks again
	s.slotFreed = make(chan struct{})
}

// gateOf is where connections of a kind of listener are counted. Its counts are guarded by mu.
func (s *Server) gateOf(kind wire.ListenerKind) *gate {
	if kind&wire.BrokerListener == 0 {
		return &s.controllers
	}
	return &s.brokers
}

// setBuffers sets what the operator asked for; a socket that cannot is used as it is.
func (s *Server) setBuffers(socket net.Conn) {
	if sized, ok := socket.(interface{ SetWriteBuffer(bytes int) error }); ok && s.limits.SendBufferBytes > 0 {
		_ = sized.SetWriteBuffer(s.limits.SendBufferBytes)
	}
	if sized, ok := socket.(interface{ SetReadBuffer(bytes int) error }); ok && s.limits.ReceiveBufferBytes > 0 {
		_ = sized.SetReadBuffer(s.limits.ReceiveBufferBytes)
	}
}

// forget takes an ended connection off the books.
func (s *Server) forget(c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.connections, c)
	s.perListener[c.context.Listener]--
	s.gateOf(c.kind).open--
	s.uncount(c)
	close(s.slotFreed)
	s.slotFreed = make(chan struct{})
}
