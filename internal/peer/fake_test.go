package peer

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeNode is a node at the other end of pipes, which does what the test wants.
type fakeNode struct {
	t *testing.T

	mu    sync.Mutex
	hello wire.PeerHelloResponse
	// answer returns the answer to a request; nil cuts the connection. It may block.
	answer func(request kmsg.Request) kmsg.Response
	// raw and rawAnswer, if set, are sent instead of the answer to the hello, and to anything else.
	raw, rawAnswer []byte
	down           bool
	mute           bool // accepts connections and says nothing
	asked          []kmsg.Request
	probes         int
	hellos         int
	accepted       []net.Conn
}

// fakeNetwork has the nodes by host:port.
type fakeNetwork struct{ nodes map[string]*fakeNode }

func (n *fakeNetwork) open(_ context.Context, address Address) (net.Conn, error) {
	node := n.nodes[address.hostPort()]
	if node == nil {
		return nil, refusal()
	}
	node.mu.Lock()
	defer node.mu.Unlock()
	if node.down {
		node.hellos++
		return nil, refusal()
	}
	ours, theirs := net.Pipe()
	node.accepted = append(node.accepted, theirs)
	go node.serve(theirs)
	return ours, nil
}

func refusal() error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

// add makes a node with one incarnation at host:1000.
func (n *fakeNetwork) add(t *testing.T, nodeID int32, host string) (*fakeNode, Address) {
	node := &fakeNode{t: t, hello: wire.PeerHelloResponse{FormatVersion: wire.SpokenFormats.Min, MaxFormat: wire.SpokenFormats.Max, ClusterID: "c", NodeID: nodeID, IncarnationID: kafka.UUID{byte(nodeID)}}}
	address := Address{NodeID: nodeID, Host: host, Port: 1000}
	n.nodes[address.hostPort()] = node
	t.Cleanup(node.cut)
	return node, address
}

// cut ends all connections of the node.
func (f *fakeNode) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, socket := range f.accepted {
		_ = socket.Close()
	}
	f.accepted = nil
}

// set changes the node.
func (f *fakeNode) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// greeted returns how often the node was dialled other than by probes, and how often probed.
func (f *fakeNode) greeted() (hellos, probes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hellos, f.probes
}

func (f *fakeNode) requests() []kmsg.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]kmsg.Request(nil), f.asked...)
}

func (f *fakeNode) serve(socket net.Conn) {
	defer func() { _ = socket.Close() }()
	for f.serveOnce(socket) {
	}
}

// serveOnce answers one request; false ends the connection.
func (f *fakeNode) serveOnce(socket net.Conn) bool {
	var size [4]byte
	if _, err := io.ReadFull(socket, size[:]); err != nil {
		return false
	}
	frame := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(socket, frame); err != nil {
		return false
	}
	header, api, body, err := wire.ParseHeader(frame, nil)
	if err == nil {
		_, err = wire.DecodedBytes(api, header.APIVersion, body)
	}
	if err != nil {
		f.t.Errorf("a malformed request: %v", err)
		return false
	}
	request, err := wire.DecodeBody(api, header.APIVersion, body)
	if err != nil {
		f.t.Errorf("a malformed request: %v", err)
		return false
	}
	return f.respond(socket, header, api, request)
}

func (f *fakeNode) respond(socket net.Conn, header wire.RequestHeader, api *wire.API, request kmsg.Request) bool {
	f.mu.Lock()
	hello, answer, raw, rawAnswer, mute := f.hello, f.answer, f.raw, f.rawAnswer, f.mute
	asked, isHello := request.(*wire.PeerHelloRequest)
	switch {
	case !isHello:
		f.asked = append(f.asked, request)
	case asked.Purpose == wire.PurposeProbe:
		f.probes++
	default:
		f.hellos++
	}
	f.mu.Unlock()
	var response kmsg.Response
	switch {
	case mute:
		_, _ = io.Copy(io.Discard, socket)
		return false
	case isHello && raw != nil:
		_, _ = socket.Write(raw)
		return false
	case isHello:
		response = &hello
	case rawAnswer != nil:
		_, err := socket.Write(rawAnswer)
		return err == nil
	default:
		if response = answer(request); response == nil {
			return false
		}
	}
	var out wire.Frame
	out.Encode(api, header.APIVersion, header.CorrelationID, wire.Message(response))
	_, err := socket.Write(out.Bytes())
	return err == nil
}

func echo(request kmsg.Request) kmsg.Response { return request.ResponseKind() }

func self() Self {
	return Self{ClusterID: func() string { return "c" }, NodeID: 1, DirectoryID: kafka.UUID{1, 1}, IncarnationID: kafka.UUID{1}}
}

// newSpawner returns a spawner that the test stops at its end.
func newSpawner(t *testing.T) *env.Spawner {
	s := env.NewSpawner(context.Background(), func(name string, err error) { t.Errorf("%s: %v", name, err) })
	t.Cleanup(s.Stop)
	return s
}

func wantLost(t *testing.T, err error) {
	t.Helper()
	if _, ok := errors.AsType[*LostError](err); !ok {
		t.Errorf("want a LostError, got %v", err)
	}
}

func wantUnsent(t *testing.T, err error) {
	t.Helper()
	if _, ok := errors.AsType[*LostError](err); ok || err == nil {
		t.Errorf("want an error that says that the request was not sent, got %v", err)
	}
}
