package broker

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/peer"
)

// connections keeps a connection to each node that it is asked to call, for one purpose. Methods may be
// called from any goroutine.
type connections struct {
	// options are those of every connection but its address.
	options peer.Options

	mu    sync.Mutex
	slots map[peer.Address]*connectionSlot
}

// connectionSlot is the place of one connection. turn is held while it is looked at or made.
type connectionSlot struct {
	turn chan struct{} // has room for the one who holds it
	conn *peer.Conn
}

func newConnections(o peer.Options) *connections {
	return &connections{options: o, slots: map[peer.Address]*connectionSlot{}}
}

// call sends a request to a node, over a new connection where the old one has ended.
func (c *connections) call(ctx context.Context, address peer.Address, req kmsg.Request) (kmsg.Response, error) {
	conn, err := c.connect(ctx, address)
	if err != nil {
		return nil, err
	}
	return conn.Call(ctx, req)
}

func (c *connections) connect(ctx context.Context, address peer.Address) (*peer.Conn, error) {
	c.mu.Lock()
	slot := c.slots[address]
	if slot == nil {
		slot = &connectionSlot{turn: make(chan struct{}, 1)}
		c.slots[address] = slot
	}
	c.mu.Unlock()
	select {
	case slot.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-slot.turn }()
	if slot.conn != nil {
		select {
		case <-slot.conn.Done():
		default:
			return slot.conn, nil
		}
	}
	o := c.options
	o.Address = address
	conn, err := peer.Dial(ctx, o)
	if err != nil {
		return nil, err
	}
	slot.conn = conn
	return conn, nil
}

// peerRequestTimeout is how long an answer of another node may take before the connection is given up.
const peerRequestTimeout = 30 * time.Second
