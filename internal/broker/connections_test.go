package broker

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/handler"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/quorum"
	"github.com/moldau/moldau/internal/quota"
	"github.com/moldau/moldau/internal/server"
	"github.com/moldau/moldau/internal/wire"
)

func selfOf(nodeID int32) peer.Self {
	return peer.Self{ClusterID: func() string { return "c" }, NodeID: nodeID, DirectoryID: kafka.UUID{byte(nodeID)}, IncarnationID: kafka.UUID{byte(nodeID)}}
}

// peerOptions are those of connections of node 1.
func peerOptions(t *testing.T) peer.Options {
	spawner := env.NewSpawner(context.Background(), func(name string, err error) { t.Errorf("%s: %v", name, err) })
	t.Cleanup(spawner.Stop)
	return peer.Options{Self: selfOf(1), Purpose: wire.PurposeSession, Spawner: spawner, RequestTimeout: time.Minute, MaxInFlight: 1}
}

// remote is another node, which answers heartbeats as a test wants.
type remote struct {
	address peer.Address

	mu     sync.Mutex
	hellos int
	beats  int
	cuts   bool // ends connections instead of an answer
	hangs  bool // answers nothing
}

func (r *remote) Handle(ctx context.Context, req *handler.Request) handler.Reply {
	r.mu.Lock()
	r.beats++
	cuts, hangs := r.cuts, r.hangs
	r.mu.Unlock()
	switch {
	case hangs:
		<-ctx.Done()
		fallthrough
	case cuts:
		return handler.Reply{CloseConnection: true}
	}
	return handler.Respond(req.Body.ResponseKind())
}

func (r *remote) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

func (r *remote) counts() (hellos, beats int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hellos, r.beats
}

// await waits for something that the node counts.
func (r *remote) await(t *testing.T, what string, holds func(hellos, beats int) bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(30 * time.Second); !holds(r.counts()); <-ticker.C {
		if time.Now().After(deadline) {
			t.Fatalf("not so: %s", what)
		}
	}
}

// startRemote starts a node's controller listener.
func startRemote(t *testing.T, nodeID int32) *remote {
	t.Helper()
	r := &remote{}
	set := handler.NewSet()
	set.Add(wire.KeyBrokerHeartbeat, r)
	set.Add(wire.KeyPeerHello, &handler.PeerHello{Self: selfOf(nodeID), Quorum: func() (quorum.Leadership, []quorum.VoterSpec, bool) {
		r.set(func() { r.hellos++ })
		return quorum.Leadership{}, nil, false
	}})
	s := server.New(server.Options{
		Listeners: []server.Listener{{Name: "CONTROLLER", Protocol: "PLAINTEXT", Address: "127.0.0.1:0", Kind: wire.ControllerListener, Privileged: true}},
		Handlers:  set, Quota: quota.Unlimited{}, Metrics: metrics.NewRegistry(), Logger: slog.New(slog.DiscardHandler),
	})
	if err := s.Bind(); err != nil {
		t.Fatal(err)
	}
	s.Start(context.Background(), func(name string, err error) { t.Errorf("%s: %v", name, err) })
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	r.address = addressAt(t, nodeID, s.Addr("CONTROLLER"))
	return r
}

func addressAt(t *testing.T, nodeID int32, a net.Addr) peer.Address {
	t.Helper()
	at, err := netip.ParseAddrPort(a.String())
	if err != nil {
		t.Fatal(err)
	}
	return peer.Address{NodeID: nodeID, Host: "127.0.0.1", Port: at.Port()}
}

func heartbeatRequest() kmsg.Request {
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.SetVersion(req.MaxVersion())
	return req
}

func TestConnectionsCheckWhoIsThere(t *testing.T) {
	t.Parallel()
	two := startRemote(t, 2)
	c := peer.NewKeeper(peerOptions(t), 1, nil)
	wrong := two.address
	wrong.NodeID = 3
	if _, err := c.Call(t.Context(), wrong, heartbeatRequest()); err == nil {
		t.Error("node 2 is taken for node 3")
	} else if _, ok := errors.AsType[*peer.MismatchError](err); !ok {
		t.Error(err)
	}
	for range 2 {
		if _, err := c.Call(t.Context(), two.address, heartbeatRequest()); err != nil {
			t.Error(err)
		}
	}
	if hellos, beats := two.counts(); hellos != 2 || beats != 2 {
		t.Errorf("%d connections, %d requests", hellos, beats)
	}
}

func TestDroppedConnectionIsReplaced(t *testing.T) {
	t.Parallel()
	two := startRemote(t, 2)
	c := peer.NewKeeper(peerOptions(t), 1, nil)
	two.set(func() { two.cuts = true })
	if _, err := c.Call(t.Context(), two.address, heartbeatRequest()); err == nil {
		t.Error("an answer over a connection that was cut")
	} else if _, ok := errors.AsType[*peer.LostError](err); !ok {
		t.Error(err)
	}
	two.set(func() { two.cuts = false })
	if _, err := c.Call(t.Context(), two.address, heartbeatRequest()); err != nil {
		t.Error(err)
	}
	if hellos, _ := two.counts(); hellos != 2 {
		t.Errorf("%d connections", hellos)
	}
}

