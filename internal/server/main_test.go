package server

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/moldau/moldau/internal/handler"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/quota"
	"github.com/moldau/moldau/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of these tests; reaching it is a failure.
const patience = 10 * time.Second

type handlerFunc func(ctx context.Context, r *handler.Request) handler.Reply

func (f handlerFunc) Handle(ctx context.Context, r *handler.Request) handler.Reply {
	return f(ctx, r)
}

func respondEmpty(_ context.Context, r *handler.Request) handler.Reply {
	return handler.Respond(r.Body.ResponseKind())
}

type testServer struct {
	*Server
	t        *testing.T
	registry *metrics.Registry
	address  string
}

// startServer starts a server on a free port; handlers not given answer with an empty response.
func startServer(t *testing.T, limits Limits, handlers map[int16]handlerFunc, options ...func(*Options)) *testServer {
	t.Helper()
	set := handler.NewSet()
	for _, api := range wire.APIs() {
		h, given := handlers[api.Key]
		if !given {
			h = respondEmpty
		}
		set.Add(api.Key, h)
	}
	for key, h := range handlers {
		if _, ofPeers := wire.LookupPeerAPI(key); ofPeers {
			set.Add(key, h)
		}
	}
	registry := metrics.NewRegistry()
	o := Options{
		Listeners: []Listener{{Name: "PLAINTEXT", Protocol: "PLAINTEXT", Address: "127.0.0.1:0", Kind: wire.BrokerListener}},
		Handlers:  set, Quota: quota.Unlimited{}, Metrics: registry, Limits: limits,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	for _, change := range options {
		change(&o)
	}
	s := New(o)
	if err := s.Bind(); err != nil {
		t.Fatal(err)
	}
	s.Start(t.Context(), func(name string, err error) { t.Errorf("%s panicked: %v", name, err) })
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = s.Stop(ctx)
	})
	return &testServer{Server: s, t: t, registry: registry, address: s.Addr(o.Listeners[0].Name).String()}
}

func (s *testServer) counter(name string, labels ...string) int64 {
	return s.registry.Counter(name, "", labels...).Value()
}

// client is a raw connection with the few words of the protocol that tests need.
type client struct {
	net.Conn
	t *testing.T
}

func (s *testServer) dial() *client {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &client{Conn: conn, t: s.t}
}

// frameOf encodes a request with its header and size.
func frameOf(request kmsg.Request, correlationID int32) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, request, correlationID)
}

func (c *client) send(frame []byte) {
	c.t.Helper()
	if _, err := c.Write(frame); err != nil {
		c.t.Fatal(err)
	}
}

// receive reads one response frame and returns its correlation id and the rest.
func (c *client) receive() (correlationID int32, rest []byte) {
	c.t.Helper()
	correlationID, rest, err := c.tryReceive()
	if err != nil {
		c.t.Fatalf("no response: %v", err)
	}
	return correlationID, rest
}

func (c *client) tryReceive() (int32, []byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return 0, nil, err
	}
	frame := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c, frame); err != nil {
		return 0, nil, err
	}
	return int32(binary.BigEndian.Uint32(frame)), frame[4:], nil
}

// wantClosed fails unless the server closes the connection without sending anything.
func (c *client) wantClosed() {
	c.t.Helper()
	n, err := c.Read(make([]byte, 1))
	var timeout net.Error
	if n != 0 || err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		c.t.Fatalf("want a closed connection, got %d bytes and %v", n, err)
	}
}

// eventually waits until condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for !condition() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("never happened: %s", what)
		}
	}
}

func metadataRequest(version int16) *kmsg.MetadataRequest {
	r := kmsg.NewPtrMetadataRequest()
	r.SetVersion(version)
	return r
}

func produceRequest(acks int16) *kmsg.ProduceRequest {
	r := kmsg.NewPtrProduceRequest()
	r.SetVersion(9)
	r.Acks = acks
	return r
}

func createTopicsRequest() *kmsg.CreateTopicsRequest {
	r := kmsg.NewPtrCreateTopicsRequest()
	r.SetVersion(5)
	return r
}
