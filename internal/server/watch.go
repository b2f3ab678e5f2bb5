package server

import (
	"bufio"
	"errors"
	"os"
	"sync/atomic"
	"time"
)

// goneAfter is how long a request is handled before somebody looks whether its client is still
// there: longer than a consumer's usual long poll, so that those cost one timer only.
const goneAfter = time.Second

// peerWatch ends the context of a connection whose client goes away while a request waits: a
// fetch or a join may ask to wait for days, and nobody reads from the socket meanwhile.
type peerWatch struct {
	timer *time.Timer // its function is peerGone; nil until the first request
	over  atomic.Bool
	done  chan struct{} // told by peerGone, once per run
}

// watchPeer begins to watch; the reader goroutine leaves the socket alone until unwatchPeer.
func (c *connection) watchPeer() {
	w := &c.watch
	if w.timer != nil {
		w.over.Store(false)
		w.timer.Reset(goneAfter)
		return
	}
	w.done = make(chan struct{}, 1)
	w.timer = time.AfterFunc(goneAfter, c.readAhead)
}

// unwatchPeer returns when nobody else reads from the socket any more.
func (c *connection) unwatchPeer() {
	w := &c.watch
	if w.timer.Stop() {
		return
	}
	w.over.Store(true)
	c.stopReading()
	c.readLimitUnknown = true // the next read sets its own deadline
	<-w.done
}

// readAhead reads into the connection's buffer, as far as there is room, until the client has
// ended its side of the connection, which ends the context, or unwatchPeer stops it.
func (c *connection) readAhead() {
	defer func() { c.watch.done <- struct{}{} }()
	for {
		// Before over is read: unwatchPeer sets over first, so one of the two deadlines that come
		// from there and from here is the right one.
		_ = c.socket.SetReadDeadline(time.Time{})
		if c.watch.over.Load() || c.listener.closing.Load() {
			return
		}
		switch _, err := c.reader.Peek(c.reader.Buffered() + 1); {
		case err == nil: // requests that were sent ahead
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, bufio.ErrBufferFull):
			return
		default:
			c.cancel()
			return
		}
	}
}
