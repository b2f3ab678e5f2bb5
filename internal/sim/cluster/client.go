package cluster

import (
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

const requestTimeoutMs = 1500

// client is what all clients share: connections, and what they know of the cluster.
type client struct {
	w     *World
	name  string
	conns map[int32]*conn
	image *metadata.Image
	// prompt clients raise a value, and one of their requests that comes late would lower it.
	prompt bool
}

func newClient(w *World, name string) client {
	return client{w: w, name: name, conns: map[int32]*conn{}, image: metadata.EmptyImage()}
}

// ask sends a request to a node over the client's connection to it. handle runs there and calls answer once.
func (c *client) ask(node int32, handle func(p *process, answer func(any)), done func(any, error)) {
	link := c.conns[node]
	if link == nil || link.closed {
		link = c.w.dial(c.name, clientsID, nil, node)
		link.prompt = c.prompt
		c.conns[node] = link
	}
	link.call(requestTimeoutMs, func(p *process, answer func(any)) {
		if !p.serving {
			answer(kafka.ErrBrokerNotAvailable)
			return
		}
		handle(p, answer)
	}, func(answer any, err error) {
		if code, refused := answer.(kafka.ErrorCode); refused && err == nil {
			err = code
		}
		done(answer, err)
	})
}

// refresh learns what the cluster looks like from any node.
func (c *client) refresh(done func()) {
	node := int32(1 + c.w.random.IntN(len(c.w.nodes)))
	c.ask(node, func(p *process, answer func(any)) { answer(p.image) }, func(answer any, err error) {
		if image, ok := answer.(*metadata.Image); ok && err == nil && image.Offset > c.image.Offset {
			c.image = image
		}
		done()
	})
}

// leader is who leads a partition as far as the client knows, kafka.NoLeader if it does not.
func (c *client) leader(tp kafka.TopicPartition) int32 {
	if p := c.image.Partition(tp.Topic, tp.Partition); p != nil {
		return p.Leader
	}
	return kafka.NoLeader
}
