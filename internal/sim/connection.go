package sim

// connection is a client's connection to a node. Requests arrive in the order in which they
// were sent, answers too. When it breaks, the client does not know which of its requests were
// handled: some of those under way still are.
type connection struct {
	w          *World
	name       string
	node       *Node
	generation int
	// late says that the node may handle requests of a broken connection after those of its
	// successor, as a server does that still has them in its buffers.
	late     bool
	onBroken func() // plans what the client does next

	inFlight      int
	unanswered    []*call // those that have arrived, in that order
	lastArrivalMs int64
	lastAnswerMs  int64
	cutoffMs      int64 // requests of a broken connection that arrive until then are handled
}

// call is a request that a node handles. Answers leave in the order of the requests.
type call struct {
	answered bool
	leave    func()
}

func (w *World) connect(name string, late bool, onBroken func()) *connection {
	return &connection{w: w, name: name, node: w.nodes[0], late: late, onBroken: onBroken}
}

// connections returns every client's.
func (w *World) connections() []*connection {
	var all []*connection
	for _, p := range w.producers {
		all = append(all, p.conn)
	}
	for _, r := range w.readers {
		all = append(all, r.conn)
	}
	for _, m := range w.members {
		all = append(all, m.conn)
	}
	for _, c := range w.copiers {
		all = append(all, c.conn)
	}
	for _, r := range w.copyReaders {
		all = append(all, r.conn)
	}
	if w.tableWriter != nil {
		all = append(all, w.tableWriter.conn)
	}
	if w.admin != nil {
		all = append(all, w.admin.conn)
	}
	return all
}

// send has a request arrive at the node: handle runs there and calls answer, once, now or
// later; done runs at the client when the answer is back. If the connection breaks before,
// done does not run, but onBroken does, once for all requests.
func (c *connection) send(name string, handle func(p *process, answer func()), done func()) {
	w, generation := c.w, c.generation
	w.calls++
	id := w.calls
	c.inFlight++
	c.lastArrivalMs = max(c.lastArrivalMs, w.nowMs+w.between(0, 15))
	sentTo, arrivalMs := c.node.process, c.lastArrivalMs
	w.after(arrivalMs-w.nowMs, func() {
		p := c.node.process
		stale := generation != c.generation
		switch {
		case stale && (p == nil || p != sentTo || arrivalMs > c.cutoffMs):
			return
		case p == nil || !p.serving || p != sentTo:
			c.broken()
			return
		}
		this := &call{leave: func() {
			c.lastAnswerMs = max(c.lastAnswerMs, w.nowMs+w.between(0, 15))
			w.after(c.lastAnswerMs-w.nowMs, func() {
				if generation == c.generation {
					c.inFlight--
					done()
				}
			})
		}}
		if !stale {
			c.unanswered = append(c.unanswered, this)
		}
		c.arrive(p, id, name, func(answer func()) { handle(p, answer) }, func() {
			this.answered = true
			for len(c.unanswered) > 0 && c.unanswered[0].answered {
				c.unanswered[0].leave()
				c.unanswered = c.unanswered[1:]
			}
		})
	})
}

func (c *connection) arrive(p *process, id uint64, name string, handle func(answer func()), answered func()) {
	w := c.w
	w.answers.Arrived(id, c.name+" "+name, w.nowMs)
	handle(func() {
		if p.node.process != p {
			return
		}
		w.check(w.answers.Answered(id))
		if p.alive() {
			answered()
		}
	})
	p.touch()
}

// broken breaks the connection, if it is one.
func (c *connection) broken() {
	c.generation++
	c.inFlight, c.unanswered = 0, nil
	c.cutoffMs = c.w.nowMs - 1
	c.onBroken()
}

// reset is the fault: a connection breaks for no reason.
func (c *connection) reset() {
	c.broken()
	if c.late {
		c.cutoffMs = c.w.between(c.w.nowMs-1, max(c.w.nowMs, c.lastArrivalMs))
	}
}
