package peer

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/metrics"
)

// keptIdle is for how long a connection that nobody uses is kept, at least.
const keptIdle = 5 * time.Minute

// Keeper keeps connections to nodes for one purpose: a bounded number to each, with one request at a time on each. What
// takes long there, as the creation of thousands of partitions, holds up nobody as long as there is another
// connection. Methods may be called from any goroutine.
type Keeper struct {
	o       Options // of every connection but its address
	perNode int
	waiting *metrics.Gauge // nil where nobody counts who waits for a connection

	mu    sync.Mutex
	nodes map[Address]*keptNode // guarded by mu
}

// keptNode is the connections to one node.
type keptNode struct {
	slots  chan struct{} // one element per connection in use
	users  int           // guarded by the Keeper's mu: those who have a slot or wait for one
	idle   []*Conn       // guarded by the Keeper's mu; the one used last at the end
	usedAt time.Time     // guarded by the Keeper's mu
}

// NewKeeper returns a Keeper without any connection yet. waiting may be nil.
func NewKeeper(o Options, perNode int, waiting *metrics.Gauge) *Keeper {
	o.MaxInFlight = 1
	return &Keeper{o: o, perNode: perNode, waiting: waiting, nodes: map[Address]*keptNode{}}
}

// Call sends a request to a node, over a new connection where no other one is free. Its errors are those of Conn.Call
// and Dial; when ctx ends before the answer, the connection is given up.
func (k *Keeper) Call(ctx context.Context, address Address, req kmsg.Request) (kmsg.Response, error) {
	conn, err := k.take(ctx, address)
	if err != nil {
		return nil, err
	}
	defer k.giveBack(conn)
	return conn.Call(ctx, req)
}

// Forget closes the connections to a node that nobody uses at the moment.
func (k *Keeper) Forget(address Address) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := k.nodes[address]; n != nil {
		n.close()
		k.dropLocked(address, n)
	}
}

// take returns a connection to a node that nobody else uses, for giveBack. With an error nothing was sent.
func (k *Keeper) take(ctx context.Context, address Address) (*Conn, error) {
	n := k.enter(address)
	if k.waiting != nil {
		k.waiting.Add(1)
		defer k.waiting.Add(-1)
	}
	select {
	case n.slots <- struct{}{}:
	case <-ctx.Done():
		k.leave(address, n, nil)
		return nil, ctx.Err()
	}
	if conn := k.reuse(n); conn != nil {
		return conn, nil
	}
	o := k.o
	o.Address = address
	conn, err := Dial(ctx, o)
	if err != nil {
		<-n.slots
		k.leave(address, n, nil)
		return nil, fmt.Errorf("no connection: %w", err)
	}
	return conn, nil
}

// enter notes another user of a node. At the first one of a node it clears away what is of no use any more: nodes
// whose connections have ended, and those that nobody has called for long.
func (k *Keeper) enter(address Address) *keptNode {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := k.nodes[address]
	if n == nil {
		now := time.Now()
		for other, n := range k.nodes {
			if n.users == 0 && now.Sub(n.usedAt) > keptIdle {
				n.close()
			}
			k.dropLocked(other, n)
		}
		n = &keptNode{slots: make(chan struct{}, k.perNode)}
		k.nodes[address] = n
	}
	n.users++
	return n
}

// leave notes that a user has done; conn is kept if it is not nil.
func (k *Keeper) leave(address Address, n *keptNode, conn *Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	n.users--
	n.usedAt = time.Now()
	if conn != nil {
		n.idle = append(n.idle, conn)
	}
	k.dropLocked(address, n)
}

// dropLocked forgets a node without users and connections. mu is held.
func (k *Keeper) dropLocked(address Address, n *keptNode) {
	for len(n.idle) > 0 && n.idle[len(n.idle)-1].Err() != nil {
		n.idle = n.idle[:len(n.idle)-1]
	}
	if n.users == 0 && len(n.idle) == 0 && k.nodes[address] == n {
		delete(k.nodes, address)
	}
}

// close ends the idle connections. The Keeper's mu is held.
func (n *keptNode) close() {
	for _, conn := range n.idle {
		conn.Close()
	}
	n.idle = nil
}

// reuse returns an idle connection, nil if there is none.
func (k *Keeper) reuse(n *keptNode) *Conn {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(n.idle) > 0 {
		conn := n.idle[len(n.idle)-1]
		n.idle = n.idle[:len(n.idle)-1]
		if conn.Err() == nil {
			return conn
		}
	}
	return nil
}

// giveBack keeps a connection for the next request. One whose answer nobody waits for any more is closed.
func (k *Keeper) giveBack(conn *Conn) {
	address := conn.o.Address
	k.mu.Lock()
	n := k.nodes[address] // there is one as long as it has users
	k.mu.Unlock()
	if conn.isBusy() {
		conn.Close()
	}
	if conn.Err() != nil {
		conn = nil
	}
	k.leave(address, n, conn)
	<-n.slots
}
