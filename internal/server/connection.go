package server

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/wire"
)

// readBufferBytes holds a frame's size and with it most small requests in one read.
const readBufferBytes = 512

// connection is one client. The reader goroutine owns every field without a lock's or atomic's
// mention; the frame belongs to the reader while nothing is unfinished, else to the writer.
type connection struct {
	server   *Server
	listener *boundListener
	socket   net.Conn
	context  security.Connection
	kind     wire.ListenerKind
	ctx      context.Context
	cancel   context.CancelFunc
	reader   *bufio.Reader
	// readLimit is the read deadline that the socket has; unknown once somebody else has set one.
	readLimit        time.Time
	readLimitUnknown bool
	frame            wire.Frame
	buffers          net.Buffers
	pending          net.Buffers // what write has left of buffers
	files            *fileWriter // nil where the socket is none of the system's
	writeLimit       time.Time   // the write deadline that the socket has
	watch            peerWatch
	// hasAnswered says that a request was handled. It belongs to the reader goroutine.
	hasAnswered bool
	// isGuest says that the connection was let in above its address's limit, since another node's may be.
	isGuest bool
	// isUncounted is guarded by the server's mu.
	isUncounted bool
	clientID    *string // of the last request
	// largestRequest is the largest request that this connection has sent completely.
	largestRequest int
	// handlerCtx is ctx with stopwatch, which knows how long the present request has waited.
	handlerCtx context.Context
	stopwatch  env.Stopwatch
	// throttle is how long the next request must wait.
	throttle time.Duration

	mu              sync.Mutex
	changed         sync.Cond // of the fields below; its lock is mu
	unfinished      int
	unfinishedBytes int64
	failed          bool

	responses  chan *unfinishedRequest // nil until the first completing phase
	writerDone chan struct{}
}

func newConnection(s *Server, l *boundListener, socket net.Conn) *connection {
	c := &connection{server: s, listener: l, socket: socket, kind: l.Kind}
	c.changed.L = &c.mu
	peer := socket.RemoteAddr().String()
	host, _, err := net.SplitHostPort(peer)
	if err != nil {
		host = peer
	}
	c.context = security.Connection{
		ID:         s.nextID.Add(1),
		Listener:   l.Name,
		Protocol:   l.Protocol,
		Principal:  security.Anonymous,
		PeerAddr:   peer,
		LocalAddr:  socket.LocalAddr().String(),
		Host:       host,
		Controller: l.Kind&wire.ControllerListener != 0 && l.Kind&wire.BrokerListener == 0,
		Privileged: l.Privileged,
	}
	c.files = newFileWriter(socket)
	c.context.SendsFiles = c.files != nil
	c.ctx, c.cancel = context.WithCancel(s.spawner.Context())
	c.handlerCtx = env.WithStopwatch(c.ctx, &c.stopwatch)
	return c
}

// serve is the reader goroutine.
func (c *connection) serve(context.Context) {
	c.reader = bufio.NewReaderSize(c.socket, readBufferBytes)
	defer c.end()
	for !c.isEnding() {
		request, err := c.readRequest()
		if err != nil {
			c.reportReadError(err)
			break
		}
		c.server.metrics.received.Add(int64(len(request.in.buffer) + 4))
		if !c.process(request) {
			break
		}
		c.hasAnswered = true
		if !c.waitOutThrottle() {
			break
		}
	}
	if c.listener.closing.Load() {
		c.waitUntil(func() bool { return c.unfinished == 0 })
	}
}

// end closes the connection and waits for the writer, so that nothing is left behind.
func (c *connection) end() {
	c.fail()
	if c.responses != nil {
		close(c.responses)
		<-c.writerDone
	}
	c.server.forget(c)
	if hears := c.server.options.OnPeerClosed; hears != nil && c.context.Peer != nil && !c.listener.closing.Load() {
		hears(*c.context.Peer)
	}
}

// fail ends the connection from any goroutine: waits end, the socket closes.
func (c *connection) fail() {
	c.mu.Lock()
	first := !c.failed
	c.failed = true
	c.changed.Broadcast()
	c.mu.Unlock()
	if first {
		c.cancel()
		_ = c.socket.Close()
	}
}

// limitReads lets reads time out at the given time, never for a zero one, or before: setting a
// deadline costs as much as a small read, so one that is earlier stays. Who meets a timeout asks
// isOver whether his time has come, and reads on if not.
func (c *connection) limitReads(until time.Time) error {
	has := c.readLimit
	if !c.readLimitUnknown && (has.Equal(until) || !has.IsZero() && (until.IsZero() || has.Before(until))) {
		return nil
	}
	c.readLimit, c.readLimitUnknown = until, false
	return c.socket.SetReadDeadline(until)
}

// isOver is asked after a read has timed out: false when that was an earlier deadline, which is
// replaced.
func (c *connection) isOver(until time.Time) bool {
	c.readLimitUnknown = true
	if c.isEnding() || !until.IsZero() && !time.Now().Before(until) {
		return true
	}
	if err := c.limitReads(until); err != nil {
		return true
	}
	// drain sets a deadline in the past after closing has been set; one of the two is seen.
	return c.isEnding()
}

// isEnding says that no other request is read, as the listener closes. A connection that is new gets its first answer
// all the same: clients (franz-go) take one that ends before for a broker that expects another security protocol, and give up.
func (c *connection) isEnding() bool {
	return c.listener.over.Load() || c.hasAnswered && c.listener.closing.Load()
}

// stopReading makes a reader that waits for a request return; one that handles goes on.
func (c *connection) stopReading() {
	_ = c.socket.SetReadDeadline(time.Unix(1, 0))
}

// waitUntil waits until condition holds, called with mu held; false when the connection failed.
func (c *connection) waitUntil(condition func() bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.failed && !condition() {
		c.changed.Wait()
	}
	return !c.failed
}

// reportReadError says why the connection ends where that is the client's fault.
func (c *connection) reportReadError(err error) {
	var broken *brokenClientError
	switch {
	case errors.As(err, &broken):
		c.closeBroken(broken.reason, broken.message)
	case c.listener.closing.Load(), errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed), errors.Is(err, errIdle):
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.closeBroken("partial request", "a request stopped arriving before it was complete")
	default:
		c.server.logger.Debug("connection lost", "connection", c.context.ID, "peer", c.context.PeerAddr, "error", err)
	}
}

// closeBroken logs and counts that the client is at fault; the caller returns and so closes.
func (c *connection) closeBroken(reason, message string) {
	c.server.metrics.broken(reason)
	c.server.log.warn(reason, "closing a connection: "+message, "peer", c.context.PeerAddr, "listener", c.context.Listener, "client", c.context.ClientID)
}
