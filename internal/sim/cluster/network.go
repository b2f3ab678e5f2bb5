package cluster

import (
	"errors"
	"slices"
)

// clientsID is where all clients are in the network.
const clientsID = int32(0)

var (
	// errRefused says that nobody listens: the request was certainly not handled.
	errRefused = errors.New("connection refused")
	// errLost says that the connection is gone: the request may have been handled, or may still be.
	errLost = errors.New("connection lost")
)

// network carries bytes between nodes, and between nodes and clients. What it loses it sends again, as TCP does, so that
// loss is delay; a connection carries everything in order, and others overtake it.
type network struct {
	w *World
	// cut has the directions in which nothing arrives.
	cut   map[[2]int32]bool
	conns []*conn
}

// arrives reports whether anything gets from one place to another.
func (n *network) arrives(from, to int32) bool { return from == to || !n.cut[[2]int32{from, to}] }

// delay is how long a message takes: now and then it has to be sent again.
func (n *network) delay() int64 {
	w := n.w
	if !w.healing && w.oneIn(100) {
		return w.between(20, 250)
	}
	return w.between(0, 3)
}

// conn is a connection of a client or a node to a node. When it breaks, who has asked does not know which
// of the requests were handled: some of those under way still are, later than those of the next connection.
type conn struct {
	w        *World
	name     string
	from, to int32
	client   *process // nil of clients
	server   *process // the incarnation that has taken the connection, nil before
	closed   bool
	// prompt says that nothing of what is under way arrives any more once the connection was given up.
	prompt   bool
	requests pipe
	answers  pipe
	pending  []*call // not answered at the client's
	left     int     // of them, whose answers are on their way
	// onBroken is told once that the connection has ended; not if it was closed here.
	onBroken func()
}

type call struct {
	done     func(answer any, err error)
	over     bool // done was called
	answered bool
	answer   any
}

// pipe is one direction of a connection.
type pipe struct {
	from, to int32
	queue    []parcel
	lastMs   int64
	planned  bool
}

type parcel struct {
	atMs int64
	run  func()
}

func (w *World) dial(name string, from int32, client *process, to int32) *conn {
	c := &conn{w: w, name: name, from: from, to: to, client: client, requests: pipe{from: from, to: to}, answers: pipe{from: to, to: from}}
	w.network.conns = append(w.network.conns, c)
	return c
}

// send has run happen at the other end.
func (w *World) send(p *pipe, run func()) {
	p.lastMs = max(p.lastMs, w.nowMs+w.network.delay())
	p.queue = append(p.queue, parcel{p.lastMs, run})
	w.pump(p)
}

// pump plans the arrival of what is first in a pipe.
func (w *World) pump(p *pipe) {
	if p.planned || len(p.queue) == 0 {
		return
	}
	p.planned = true
	w.after(max(0, p.queue[0].atMs-w.nowMs), func() {
		p.planned = false
		if len(p.queue) == 0 {
			return
		}
		if !w.network.arrives(p.from, p.to) {
			p.queue[0].atMs = w.nowMs + w.between(10, 80) // sent again
			w.pump(p)
			return
		}
		first := p.queue[0]
		p.queue = p.queue[1:]
		first.run()
		w.pump(p)
	})
}

// call has handle run on the node: it calls answer once, now or later. done gets the answer, or why there is none.
// After timeoutMs the connection is given up; 0 is never.
func (c *conn) call(timeoutMs int64, handle func(p *process, answer func(any)), done func(any, error)) {
	w, this := c.w, &call{done: done}
	if c.closed {
		w.after(0, func() { done(nil, errRefused) })
		return
	}
	c.pending = append(c.pending, this)
	w.send(&c.requests, func() { c.arrive(this, handle) })
	if timeoutMs > 0 {
		w.after(timeoutMs, func() {
			if !this.over && !c.closed {
				c.deliver(func() {
					if !this.over {
						c.broken(errLost)
					}
				})
			}
		})
	}
}

// taker returns the process that has taken the connection. Where that is gone, it is nil, and who has asked is told.
func (c *conn) taker() *process {
	p := c.w.node(c.to).process
	if p == nil || c.server != nil && c.server != p {
		if !c.closed {
			c.w.send(&c.answers, func() { c.broken(errRefused) })
		}
		return nil
	}
	c.server = p
	return p
}

func (c *conn) arrive(this *call, handle func(p *process, answer func(any))) {
	p := c.taker()
	if p == nil {
		return
	}
	p.run(func() {
		handle(p, func(answer any) {
			if !p.alive() || this.answered || c.closed {
				return
			}
			this.answered, this.answer = true, answer
			c.leave()
		})
	})
}

// leave sends the answers that are there, in the order of the requests.
func (c *conn) leave() {
	for c.left < len(c.pending) && c.pending[c.left].answered {
		first := c.pending[c.left]
		c.left++
		c.w.send(&c.answers, func() {
			c.deliver(func() {
				if len(c.pending) > 0 && c.pending[0] == first {
					c.pending, c.left = c.pending[1:], c.left-1
					first.finish(first.answer, nil)
				}
			})
		})
	}
}

func (c *call) finish(answer any, err error) {
	if !c.over {
		c.over = true
		c.done(answer, err)
	}
}

// deliver runs f where the connection was made from.
func (c *conn) deliver(f func()) {
	if c.client == nil {
		f()
		return
	}
	c.client.run(f)
}

// broken tells that the connection is gone.
func (c *conn) broken(err error) {
	if c.closed {
		return
	}
	c.end(err)
	if c.onBroken != nil {
		c.deliver(c.onBroken)
	}
}

// close gives the connection up. What was sent may still arrive.
func (c *conn) close() { c.end(errLost) }

func (c *conn) end(err error) {
	if c.closed {
		return
	}
	c.closed = true
	w := c.w
	if c.prompt {
		c.requests.queue = nil
	} else if keep := len(c.requests.queue); keep > 0 {
		c.requests.queue = c.requests.queue[:w.random.IntN(keep+1)]
	}
	pending := c.pending
	c.pending, c.left, c.answers.queue = nil, 0, nil
	for _, p := range pending {
		c.deliver(func() { p.finish(nil, err) })
	}
	if server := c.server; server != nil && c.client != nil && server.alive() {
		client := c.client
		w.after(w.network.delay(), func() {
			if w.network.arrives(c.from, c.to) {
				server.run(func() { server.peerClosed(client) })
			}
		})
	}
	if i := slices.Index(w.network.conns, c); i >= 0 {
		w.network.conns = slices.Delete(w.network.conns, i, i+1)
	}
}

// processEnded breaks the connections of a process. Others hear of that if the network lets them.
func (n *network) processEnded(p *process) {
	for _, c := range slices.Clone(n.conns) {
		switch {
		case c.client == p:
			c.onBroken = nil
			for _, call := range c.pending {
				call.over = true
			}
			c.close()
		case c.server == p:
			c.requests.queue = nil
			n.w.send(&c.answers, func() { c.broken(errLost) })
		}
	}
}

// reset breaks a connection for no reason.
func (n *network) reset() {
	if len(n.conns) > 0 {
		c := n.conns[n.w.random.IntN(len(n.conns))]
		n.w.note("the connection %s from %d to %d breaks with %d in flight", c.name, c.from, c.to, len(c.pending))
		c.broken(errLost)
	}
}

// post has handle run on the node, without an answer.
func (c *conn) post(handle func(p *process)) {
	if c.closed {
		return
	}
	c.w.send(&c.requests, func() {
		if p := c.taker(); p != nil {
			p.run(func() { handle(p) })
		}
	})
}
