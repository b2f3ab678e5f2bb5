package peer

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/peer/forward"
	"github.com/moldau/moldau/internal/quorum"
	"github.com/moldau/moldau/internal/wire"
)

// cluster is node 1 with its channel, and nodes 2 and 3, which may be the active controller.
type cluster struct {
	*Controllers
	two, three *fakeNode

	mu      sync.Mutex
	leader  quorum.Leadership // guarded by mu
	awaited []int64           // guarded by mu: offsets that the node's metadata had to reach
}

func newCluster(t *testing.T) *cluster {
	network := &fakeNetwork{nodes: map[string]*fakeNode{}}
	c := &cluster{leader: quorum.Leadership{LeaderID: kafka.NoLeader}}
	var addresses [2]Address
	c.two, addresses[0] = network.add(t, 2, "two")
	c.three, addresses[1] = network.add(t, 3, "three")
	c.two.answer, c.three.answer = created(20), created(30)
	c.Controllers = NewControllers(ControllersOptions{
		Self: self(), Spawner: newSpawner(t), Metrics: metrics.NewRegistry(), Logger: slog.New(slog.DiscardHandler), Network: network.open,
		Leader: func() quorum.Leadership {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.leader
		},
		Voters: func() []quorum.VoterSpec {
			return []quorum.VoterSpec{voterAt(addresses[0], 2), voterAt(addresses[1], 3)}
		},
		WaitFor: func(_ context.Context, offset int64) error {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.awaited = append(c.awaited, offset)
			return nil
		},
	})
	return c
}

// created answers what is forwarded as a controller does that has made the topics t.
func created(offset int64) func(request kmsg.Request) kmsg.Response {
	return func(request kmsg.Request) kmsg.Response {
		f := request.(*wire.PeerForwardRequest)
		answer := kmsg.ResponseForKey(f.APIKey)
		answer.SetVersion(f.APIVersion)
		if topics, ok := answer.(*kmsg.CreateTopicsResponse); ok {
			topics.Topics = []kmsg.CreateTopicsResponseTopic{{Topic: "t", NumPartitions: 7}}
		}
		return &wire.PeerForwardResponse{Offset: offset, Body: answer.AppendTo(nil)}
	}
}

func notController(kmsg.Request) kmsg.Response {
	return &wire.PeerForwardResponse{ErrorCode: int16(kafka.ErrNotController)}
}

func (c *cluster) lead(nodeID, epoch int32) {
	c.mu.Lock()
	c.leader = quorum.Leadership{LeaderID: nodeID, Epoch: epoch}
	c.mu.Unlock()
	c.LeaderChanged()
}

func createRequest() *kmsg.CreateTopicsRequest {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version = 7
	req.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: "t", NumPartitions: 7, ReplicationFactor: 1}}
	return req
}

func heartbeatRequest() *kmsg.BrokerHeartbeatRequest {
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.Version, req.BrokerID = 1, 1
	return req
}

type sent struct {
	response kmsg.Response
	err      error
	took     time.Duration
}

// begin sends req within a minute and delivers what became of it.
func (c *cluster) begin(req kmsg.Request) <-chan sent {
	out := make(chan sent, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		began := time.Now()
		response, err := c.Send(ctx, Origin{Principal: "User:alice", ClientID: "cli", Host: "1.2.3.4", Permit: func(int) error { return errors.New("asked here") }}, req)
		out <- sent{response, err, time.Since(began)}
	}()
	return out
}

func wantCreated(t *testing.T, s sent) {
	t.Helper()
	if s.err != nil {
		t.Fatal(s.err)
	}
	if r := s.response.(*kmsg.CreateTopicsResponse); r.Version != 7 || len(r.Topics) != 1 || r.Topics[0].NumPartitions != 7 {
		t.Errorf("answer: %+v", r)
	}
}

func TestForwardedForTheClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.lead(2, 1)
		for range 3 {
			wantCreated(t, <-c.begin(createRequest()))
		}
		f := c.two.requests()[0].(*wire.PeerForwardRequest)
		if f.Principal != "User:alice" || f.ClientID != "cli" || f.Host != "1.2.3.4" || !f.HasQuota || f.APIVersion != 7 {
			t.Errorf("forwarded %+v", f)
		}
		if len(c.awaited) != 3 || c.awaited[0] != 20 {
			t.Errorf("waited for offsets %v", c.awaited)
		}
		if hellos, _ := c.two.greeted(); hellos != 1 {
			t.Errorf("%d connections for three requests, one after the other", hellos)
		}
	})
}

func TestWaitsForALeader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.two.set(func() { c.two.down = true })
		result := c.begin(createRequest())
		<-time.After(time.Second)
		c.lead(2, 1) // refuses connections
		<-time.After(time.Second)
		c.two.set(func() { c.two.down, c.two.answer = false, notController })
		<-time.After(time.Second)
		c.lead(4, 2) // nobody knows where that is
		<-time.After(time.Second)
		c.lead(1, 3) // this node has no controller
		<-time.After(time.Second)
		c.lead(3, 4)
		s := <-result
		wantCreated(t, s)
		if s.took != 5*time.Second {
			t.Errorf("answered after %v", s.took)
		}
	})
}

func TestNobodyLeadsInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		if s := <-c.begin(createRequest()); !errors.Is(s.err, context.DeadlineExceeded) || s.took != time.Minute {
			t.Errorf("after %v: %v", s.took, s.err)
		}
		result := c.begin(createRequest())
		synctest.Wait()
		c.o.Spawner.Stop()
		if s := <-result; !errors.Is(s.err, kafka.ErrNotController) || s.took != 0 {
			t.Errorf("%v after the stop: %v", s.took, s.err)
		}
	})
}

func TestAnswersOfTheControllerAreErrors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.lead(2, 1)
		message := "too much"
		c.two.set(func() {
			c.two.answer = func(kmsg.Request) kmsg.Response {
				return &wire.PeerForwardResponse{ErrorCode: int16(kafka.ErrPolicyViolation), ErrorMessage: &message}
			}
		})
		if s := <-c.begin(createRequest()); kafka.CodeOf(s.err) != kafka.ErrPolicyViolation || *kafka.MessageOf(s.err) != message {
			t.Error(s.err)
		}
		req := createRequest()
		req.Version = 1 // nobody serves that
		if s := <-c.begin(req); kafka.CodeOf(s.err) != kafka.ErrUnsupportedVersion {
			t.Error(s.err)
		}
		c.two.set(func() {
			c.two.answer = func(kmsg.Request) kmsg.Response { return &wire.PeerForwardResponse{Body: []byte{0, 0}} }
		})
		if s := <-c.begin(createRequest()); kafka.CodeOf(s.err) != kafka.ErrRequestTimedOut {
			t.Errorf("a cut answer: %v", s.err)
		}
	})
}

// The controller dies with a request: what may be made twice is asked of the next one, all else may have
// been done.
func TestControllerDiesDuringASend(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.lead(2, 1)
		die := func(kmsg.Request) kmsg.Response {
			c.two.set(func() { c.two.down = true })
			return nil
		}
		c.two.set(func() { c.two.answer = die })
		if s := <-c.begin(createRequest()); kafka.CodeOf(s.err) != kafka.ErrRequestTimedOut || kafka.MessageOf(s.err) == nil {
			t.Errorf("a lost creation: %v", s.err)
		}
		if len(c.three.requests()) > 0 {
			t.Error("the creation was made twice")
		}
		c.two.set(func() { c.two.down = false })
		heartbeat := c.begin(heartbeatRequest())
		<-time.After(time.Second)
		c.lead(3, 2)
		if s := <-heartbeat; s.err != nil || s.took != time.Second || c.awaited[0] != 30 {
			t.Errorf("after %v, offset %v: %v", s.took, c.awaited, s.err)
		}
	})
}