// A node that accepts connections and says nothing holds up its callers only as long as each wants to wait, and
// nobody who calls another node.
func TestSilentNodeHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	accepted := make(chan net.Conn, 10)
	go func() {
		for socket, err := silent.Accept(); err == nil; socket, err = silent.Accept() {
			accepted <- socket
		}
		close(accepted)
	}()
	two, c := startRemote(t, 2), peer.NewKeeper(peerOptions(t), 1, nil)
	address := addressAt(t, 3, silent.Addr())
	first, giveUp := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := c.Call(first, address, heartbeatRequest())
		ended <- err
	}()
	socket := <-accepted // and has the turn

	if _, err := c.Call(t.Context(), two.address, heartbeatRequest()); err != nil {
		t.Errorf("another node: %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Call(cancelled, address, heartbeatRequest()); !errors.Is(err, context.Canceled) {
		t.Errorf("one whose caller has gone: %v", err)
	}
	giveUp()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the first: %v", err)
	}
	if _, err := io.Copy(io.Discard, socket); err != nil { // it has been closed
		t.Error(err)
	}
	brief, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Call(brief, address, heartbeatRequest()); !errors.Is(err, context.DeadlineExceeded) { // it got the turn
		t.Error(err)
	}
	_ = silent.Close()
	for socket := range accepted {
		_ = socket.Close()
	}
}

func voterAt(a peer.Address) quorum.VoterSpec {
	return quorum.VoterSpec{NodeID: a.NodeID, DirectoryID: kafka.UUID{byte(a.NodeID)}, Listeners: []quorum.VoterListener{{Name: "CONTROLLER", Host: a.Host, Port: a.Port}}}
}

// A voter that answers nothing gets a new connection, and does not keep the others from hearing of this broker.
func TestSessionsWithASlowVoter(t *testing.T) {
	t.Parallel()
	slow, well := startRemote(t, 2), startRemote(t, 3)
	slow.set(func() { slow.hangs = true })
	o := peerOptions(t)
	s := &sessions{spawner: o.Spawner, connections: peer.NewKeeper(o, 1, nil), nodeID: 1, offset: func() int64 { return 6 }, contact: newContact(1, 1500), logEnd: func() int64 { return 7 }, epoch: func() int64 { return 7 }}
	s.setVoters([]quorum.VoterSpec{voterAt(slow.address), voterAt(well.address), {NodeID: 4}})
	well.await(t, "heartbeats", func(hellos, beats int) bool { return beats >= 3 })
	slow.await(t, "another connection", func(hellos, beats int) bool { return hellos >= 2 })
	slow.set(func() { slow.hangs = false })
	_, before := slow.counts()
	slow.await(t, "it is well again", func(hellos, beats int) bool { return beats >= before+3 })
	if hellos, _ := well.counts(); hellos != 1 {
		t.Errorf("%d connections to a voter that is well", hellos)
	}
}

func TestSessionsFollowTheVotersAndTheEpoch(t *testing.T) {
	t.Parallel()
	two, three := startRemote(t, 2), startRemote(t, 3)
	var mu sync.Mutex
	epoch, own := int64(-1), make(chan int64, 100)
	o := peerOptions(t)
	s := &sessions{spawner: o.Spawner, connections: peer.NewKeeper(o, 1, nil), nodeID: 1, offset: func() int64 { return 6 }, contact: newContact(1, 1500), logEnd: func() int64 { return 7 }, epoch: func() int64 {
		mu.Lock()
		defer mu.Unlock()
		return epoch
	}, touch: func(_ int32, epoch int64) {
		select {
		case own <- epoch:
		default:
		}
	}}
	self := voterAt(peer.Address{NodeID: 1, Host: "127.0.0.1", Port: 1})
	s.setVoters([]quorum.VoterSpec{self, voterAt(two.address)})
	mu.Lock()
	epoch = 7
	mu.Unlock()
	if got := <-own; got != 7 {
		t.Errorf("its own controller hears of epoch %d", got)
	}
	two.await(t, "heartbeats", func(hellos, beats int) bool { return beats >= 2 })

	two.set(func() { two.cuts = true }) // a connection that breaks is made again
	two.await(t, "another connection", func(hellos, beats int) bool { return hellos >= 3 })
	two.set(func() { two.cuts = false })

	s.setVoters([]quorum.VoterSpec{self, voterAt(three.address)})
	three.await(t, "heartbeats", func(hellos, beats int) bool { return beats >= 1 })
	_, before := two.counts()
	_, since := three.counts()
	three.await(t, "more heartbeats", func(hellos, beats int) bool { return beats >= since+3 })
	if _, beats := two.counts(); beats > before+1 {
		t.Errorf("%d heartbeats to one that votes no more", beats-before)
	}
}

// TestSessionsPauseWhereAVoterIsGone: it is not called ten times a second for ever.
func TestSessionsPauseWhereAVoterIsGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var dials atomic.Int32
		spawner := env.NewSpawner(t.Context(), func(_ string, err error) { t.Error(err) })
		defer spawner.Stop()
		o := peer.Options{Self: peer.Self{ClusterID: func() string { return "c" }, NodeID: 1}, Spawner: spawner, Network: func(context.Context, peer.Address) (net.Conn, error) {
			dials.Add(1)
			return nil, errors.New("refused")
		}}
		s := &sessions{spawner: spawner, connections: peer.NewKeeper(o, 1, nil), nodeID: 1, offset: func() int64 { return 6 }, contact: newContact(1, 1500), logEnd: func() int64 { return 7 }, epoch: func() int64 { return 7 }}
		s.setVoters([]quorum.VoterSpec{voterAt(peer.Address{NodeID: 2, Host: "gone", Port: 1})})
		<-time.After(10 * time.Second)
		if n := dials.Load(); n < 8 || n > 20 {
			t.Errorf("%d attempts in 10 s", n)
		}
	})
}
