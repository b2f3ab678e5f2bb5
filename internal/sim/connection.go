package sim

import "github.com/moldau/moldau/internal/kafka"

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
	c := &connection{w: w, name: name, node: w.nodes[0], late: late, onBroken: onBroken}
	w.conns = append(w.conns, c)
	return c
}

// send has a request arrive at the node: handle runs there and calls answer, once, now or
// later; done runs at the client when the answer is back. If the connection breaks before,
// done does not run, but onBroken does, once for all requests.
func (c *connection) send(name string, handle func(p *process, answer func()), done func()) {
	w, generation := c.w, c.generation
	w.calls++
	id := w.calls
	c.inFlight++
	c.lastArrivalMs = max(c.lastArrivalMs, w.nowMs+w.Between(0, 15))
	sentTo, arrivalMs := c.node.process, c.lastArrivalMs
	w.After(arrivalMs-w.nowMs, func() {
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
			c.lastAnswerMs = max(c.lastAnswerMs, w.nowMs+w.Between(0, 15))
			w.After(c.lastAnswerMs-w.nowMs, func() {
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
		w.Check(w.answers.Answered(id))
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
		c.cutoffMs = c.w.Between(c.w.nowMs-1, max(c.w.nowMs, c.lastArrivalMs))
	}
}

// line is the way to the only node, with one request at a time.
type line struct {
	conn  *connection
	again func() // of the request that is under way
}

func (w *World) newLine(name string, late bool) Line {
	l := &line{}
	l.conn = w.connect(name, late, func() {
		if again := l.again; again != nil {
			l.again = nil
			again()
		}
	})
	return l
}

// Reaches implements Line.
func (l *line) Reaches(kafka.TopicPartition, func()) bool { return true }

// LeaderEpoch implements Line.
func (l *line) LeaderEpoch(kafka.TopicPartition) int32 { return kafka.NoLeaderEpoch }

// Ask implements Line.
func (l *line) Ask(_ kafka.TopicPartition, name string, handle func(at *Coordinators, answer func(any)), done func(any), again func()) {
	var value any
	l.again = again
	l.conn.send(name, func(p *process, answer func()) {
		handle(p.coordinators, func(v any) {
			value = v
			answer()
		})
	}, func() {
		l.again = nil
		switch value {
		case kafka.ErrBrokerNotAvailable, kafka.ErrLeaderNotAvailable, kafka.ErrNotEnoughReplicasAfterAppend, kafka.ErrOffsetNotAvailable, kafka.ErrFencedLeaderEpoch, kafka.ErrUnknownLeaderEpoch:
			l.conn.w.Fail("%s: the only node refuses %s with %v", l.conn.name, name, value)
		}
		if _, refused := value.(kafka.ErrorCode); refused {
			again()
			return
		}
		done(value)
	})
}
