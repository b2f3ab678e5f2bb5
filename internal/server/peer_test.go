package server

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/handler"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/quota"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/wire"
)

// greet is what the hello's handler does to a connection.
func greet(_ context.Context, r *handler.Request) handler.Reply {
	hello := r.Body.(*wire.PeerHelloRequest)
	r.Conn.Peer = &security.Peer{NodeID: hello.NodeID, IncarnationID: hello.IncarnationID, Purpose: hello.Purpose}
	return handler.Respond(&wire.PeerHelloResponse{NodeID: 1})
}

// peerServer has one listener of the given kind that says who may use it, and tells of ended peers.
func peerServer(t *testing.T, privileged bool, limits Limits, options ...func(*Options)) (*testServer, <-chan security.Peer) {
	closed := make(chan security.Peer, 10)
	s := startServer(t, limits, map[int16]handlerFunc{wire.KeyPeerHello: greet, wire.KeyPeerRaft: respondEmpty, wire.KeyBrokerHeartbeat: respondEmpty}, append(options, func(o *Options) {
		o.Listeners[0].Kind, o.Listeners[0].Privileged = wire.ControllerListener, privileged
		o.OnPeerClosed = func(peer security.Peer) { closed <- peer }
	})...)
	return s, closed
}

func raftRequest() *wire.PeerRaftRequest {
	return &wire.PeerRaftRequest{Messages: [][]byte{[]byte("one"), []byte("two")}}
}

func TestOnlyPeersAreServedAsPeers(t *testing.T) {
	t.Parallel()
	heartbeat := kmsg.NewPtrBrokerHeartbeatRequest()
	for _, request := range []kmsg.Request{raftRequest(), heartbeat} {
		s, closed := peerServer(t, true, Limits{})
		stranger := s.dial()
		stranger.send(frameOf(request, 1))
		stranger.wantClosed()

		peer := s.dial()
		peer.send(frameOf(&wire.PeerHelloRequest{NodeID: 2, IncarnationID: kafka.UUID{7}, Purpose: wire.PurposeRaft}, 1))
		if id, _ := peer.receive(); id != 1 {
			t.Fatalf("answer to request %d", id)
		}
		peer.send(frameOf(request, 2))
		if id, _ := peer.receive(); id != 2 {
			t.Fatalf("answer to request %d", id)
		}
		_ = peer.Close()
		select {
		case p := <-closed:
			if p != (security.Peer{NodeID: 2, IncarnationID: kafka.UUID{7}, Purpose: wire.PurposeRaft}) {
				t.Errorf("told of %+v", p)
			}
		case <-time.After(patience):
			t.Fatal("nobody was told that the peer's connection has ended")
		}
		if len(closed) > 0 {
			t.Errorf("told of %+v, too", <-closed)
		}
	}
}

func TestHelloIsRefusedOnClientsListeners(t *testing.T) {
	t.Parallel()
	s, _ := peerServer(t, false, Limits{})
	c := s.dial()
	c.send(frameOf(&wire.PeerHelloRequest{NodeID: 2}, 1))
	c.wantClosed()
	if n := s.counter("moldau_connections_broken_total", "reason", "unknown API"); n != 1 {
		t.Errorf("%d connections closed for an unknown API", n)
	}
}

// In a cluster whose brokers and clients share a listener, the reserve is the nodes' nevertheless.
func TestReserveIsForPeers(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	s := startServer(t, Limits{RequestMemoryBytes: limit}, map[int16]handlerFunc{wire.KeyPeerHello: greet}, func(o *Options) { o.Listeners[0].Privileged = true })
	if err := s.memory.acquire(t.Context(), limit, false, patience); err != nil {
		t.Fatal(err)
	}
	large := kmsg.NewPtrMetadataRequest()
	large.Topics = []kmsg.MetadataRequestTopic{{Topic: kmsg.StringPtr(strings.Repeat("t", 2*favouredBytes))}}
	client, peer := s.dial(), s.dial()
	client.send(frameOf(large, 1))
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	isWaiting := func() bool {
		s.memory.mu.Lock()
		defer s.memory.mu.Unlock()
		return len(s.memory.waiting) == 1
	}
	for deadline := time.Now().Add(patience); !isWaiting(); <-ticker.C {
		if time.Now().After(deadline) {
			t.Fatal("a client's request does not wait for memory")
		}
	}
	peer.send(frameOf(&wire.PeerHelloRequest{NodeID: 2}, 1))
	peer.receive()
	peer.send(frameOf(large, 2))
	peer.receive()
	if !isWaiting() {
		t.Error("the client has got memory, too")
	}
	s.memory.release(limit)
	client.receive()
}

