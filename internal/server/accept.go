package server

import (
	"context"
	"errors"
	"net"
	"strconv"
	"time"
)

// acceptRetry is the pause after accepting failed, which happens when files run out.
const acceptRetry = 100 * time.Millisecond

func (s *Server) accept(ctx context.Context, l boundListener) {
	for {
		socket, err := l.socket.Accept()
		switch {
		case err == nil:
			// Only now: the limits may have changed while nobody came.
			if !s.waitForSlot(ctx) {
				_ = socket.Close()
				return
			}
			s.admit(l, socket)
		case s.stopping.Load() || errors.Is(err, net.ErrClosed):
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

// waitForSlot waits until max.connections and max.connection.creation.rate admit one connection
// more; as in Kafka those behind it wait in the socket's backlog meanwhile.
func (s *Server) waitForSlot(ctx context.Context) bool {
	for {
		s.mu.Lock()
		limits, freed := s.limits, s.slotFreed
		full := len(s.connections) >= limits.MaxConnections
		ahead := time.Until(s.paidUntil.Add(-burst))
		s.mu.Unlock()
		switch {
		case full:
			s.log.warn("max.connections", "max.connections is reached: new connections wait until one closes", "limit", limits.MaxConnections)
			ahead = time.Hour
		case limits.ConnectionsPerSecond < 0:
			ahead = time.Hour
		case ahead <= 0:
			return true
		}
		timer := time.NewTimer(ahead)
		select {
		case <-freed: // or the limits have changed
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return false
		}
	}
}

// burst is how far connections may run ahead of max.connection.creation.rate.
const burst = time.Second

// payForConnection takes the share of one connection from max.connection.creation.rate, under mu.
func (s *Server) payForConnection() {
	now := time.Now()
	if s.paidUntil.Before(now) {
		s.paidUntil = now
	}
	s.paidUntil = s.paidUntil.Add(time.Second / time.Duration(max(s.limits.ConnectionsPerSecond, 1)))
}

func (s *Server) admit(l boundListener, socket net.Conn) {
	s.metrics.accepted.Inc()
	s.setBuffers(socket)
	c := newConnection(s, l, socket)
	s.mu.Lock()
	s.payForConnection()
	limit := s.limits.MaxConnectionsPerIP
	if override, ok := s.limits.MaxConnectionsPerIPOverrides[c.context.Host]; ok {
		limit = override
	}
	if s.perIP[c.context.Host] >= limit {
		s.mu.Unlock()
		c.fail()
		s.metrics.refused("per ip")
		s.log.warn("max.connections.per.ip", "refused a connection: its address has as many as max.connections.per.ip allows", "address", c.context.Host, "limit", limit)
		return
	}
	s.perIP[c.context.Host]++
	s.connections[c] = struct{}{}
	s.mu.Unlock()
	s.spawner.Go("connection "+strconv.FormatUint(c.context.ID, 10), c.serve)
}

// SetConnectionLimits changes MaxConnections, ConnectionsPerSecond, MaxConnectionsPerIP and its
// overrides to those of l while the server runs. Connections that are open stay.
func (s *Server) SetConnectionLimits(l Limits) {
	l = l.withDefaults()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits.MaxConnections, s.limits.MaxConnectionsPerIP = l.MaxConnections, l.MaxConnectionsPerIP
	s.limits.ConnectionsPerSecond, s.paidUntil = l.ConnectionsPerSecond, time.Time{}
	s.limits.MaxConnectionsPerIPOverrides = l.MaxConnectionsPerIPOverrides
	close(s.slotFreed) // who waits for a slot looks again
	s.slotFreed = make(chan struct{})
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
	if s.perIP[c.context.Host]--; s.perIP[c.context.Host] == 0 {
		delete(s.perIP, c.context.Host)
	}
	close(s.slotFreed)
	s.slotFreed = make(chan struct{})
}
