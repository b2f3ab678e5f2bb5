package peer

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/wire"
)

// Options say what a connection to another node is for.
type Options struct {
	Self    Self
	Address Address
	Purpose wire.PeerPurpose
	// Spawner owns the connection's goroutine, and the connection ends with it.
	Spawner *env.Spawner
	// RequestTimeout is how long an answer may take before the connection is given up, 0 for no limit.
	// Whoever asks for a long poll adds its time.
	RequestTimeout time.Duration
	// MaxInFlight bounds the requests that are sent and not answered; 0 means one.
	MaxInFlight int
	// ReusesMemory is for who asks for much again and again, one request at a time: an answer, and all it holds, may be
	// used until the next request only.
	ReusesMemory bool
	Network      Network
	// OnLost hears when the other side has ended the connection, or its process has died (Watch.Lost). It
	// must not block. May be nil.
	OnLost func(nodeID int32, incarnationID kafka.UUID, address Address)
}

// Conn is one ordered connection to another node that has said who it is. Any goroutine may use it.
type Conn struct {
	o      Options
	socket net.Conn
	hello  *wire.PeerHelloResponse
	slots  chan struct{} // one element per request in flight
	done   chan struct{}
	unhook func() bool // from the spawner's context

	// writing is held while one request is encoded and written, so that they leave in the order of their ids.
	writing sync.Mutex
	frame   []byte // guarded by writing

	mu      sync.Mutex
	pending []*call // guarded by mu: in flight, in order
	lastID  int32   // guarded by mu
	failure error   // guarded by mu; set once

	// What follows belongs to the connection's goroutine.
	reader  *bufio.Reader
	largest int    // the largest answer so far
	memory  []byte // of the answer before, where it is used again
	small   int    // answers in a row that needed little of it
}

// call is one request in flight.
type call struct {
	request kmsg.Request
	id      int32
	sentAt  time.Time
	done    func(response kmsg.Response, err error)
}

// Dial connects to a node and says hello. A *MismatchError says that somebody else is there.
func Dial(ctx context.Context, o Options) (*Conn, error) {
	socket, hello, err := greet(ctx, o.Self, o.Address, o.Purpose, o.Network)
	if err != nil {
		return nil, err
	}
	if err := checkHello(o.Self, o.Address, hello); err != nil {
		_ = socket.Close()
		return nil, err
	}
	c := &Conn{o: o, socket: socket, hello: hello, slots: make(chan struct{}, max(1, o.MaxInFlight)), done: make(chan struct{}), reader: bufio.NewReader(socket)}
	c.unhook = context.AfterFunc(o.Spawner.Context(), func() { c.fail(errStopping) })
	o.Spawner.Go("peer-connection "+o.Purpose.String()+" "+o.Address.hostPort(), c.run)
	return c, nil
}

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err returns why the connection has ended, nil while it has not.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failure
}

// Close ends the connection.
func (c *Conn) Close() { c.fail(errClosed) }

// Call sends a request and returns its answer. After a *LostError the request may have been done; after
// any other error it was not sent. When ctx ends first, the connection goes on.
func (c *Conn) Call(ctx context.Context, request kmsg.Request) (kmsg.Response, error) {
	type outcome struct {
		response kmsg.Response
		err      error
	}
	result := make(chan outcome, 1)
	if err := c.Start(ctx, request, func(response kmsg.Response, err error) { result <- outcome{response, err} }); err != nil {
		return nil, err
	}
	select {
	case o := <-result:
		return o.response, o.err
	case <-ctx.Done():
		return nil, &LostError{c.o.Address, ctx.Err()}
	}
}

// Start sends a request, after waiting while too many are in flight. With an error it was not sent.
// Otherwise done is called once, in the order of the requests: with the answer, or with a *LostError. It
// must not block.
func (c *Conn) Start(ctx context.Context, request kmsg.Request, done func(response kmsg.Response, err error)) error {
	select {
	case c.slots <- struct{}{}:
	case <-c.done:
		return c.notSent(c.Err())
	case <-ctx.Done():
		return ctx.Err()
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	one := &call{request: request, done: done}
	if err := c.begin(one); err != nil {
		return c.notSent(err)
	}
	c.frame = kmsg.NewRequestFormatter().AppendRequest(c.frame[:0], request, one.id)
	frame := c.frame
	if cap(frame) > keptFrameBytes {
		c.frame = nil
	}
	// One that hangs reads nothing: what it has no room for must not hold up who gives the request up.
	unhook := context.AfterFunc(ctx, func() { _ = c.socket.SetWriteDeadline(time.Unix(1, 0)) })
	n, err := c.socket.Write(frame)
	if !unhook() {
		if err == nil {
			c.fail(ctx.Err()) // the deadline would end the next request; this one is answered, as lost
			return nil
		}
		err = ctx.Err()
	}
	if err != nil {
		// Who gets less than a whole request cannot do it. But somebody may have seen the connection end
		// before, and said that it is not known what became of its requests.
		ours := n < len(frame) && c.withdraw(one)
		c.fail(err)
		if ours {
			return c.notSent(err)
		}
	}
	return nil
}

// keptFrameBytes is how much encoding memory a connection keeps between requests.
const keptFrameBytes = 64 << 10

func (c *Conn) notSent(err error) error {
	return fmt.Errorf("cannot send a request to %s: %w", c.o.Address, err)
}

// begin enters a request among those in flight. The time-outs of reads and writes are those of the
// oldest one.
func (c *Conn) begin(one *call) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failure != nil {
		return c.failure
	}
	c.lastID++
	one.id, one.sentAt = c.lastID, time.Now()
	c.pending = append(c.pending, one)
	if c.o.RequestTimeout == 0 {
		return nil
	}
	until := one.sentAt.Add(c.o.RequestTimeout)
	if len(c.pending) == 1 {
		_ = c.socket.SetReadDeadline(until)
	}
	_ = c.socket.SetWriteDeadline(until)
	return nil
}