// What nodes send each other does not follow socket.request.max.bytes, which is about clients: a voter that refuses
// a batch of the metadata log would be sent it for ever.
func TestLargeRequestsOfPeers(t *testing.T) {
	t.Parallel()
	s, _ := peerServer(t, true, Limits{MaxRequestBytes: 1000})
	large := &wire.PeerRaftRequest{Messages: [][]byte{make([]byte, 5000)}}
	peer, stranger := s.dial(), s.dial()
	peer.send(frameOf(&wire.PeerHelloRequest{NodeID: 2}, 1))
	peer.receive()
	peer.send(frameOf(large, 2))
	peer.receive()
	stranger.send(frameOf(large, 1))
	stranger.wantClosed()
	if n := s.counter("moldau_connections_broken_total", "reason", "request size"); n != 1 {
		t.Errorf("%d connections closed for the size of a request", n)
	}
}

// Clients that take all of max.connections do not keep the other brokers out, where these have a listener of their own.
func TestPeersGetInAboveMaxConnections(t *testing.T) {
	t.Parallel()
	for _, separate := range []bool{true, false} {
		s := startServer(t, Limits{MaxConnections: 1}, map[int16]handlerFunc{wire.KeyPeerHello: greet}, func(o *Options) {
			o.Listeners[0].Privileged = !separate
			if separate {
				o.Listeners = append(o.Listeners, Listener{Name: "INTERNAL", Protocol: "PLAINTEXT", Address: "127.0.0.1:0", Kind: wire.BrokerListener, Privileged: true})
			}
		})
		client := s.dial()
		client.send(frameOf(kmsg.NewPtrMetadataRequest(), 1))
		client.receive()
		if separate {
			s.address = s.Addr("INTERNAL").String()
		}
		peer := s.dial()
		peer.send(frameOf(&wire.PeerHelloRequest{NodeID: 2}, 1))
		if !separate {
			_ = peer.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		}
		if _, _, err := peer.tryReceive(); (err == nil) != separate {
			t.Errorf("with a listener of its own %t: %v", separate, err)
		}
	}
}

// The connections of other nodes are none of their address's, and get in where clients have used it up.
func TestPeersAreNotCountedPerAddress(t *testing.T) {
	t.Parallel()
	s, _ := peerServer(t, true, Limits{MaxConnectionsPerIP: 1})
	heartbeat := kmsg.NewPtrBrokerHeartbeatRequest()
	for range 3 {
		peer := s.dial()
		peer.send(frameOf(&wire.PeerHelloRequest{NodeID: 2}, 1))
		peer.receive()
		peer.send(frameOf(heartbeat, 2))
		peer.receive()
	}
	client, another := s.dial(), s.dial()
	client.send(frameOf(kmsg.NewPtrApiVersionsRequest(), 1))
	client.receive()
	another.send(frameOf(kmsg.NewPtrApiVersionsRequest(), 1))
	another.wantClosed()
	if n := s.counter("moldau_connections_refused_total", "reason", "per ip"); n != 1 {
		t.Errorf("%d connections refused", n)
	}
	late := s.dial()
	late.send(frameOf(&wire.PeerHelloRequest{NodeID: 3}, 1))
	late.receive()
}

// greedy wants every request held back for an hour.
type greedy struct{ quota.Unlimited }

func (greedy) Throttle(*security.Connection, quota.Usage) time.Duration { return time.Hour }

func TestPeersAreNeitherThrottledNorIdle(t *testing.T) {
	t.Parallel()
	s, _ := peerServer(t, true, Limits{MaxIdle: 50 * time.Millisecond}, func(o *Options) { o.Quota = greedy{} })
	peer, client := s.dial(), s.dial()
	peer.send(frameOf(&wire.PeerHelloRequest{NodeID: 2}, 1))
	peer.receive()
	client.wantClosed()
	for id := range int32(3) {
		peer.send(frameOf(raftRequest(), id))
		if got, _ := peer.receive(); got != id {
			t.Fatalf("answer to request %d", got)
		}
	}
}
