package server

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/handler"
	"github.com/moldau/moldau/internal/wire"
)

// TestListenersComeAndGo while a server runs: who is connected to another one notices nothing, and
// a request in flight is answered before its connection ends.
func TestListenersComeAndGo(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	s := startServer(t, Limits{StopGrace: patience}, map[int16]handlerFunc{wire.KeyMetadata: func(ctx context.Context, r *handler.Request) handler.Reply {
		if r.Conn.Listener == "EXTRA" && r.Header.CorrelationID == 2 {
			close(entered)
			<-leave
		}
		return respondEmpty(ctx, r)
	}})
	stays := s.dial()
	extra := Listener{Name: "EXTRA", Protocol: "PLAINTEXT", Address: "127.0.0.1:0", Kind: wire.BrokerListener}
	// Another process may take the port that was freed: then once more, with another one.
	for again, attempts := false, 0; ; attempts++ {
		err := s.Open(extra)
		if again && errors.Is(err, syscall.EADDRINUSE) && attempts < 20 {
			extra.Address, again = "127.0.0.1:0", false
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		s.address = s.Addr("EXTRA").String()
		idle := s.dial()
		idle.send(frameOf(metadataRequest(1), 1))
		idle.receive()
		s.Close("EXTRA")
		idle.wantClosed()
		accepted := s.Server.metrics.accepted.Value()
		if conn, err := net.DialTimeout("tcp", s.address, patience); err == nil {
			_ = conn.Close()
			if now := s.Server.metrics.accepted.Value(); now != accepted {
				t.Fatal("a listener that was closed lets clients in")
			}
		}
		if s.Addr("EXTRA") != nil || len(s.Listeners()) != 1 {
			t.Errorf("listeners: %+v", s.Listeners())
		}
		if again {
			break
		}
		extra.Address, again = s.address, true // which is free again at once
	}
	if err := s.Open(extra); err != nil {
		t.Fatal(err)
	}
	busy := s.dial()
	busy.send(frameOf(metadataRequest(1), 2))
	<-entered
	s.Close("EXTRA")
	close(leave)
	if id, _ := busy.receive(); id != 2 {
		t.Errorf("answer to %d", id)
	}
	busy.wantClosed()
	stays.send(frameOf(metadataRequest(1), 3))
	stays.receive()
	if err := s.Open(Listener{Name: "TAKEN", Address: s.Addr("PLAINTEXT").String()}); err == nil {
		t.Error("an address was opened twice")
	}
}

// TestClosedListenerCutsOff those who do not come to an end.
func TestClosedListenerCutsOff(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{})
	s := startServer(t, Limits{StopGrace: time.Millisecond}, map[int16]handlerFunc{wire.KeyMetadata: func(ctx context.Context, r *handler.Request) handler.Reply {
		close(entered)
		<-ctx.Done()
		return respondEmpty(ctx, r)
	}})
	c := s.dial()
	c.send(frameOf(metadataRequest(1), 1))
	<-entered
	s.Close("PLAINTEXT")
	eventually(t, "the connection has ended", func() bool {
		left, _ := s.left(nil)
		return left == 0
	})
}

// TestControllersCountApart: connections of the controller listener use up nothing of the brokers'.
func TestControllersCountApart(t *testing.T) {
	t.Parallel()
	s := startServer(t, Limits{MaxConnections: 1, MaxConnectionsPerIP: 1}, nil, func(o *Options) {
		o.Listeners = append(o.Listeners, Listener{Name: "CONTROLLER", Protocol: "PLAINTEXT", Address: "127.0.0.1:0", Kind: wire.ControllerListener})
	})
	createTopics := func(c *client, id int32) {
		c.send(frameOf(createTopicsRequest(), id))
		c.receive()
	}
	broker := s.dial()
	createTopics(broker, 1)
	s.address = s.Addr("CONTROLLER").String()
	controller := s.dial()
	createTopics(controller, 2)
	if n := s.counter("moldau_connections_accepted_total"); n != 2 {
		t.Errorf("%d connections were let in", n)
	}
	waits := s.dial() // behind the controller's own limit
	waits.send(frameOf(createTopicsRequest(), 3))
	_ = controller.Close()
	waits.receive()
}
