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
	for s.waitForSlot(ctx) {
		socket, err := l.socket.Accept()
		switch {
		case err == nil:
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

// waitForSlot waits until there are fewer connections than max.connections; as in Kafka new
// ones wait in the socket's backlog meanwhile.
func (s *Server) waitForSlot(ctx context.Context) bool {
	for {
		s.mu.Lock()
		limit, freed := s.limits.MaxConnections, s.slotFreed
		full := len(s.connections) >= limit
		s.mu.Unlock()
		if !full {
			return true
		}
		s.log.warn("max.connections", "max.connections is reached: new connections wait until one closes", "limit", limit)
		select {
		case <-freed:
		case <-ctx.Done():
			return false
		}
	}
}

func (s *Server) admit(l boundListener, socket net.Conn) {
	s.metrics.accepted.Inc()
	s.setBuffers(socket)
	c := newConnection(s, l, socket)
	s.mu.Lock()
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

// SetConnectionLimits changes MaxConnections, MaxConnectionsPerIP and its overrides to those of l
// while the server runs. Connections that are open stay.
func (s *Server) SetConnectionLimits(l Limits) {
	l = l.withDefaults()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits.MaxConnections, s.limits.MaxConnectionsPerIP = l.MaxConnections, l.MaxConnectionsPerIP
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
