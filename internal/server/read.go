package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/moldau/moldau/internal/wire"
)

// brokenClientError is a fault of the client before its request could be decoded.
type brokenClientError struct{ reason, message string }

func (e *brokenClientError) Error() string { return e.message }

// errIdle says that an idle connection reached its time.
var errIdle = errors.New("the connection was idle for too long")

// incoming is one frame. Whoever holds it gives it back with release, once.
type incoming struct {
	buffer   []byte
	pooled   *[]byte // the memory of buffer
	received time.Time
	memory   *budget
	charged  int64
	// keep says that something may refer to the buffer after the request is answered, so that
	// it is not reused.
	keep bool
}

// release gives the buffer and its charge back.
func (r *incoming) release() {
	r.memory.release(r.charged)
	r.charged = 0
	r.giveBuffer()
}

func (r *incoming) giveBuffer() {
	if r.pooled != nil && !r.keep {
		giveBuffer(r.pooled)
	}
	r.buffer, r.pooled = nil, nil
}

// favouredBytes is up to which size a request may use the memory reserve.
const favouredBytes = 4 << 10

// readRequest reads the next frame, without its size.
func (c *connection) readRequest() (*unfinishedRequest, error) {
	if c.reader.Buffered() < 4 {
		if err := c.waitForFrame(); err != nil {
			return nil, err
		}
	}
	head, err := c.reader.Peek(4)
	if err != nil {
		return nil, err // cannot happen: waitForFrame has seen them
	}
	size := int(int32(binary.BigEndian.Uint32(head)))
	if err := c.checkSize(head, size); err != nil {
		return nil, err
	}
	if _, err := c.reader.Discard(4); err != nil {
		return nil, err
	}
	return c.readBody(size)
}

// guestIdle is how long a connection above its address's limit may take to say that it is another node's.
const guestIdle = 5 * time.Second

// waitForFrame waits for a frame's size, for as long as a connection may be idle.
func (c *connection) waitForFrame() error {
	until := time.Time{}
	if c.server.limits.MaxIdle > 0 && c.context.Peer == nil {
		until = time.Now().Add(c.server.limits.MaxIdle)
	}
	if c.isGuest && c.context.Peer == nil {
		until = time.Now().Add(guestIdle)
	}
	if err := c.limitReads(until); err != nil {
		return err
	}
	if c.isEnding() {
		return errIdle
	}
	for {
		_, err := c.reader.Peek(4)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			if c.isOver(until) {
				return errIdle
			}
		case errors.Is(err, io.EOF) && c.reader.Buffered() > 0:
			return &brokenClientError{"cut frame", "the client closed in the middle of a request's size"}
		default:
			return err
		}
	}
}

// maxPeerBytes is what peers may send at least, which do not know this node's socket.request.max.bytes.
const maxPeerBytes = 100 << 20

func (c *connection) checkSize(head []byte, size int) error {
	limits := &c.server.limits
	most := limits.MaxRequestBytes
	if c.context.Peer != nil {
		most = max(most, maxPeerBytes)
	}
	switch {
	case size >= wire.MinRequestBytes && size <= most && int64(size) <= limits.RequestMemoryBytes:
		return nil
	case size < 0 || size > most:
		if guess := foreignProtocol(head); guess != "" {
			return &brokenClientError{"foreign protocol", fmt.Sprintf("the client speaks %s, but listener %s expects Kafka's protocol over %s; check the client's port and security.protocol", guess, c.context.Listener, c.context.Protocol)}
		}
		return &brokenClientError{"request size", fmt.Sprintf("a request announces %d bytes; socket.request.max.bytes allows 1 to %d", size, most)}
	case size < wire.MinRequestBytes:
		return &brokenClientError{"request size", fmt.Sprintf("a request announces %d bytes, fewer than a header has", size)}
	default:
		return &brokenClientError{"request size", fmt.Sprintf("a request announces %d bytes; all requests together may take %d (queued.max.request.bytes)", size, limits.RequestMemoryBytes)}
	}
}

// foreignProtocol recognises the first bytes of TLS and HTTP, which as sizes are far too large.
func foreignProtocol(head []byte) string {
	if head[0] == 0x16 && head[1] == 0x03 {
		return "TLS"
	}
	switch string(head) {
	case "GET ", "POST", "PUT ", "HEAD", "DELE", "OPTI", "PATC", "CONN", "TRAC", "PRI ":
		return "HTTP"
	}
	return ""
}

// readBody reads the size bytes of a frame. The buffer grows to at most twice the bytes that
// have arrived, or to what the connection has already sent in one complete request: announcing
// much and staying silent costs the broker nothing.
func (c *connection) readBody(size int) (*unfinishedRequest, error) {
	u := &unfinishedRequest{in: incoming{memory: c.server.memory}}
	r := &u.in
	var began, until time.Time
	if c.reader.Buffered() < size {
		began = time.Now()
		until = began.Add(c.server.limits.PartialRequest + time.Duration(size)*(time.Second/minBytesPerSecond))
		if err := c.limitReads(until); err != nil {
			return nil, err
		}
		if c.isEnding() {
			return nil, errIdle
		}
	}
	var partial *partialRequest
	if size > favouredBytes {
		partial = &partialRequest{began: began, close: func() {
			c.server.metrics.broken("memory pressure")
			c.server.log.warn("memory pressure", "closing a connection: memory for requests ran out and its request arrives slowest", "peer", c.context.PeerAddr, "listener", c.context.Listener)
			c.fail()
		}}
		r.memory.track(partial)
		defer r.memory.untrack(partial)
	}
	if err := c.fill(r, size, until, partial); err != nil {
		r.release()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, &brokenClientError{"cut frame", fmt.Sprintf("the client closed before all %d bytes of a request had arrived", size)}
		}
		return nil, err
	}
	r.received = time.Now()
	c.largestRequest = max(c.largestRequest, size)
	return u, nil
}

// fill reads until the request is complete or the time is over.
func (c *connection) fill(r *incoming, size int, until time.Time, partial *partialRequest) error {
	for len(r.buffer) < size {
		if len(r.buffer) == cap(r.buffer) {
			if err := c.grow(r, size); err != nil {
				return err
			}
		}
		n, err := c.reader.Read(r.buffer[len(r.buffer):min(size, cap(r.buffer))])
		r.buffer = r.buffer[:len(r.buffer)+n]
		if partial != nil {
			r.memory.progress(partial, len(r.buffer))
		}
		if err == nil || len(r.buffer) == size || errors.Is(err, os.ErrDeadlineExceeded) && !c.isOver(until) {
			continue
		}
		return err
	}
	return nil
}

func (c *connection) grow(r *incoming, size int) error {
	target := min(size, max(2*len(r.buffer), c.largestRequest, 1<<smallestBufferBits))
	// Charged before the memory is taken, since many may wait here; and only for what is added, or a
	// request of most of the budget would wait for itself. Both buffers exist while one is copied.
	capacity := r.memory.bufferBytes(target)
	charge := int64(capacity) - r.charged
	favoured := size <= favouredBytes || c.context.Peer != nil
	if err := r.memory.acquire(c.ctx, charge, favoured, c.server.limits.PartialRequest); err != nil {
		if errors.Is(err, errNoMemory) {
			return &brokenClientError{"memory", "no memory for a request became free in time (queued.max.request.bytes)"}
		}
		return err
	}
	old := r.pooled
	r.pooled = takeBuffer(capacity)
	r.buffer = append(*r.pooled, r.buffer...)
	r.charged += charge
	if old != nil {
		giveBuffer(old)
	}
	return nil
}
