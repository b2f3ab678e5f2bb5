package peer

import (
	"context"
	"fmt"
	"sync"

	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/wire"
)

// lane is a bounded number of connections to the active controller, with one request at a time each: what
// takes long there, as the creation of thousands of partitions, does not hold up what others ask.
type lane struct {
	o       ControllersOptions
	slots   chan struct{} // one element per connection in use
	waiting *metrics.Gauge

	mu   sync.Mutex
	idle []*Conn // guarded by mu; to one address
}

func newLane(o ControllersOptions, connections int, waiting *metrics.Gauge) *lane {
	return &lane{o: o, slots: make(chan struct{}, connections), waiting: waiting}
}

// take returns a connection to address that nobody else uses, for giveBack.
func (l *lane) take(ctx context.Context, address Address) (*Conn, error) {
	l.waiting.Add(1)
	defer l.waiting.Add(-1)
	select {
	case l.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", errUnsent, ctx.Err())
	}
	if conn := l.reuse(address); conn != nil {
		return conn, nil
	}
	conn, err := Dial(ctx, Options{Self: l.o.Self, Address: address, Purpose: wire.PurposeForward, Spawner: l.o.Spawner, Network: l.o.Network, OnLost: l.o.OnLost})
	if err != nil {
		<-l.slots
		l.o.Logger.Debug("no connection to the active controller", "controller", address.String(), "error", err)
		return nil, fmt.Errorf("%w: %w", errUnsent, err)
	}
	return conn, nil
}

// reuse returns an idle connection to address, and closes those to others.
func (l *lane) reuse(address Address) *Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.idle) > 0 {
		conn := l.idle[len(l.idle)-1]
		l.idle = l.idle[:len(l.idle)-1]
		if conn.o.Address == address && conn.Err() == nil {
			return conn
		}
		conn.Close()
	}
	return nil
}

// giveBack keeps a connection for the next request. One whose answer nobody waits for any more is closed.
func (l *lane) giveBack(conn *Conn) {
	defer func() { <-l.slots }()
	if conn.isBusy() {
		conn.Close()
	}
	if conn.Err() != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.idle = append(l.idle, conn)
}
