package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/handler"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/quorum"
	"github.com/moldau/moldau/internal/quota"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/wire"
)

func selfOf(nodeID int32, incarnation byte) peer.Self {
	return peer.Self{ClusterID: func() string { return "c" }, NodeID: nodeID, DirectoryID: kafka.UUID{byte(nodeID)}, IncarnationID: kafka.UUID{incarnation}}
}

// startNode starts node 2's controller listener at an address.
func startNode(t *testing.T, address string, incarnation byte, handlers map[int16]handlerFunc) (*testServer, peer.Address, <-chan security.Peer) {
	t.Helper()
	hello := &handler.PeerHello{Self: selfOf(2, incarnation), Quorum: func() (quorum.Leadership, []quorum.VoterSpec, bool) { return quorum.Leadership{}, nil, false }}
	handlers[wire.KeyPeerHello] = hello.Handle
	closed := make(chan security.Peer, 10)
	s := startServer(t, Limits{}, handlers, func(o *Options) {
		o.Listeners[0] = Listener{Name: "CONTROLLER", Protocol: "PLAINTEXT", Address: address, Kind: wire.ControllerListener, Privileged: true}
		o.OnPeerClosed = func(p security.Peer) { closed <- p }
	})
	listens := netip.MustParseAddrPort(s.address)
	return s, peer.Address{NodeID: 2, Host: "127.0.0.1", Port: listens.Port()}, closed
}

// Two nodes over real sockets: hello, Raft's messages, a forwarded request, a death, a restart.
func TestNodesOverSockets(t *testing.T) {
	t.Parallel()
	messages := make(chan string, 100)
	handlers := func() map[int16]handlerFunc {
		forward := &handler.PeerForward{Quota: quota.Unlimited{}, Controller: func(_ context.Context, _ peer.Origin, req kmsg.Request) (kmsg.Response, int64, error) {
			return req.ResponseKind(), 42, nil
		}}
		return map[int16]handlerFunc{
			wire.KeyPeerForward: forward.Handle,
			wire.KeyPeerRaft: func(_ context.Context, r *handler.Request) handler.Reply {
				for _, m := range r.Body.(*wire.PeerRaftRequest).Messages {
					messages <- string(m)
				}
				return handler.Respond(&wire.PeerRaftResponse{})
			},
		}
	}
	server, address, closed := startNode(t, "127.0.0.1:0", 2, handlers())
	spawner := env.NewSpawner(context.Background(), func(name string, err error) { t.Errorf("%s: %v", name, err) })
	t.Cleanup(spawner.Stop)
	registry, logger := metrics.NewRegistry(), slog.New(slog.DiscardHandler)
	dead := make(chan kafka.UUID, 10)
	watch := peer.NewWatch(peer.WatchOptions{Self: selfOf(1, 1), Spawner: spawner, Metrics: registry, OnDead: func(_ int32, incarnation kafka.UUID) { dead <- incarnation }})

	_, err := peer.Dial(t.Context(), peer.Options{Self: selfOf(1, 1), Address: peer.Address{NodeID: 3, Host: address.Host, Port: address.Port}, Spawner: spawner})
	if _, ok := errors.AsType[*peer.MismatchError](err); !ok {
		t.Errorf("another node: %v", err)
	}
	voter := quorum.VoterSpec{NodeID: 2, DirectoryID: kafka.UUID{2}, Listeners: []quorum.VoterListener{{Name: "CONTROLLER", Host: address.Host, Port: address.Port}}}
	raft := peer.NewRaft(peer.RaftOptions{Self: selfOf(1, 1), Spawner: spawner, Metrics: registry, Logger: logger, OnLost: watch.Lost})
	raft.SetVoters([]quorum.VoterSpec{voter})
	raft.Send(voter, []byte("vote for me"))
	select {
	case got := <-messages:
		if got != "vote for me" {
			t.Errorf("got %q", got)
		}
	case <-time.After(patience):
		t.Fatal("the first message does not come")
	}
	controllers := peer.NewControllers(peer.ControllersOptions{Self: selfOf(1, 1), Spawner: spawner, Metrics: registry, Logger: logger, OnLost: watch.Lost,
		Leader: func() quorum.Leadership { return quorum.Leadership{LeaderID: 2, Epoch: 1} }, Voters: func() []quorum.VoterSpec { return []quorum.VoterSpec{voter} },
		WaitFor: func(_ context.Context, offset int64) error {
			if offset != 42 {
				t.Errorf("waits for offset %d", offset)
			}
			return nil
		}})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	heartbeat := kmsg.NewPtrBrokerHeartbeatRequest()
	heartbeat.BrokerID = 1
	if _, err := controllers.Send(ctx, peer.Origin{}, heartbeat); err != nil {
		t.Fatal(err)
	}

	// The server ends, as a killed process's sockets would.
	_ = server.Stop(ctx)
	select {
	case got := <-dead:
		if got != (kafka.UUID{2}) {
			t.Errorf("incarnation %v is dead", got)
		}
	case <-ctx.Done():
		t.Fatal("a node that refuses connections is not found dead")
	}
	if len(closed) > 0 {
		t.Error("a server that stops tells of ended connections")
	}
	// Another process takes its place, and is found by who needs it.
	_, _, closed = startNode(t, net.JoinHostPort(address.Host, server.portText()), 22, handlers())
	if _, err := controllers.Send(ctx, peer.Origin{}, heartbeat); err != nil {
		t.Fatal(err)
	}
	// What was given to a connection that turns out to be broken is lost, as Raft allows: it is sent again.
	for got := ""; got != "again" && ctx.Err() == nil; {
		raft.Send(voter, []byte("again"))
		select {
		case got = <-messages:
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal("no message comes through to the new process")
		}
	}
	if len(dead) > 0 {
		t.Errorf("incarnation %v is dead", <-dead)
	}
	spawner.Stop()
	for range 2 { // Raft's and the forwarding one
		select {
		case p := <-closed:
			if p.NodeID != 1 {
				t.Errorf("told of %+v", p)
			}
		case <-time.After(patience):
			t.Fatal("nobody was told that the peer's connections have ended")
		}
	}
}

func (s *testServer) portText() string {
	_, port, err := net.SplitHostPort(s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	return port
}