// withdraw takes back a request in flight; false when the connection has ended before.
func (c *Conn) withdraw(one *call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.pending {
		if c.pending[i] == one {
			c.pending = append(c.pending[:i], c.pending[i+1:]...)
			return true
		}
	}
	return false
}

// awaits reports whether id is that of the oldest request in flight, to which the next answer must be.
func (c *Conn) awaits(id int32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.awaitsLocked(id)
}

func (c *Conn) awaitsLocked(id int32) bool { return len(c.pending) > 0 && c.pending[0].id == id }

func errNotAwaited(id int32) error {
	return fmt.Errorf("%w: an answer to request %d, which is not the oldest in flight", wire.ErrBadResponse, id)
}

// answered takes the oldest request in flight.
func (c *Conn) answered(id int32) (*call, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.awaitsLocked(id) {
		return nil, errNotAwaited(id)
	}
	one := c.pending[0]
	c.pending = c.pending[1:]
	if c.o.RequestTimeout > 0 {
		var until time.Time
		if len(c.pending) > 0 {
			until = c.pending[0].sentAt.Add(c.o.RequestTimeout)
		}
		_ = c.socket.SetReadDeadline(until)
	}
	return one, nil
}

// fail ends the connection, once, and answers what is in flight.
func (c *Conn) fail(cause error) {
	c.mu.Lock()
	if c.failure != nil {
		c.mu.Unlock()
		return
	}
	c.failure = cause
	lost := c.pending
	c.pending = nil
	c.mu.Unlock()
	close(c.done)
	_ = c.socket.Close()
	if c.o.OnLost != nil && isCut(cause) {
		c.o.OnLost(c.hello.NodeID, c.hello.IncarnationID, c.o.Address)
	}
	for _, one := range lost {
		one.done(nil, &LostError{c.o.Address, cause})
	}
}

// run is the connection's goroutine: it reads answers until the connection ends.
func (c *Conn) run(context.Context) {
	defer c.unhook()
	for {
		id, frame, err := c.readFrame()
		if err != nil {
			c.fail(err)
			return
		}
		one, err := c.answered(id)
		if err != nil {
			c.fail(err)
			return
		}
		<-c.slots
		response, err := wire.DecodeResponse(one.request, frame)
		if err != nil {
			one.done(nil, &LostError{c.o.Address, err})
			c.fail(err)
			return
		}
		one.done(response, nil)
	}
}

// firstFrameBytes is how much memory an answer gets before it has arrived, if none was larger before.
const firstFrameBytes = 16 << 10

// readFrame reads the next answer. Its memory grows to at most twice what has arrived, or to the
// largest answer before; it belongs to who has asked.
func (c *Conn) readFrame() (id int32, frame []byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(c.reader, head[:]); err != nil {
		return 0, nil, err
	}
	size := int(int32(binary.BigEndian.Uint32(head[:]))) - 4
	if size < 0 {
		return 0, nil, fmt.Errorf("%w: an answer of %d bytes", wire.ErrBadResponse, size+4)
	}
	if id = int32(binary.BigEndian.Uint32(head[4:])); !c.awaits(id) {
		return 0, nil, errNotAwaited(id) // its body must not get into memory that somebody reads
	}
	if frame = c.memoryFor(size); frame == nil {
		frame = make([]byte, min(size, max(firstFrameBytes, c.largest)))
	}
	for read := 0; ; {
		if _, err := io.ReadFull(c.reader, frame[read:]); err != nil {
			return 0, nil, err
		}
		if len(frame) == size {
			break
		}
		read = len(frame)
		frame = append(frame, make([]byte, min(size, 2*read)-read)...)
	}
	c.largest = max(c.largest, size)
	if c.o.ReusesMemory && cap(frame) > cap(c.memory) {
		c.memory = frame
	}
	return id, frame, nil
}

// mostSmall is after how many answers that need less than a quarter of its memory a connection gives that up.
const mostSmall = 16

// memoryFor is the memory of the answer before, if it is used again and large enough.
func (c *Conn) memoryFor(size int) []byte {
	if size >= cap(c.memory)/4 {
		c.small = 0
	} else if c.small++; c.small > mostSmall {
		c.memory, c.small, c.largest = nil, 0, 0
	}
	if size > cap(c.memory) {
		return nil
	}
	return c.memory[:size]
}

// isBusy reports whether a request is in flight.
func (c *Conn) isBusy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pending) > 0
}
