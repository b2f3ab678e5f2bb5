package server

import (
	"context"
	"errors"
	"os"
	"strconv"
	"time"

	"github.com/moldau/moldau/internal/handler"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/wire"
)

// unfinishedRequest is a request that was handled and whose response is not written yet.
type unfinishedRequest struct {
	conn          *security.Connection
	in            incoming
	request       handler.Request
	api           *wire.API
	version       int16
	correlationID int32
	sizeBytes     int
	heldBytes     int64
	reply         handler.Reply
	throttle      time.Duration
	stages        stages
}

// answer writes the response, or queues it where an earlier one is unfinished; false ends the
// connection. Only a Produce's completing phase overlaps with later requests (DESIGN 7).
func (c *connection) answer(u *unfinishedRequest, reply handler.Reply) bool {
	u.reply = reply
	if reply.NoResponse || reply.Body == nil && reply.Wait == nil {
		return c.finishSilently(u)
	}
	c.mu.Lock()
	alone := c.unfinished == 0
	c.mu.Unlock()
	if alone && reply.Wait == nil {
		u.stages.ready = u.stages.handled
		return c.finish(u) && !reply.CloseConnection
	}
	if !c.enqueue(u) {
		return false
	}
	if reply.Wait == nil || reply.CloseConnection {
		return c.waitUntil(func() bool { return c.unfinished == 0 }) && !reply.CloseConnection
	}
	limits := &c.server.limits
	return c.waitUntil(func() bool {
		return c.unfinished < limits.MaxUnfinished && c.unfinishedBytes <= limits.MaxUnfinishedBytes
	})
}

// finishSilently ends a request without a response.
func (c *connection) finishSilently(u *unfinishedRequest) bool {
	u.in.release()
	u.stages.ready = u.stages.handled
	now := time.Now()
	m := c.server.metrics.of(u.api)
	m.observe(u.stages, now)
	m.inBytes.Add(int64(u.sizeBytes))
	return u.reply.NoResponse && !u.reply.CloseConnection
}

// enqueue hands u to the writer goroutine, which it starts the first time.
func (c *connection) enqueue(u *unfinishedRequest) bool {
	if c.responses == nil {
		c.responses = make(chan *unfinishedRequest, c.server.limits.MaxUnfinished)
		c.writerDone = make(chan struct{})
		c.server.spawner.Go("responses "+strconv.FormatUint(c.context.ID, 10), c.writeResponses)
	}
	u.heldBytes = u.in.charged
	// The reader goes on and may change the connection's client id.
	asOfNow := c.context
	u.conn = &asOfNow
	c.mu.Lock()
	c.unfinished++
	c.unfinishedBytes += u.heldBytes
	c.mu.Unlock()
	c.server.metrics.pending.Add(1)
	c.responses <- u // never blocks: at most MaxUnfinished are unfinished
	return true
}

// writeResponses is the writer goroutine: it completes and writes in request order. After the
// connection failed it only gives back what the requests hold.
func (c *connection) writeResponses(context.Context) {
	defer close(c.writerDone)
	for u := range c.responses {
		if !c.finish(u) {
			c.fail()
		}
		c.mu.Lock()
		c.unfinished--
		c.unfinishedBytes -= u.heldBytes
		c.changed.Broadcast()
		c.mu.Unlock()
		c.server.metrics.pending.Add(-1)
	}
}

// finish completes the request, writes its response and gives back what it held.
func (c *connection) finish(u *unfinishedRequest) (ok bool) {
	defer u.in.release()
	body := u.reply.Body
	if body == nil {
		body = c.complete(u)
	}
	if u.stages.ready.IsZero() { // it was queued
		u.stages.ready = time.Now()
	}
	if body == nil {
		return false
	}
	defer body.Release()
	if c.isFailed() {
		return false
	}
	defer func() {
		if r := recover(); r != nil {
			c.reportPanic(u.api.Key, r)
			ok = false
		}
	}()
	if u.throttle > 0 {
		body.SetThrottle(int32(min(u.throttle.Milliseconds(), 1<<31-1)))
	}
	c.frame.Encode(u.api, u.version, u.correlationID, body)
	written := c.write(u.stages.ready)
	m := c.server.metrics.of(u.api)
	sent := time.Now()
	m.observe(u.stages, sent)
	m.inBytes.Add(int64(u.sizeBytes))
	m.outBytes.Add(int64(c.frame.SizeBytes()))
	body.EachError(m.countError)
	c.server.metrics.sent.Add(int64(c.frame.SizeBytes()))
	c.accountWrite(u, sent, c.frame.SizeBytes())
	c.trimFrame()
	return written
}

// complete runs a Produce's completing phase.
func (c *connection) complete(u *unfinishedRequest) (body wire.ResponseBody) {
	defer func() {
		if r := recover(); r != nil {
			c.reportPanic(u.api.Key, r)
			u.in.keep = true
			body = nil
		}
	}()
	return u.reply.Wait(c.ctx)
}

// write sends the encoded frame. Records go out with writev from where they lie. A client that
// reads nothing keeps only its own goroutine waiting, and for no longer than an idle one may stay;
// one that reads slowly gets all of it.
func (c *connection) write(began time.Time) bool {
	if c.frame.HasFiles() {
		c.files.begin(&c.frame)
		defer c.files.end()
	} else {
		c.buffers = c.frame.AppendBuffers(c.buffers[:0])
		defer clear(c.buffers)
		c.pending = c.buffers
	}
	patience := c.server.limits.MaxIdle
	// A deadline serves many writes: setting one costs more than the rest of a small answer. The
	// write begins with half of the patience at least.
	for again := false; ; again = true {
		if patience > 0 && (again || c.writeLimit.Sub(began) < patience/2) {
			c.writeLimit = began.Add(patience)
			if err := c.socket.SetWriteDeadline(c.writeLimit); err != nil {
				return false
			}
		}
		n, err := c.writePending()
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return err == nil
		}
		now := time.Now()
		switch {
		case n > 0:
			began = now
		case now.Sub(began) >= patience:
			return false
		}
	}
}

// writePending sends what is pending and keeps what could not be sent.
func (c *connection) writePending() (int64, error) {
	if c.frame.HasFiles() {
		return c.files.write()
	}
	if len(c.pending) > 1 {
		return c.pending.WriteTo(c.socket)
	}
	n, err := c.socket.Write(c.pending[0])
	c.pending[0] = c.pending[0][n:]
	return int64(n), err
}

// keptFrameBytes is how much encoding memory a connection keeps between responses.
const keptFrameBytes = 64 << 10

func (c *connection) trimFrame() {
	if c.frame.Capacity() > keptFrameBytes {
		c.frame = wire.Frame{}
		return
	}
	c.frame.Reset()
}

func (c *connection) isFailed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}