// A leader that hangs does not answer; its successor does.
func TestLeaderChangesDuringASend(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.lead(2, 1)
		hang := make(chan struct{})
		defer close(hang)
		c.two.set(func() {
			c.two.answer = func(kmsg.Request) kmsg.Response {
				<-hang
				return nil
			}
		})
		heartbeat, creation := c.begin(heartbeatRequest()), c.begin(createRequest())
		<-time.After(time.Second)
		c.LeaderChanged() // to the same
		<-time.After(forward.Grace)
		c.lead(3, 2)
		want := time.Second + 2*forward.Grace
		if s := <-heartbeat; s.err != nil || s.took != want {
			t.Errorf("heartbeat after %v: %v", s.took, s.err)
		}
		if s := <-creation; kafka.CodeOf(s.err) != kafka.ErrRequestTimedOut || s.took != want {
			t.Errorf("creation after %v: %v", s.took, s.err)
		}
	})
}

// A leader that the network has lost does not even refuse connections: nobody waits for it once another
// leads.
func TestLeaderChangesDuringADial(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.two.set(func() { c.two.mute = true })
		c.lead(2, 1)
		creation := c.begin(createRequest())
		<-time.After(time.Second)
		c.lead(3, 2)
		s := <-creation
		wantCreated(t, s)
		if s.took != time.Second {
			t.Errorf("answered after %v", s.took)
		}
	})
}

// What clients ask, however long it takes, does not hold up the node's own requests.
func TestClientsDoNotHoldUpHeartbeats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.lead(2, 1)
		c.two.set(func() {
			c.two.answer = func(request kmsg.Request) kmsg.Response {
				if request.(*wire.PeerForwardRequest).APIKey == wire.KeyCreateTopics {
					<-time.After(10 * time.Second)
				}
				return created(20)(request)
			}
		})
		var creations []<-chan sent
		for range 2 * clientConnections {
			creations = append(creations, c.begin(createRequest()))
		}
		synctest.Wait()
		if n := c.clients.waiting.Value(); n != clientConnections {
			t.Errorf("%d requests wait for a connection", n)
		}
		if s := <-c.begin(heartbeatRequest()); s.err != nil || s.took != 0 {
			t.Errorf("heartbeat after %v: %v", s.took, s.err)
		}
		for _, creation := range creations {
			wantCreated(t, <-creation)
		}
		if hellos, _ := c.two.greeted(); hellos != clientConnections+1 {
			t.Errorf("%d connections", hellos)
		}
	})
}

// A client that has gone leaves nothing behind: the next one does not get its answer.
func TestForwardingClientGoesAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.lead(2, 1)
		slow := func(request kmsg.Request) kmsg.Response {
			<-time.After(time.Second)
			return created(20)(request)
		}
		c.two.set(func() { c.two.answer = slow })
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := c.Send(ctx, Origin{}, createRequest()); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		c.two.set(func() { c.two.answer = created(20) })
		if s := <-c.begin(createRequest()); s.err != nil || s.took != 0 {
			t.Errorf("the next one after %v: %v", s.took, s.err)
		}
		<-time.After(time.Second) // the first one's answer has nowhere to go
	})
}

// The controller of this node is asked in process.
func TestActiveControllerHere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n, err := startNode(newDisk(t), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		defer n.stop()
		c := NewControllers(ControllersOptions{Self: self(), Local: n.host, Leader: n.quorum.Leadership, Voters: func() []quorum.VoterSpec { return nil },
			WaitFor: n.loader.WaitFor, Spawner: newSpawner(t), Metrics: metrics.NewRegistry(), Logger: slog.New(slog.DiscardHandler)})
		n.channel = c
		if err := n.create(3, "here"); err != nil {
			t.Fatal(err)
		}
		if got := n.topics(); len(got) != 1 || got[0] != "here" {
			t.Errorf("topics %v", got)
		}
	})
}
