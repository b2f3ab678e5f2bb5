package peer

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/quorum"
	"github.com/moldau/moldau/internal/wire"
)

func voterAt(address Address, directory byte) quorum.VoterSpec {
	return quorum.VoterSpec{NodeID: address.NodeID, DirectoryID: kafka.UUID{directory}, Listeners: []quorum.VoterListener{{Name: "C", Host: address.Host, Port: address.Port}}}
}

// raftTo is a Raft whose one voter is a fake node.
type raftTo struct {
	*Raft
	node  *fakeNode
	voter quorum.VoterSpec
	log   *sharedLog
}

// sharedLog is written by one goroutine and read by another.
type sharedLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *sharedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *sharedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newRaftTo(t *testing.T) *raftTo {
	network := &fakeNetwork{nodes: map[string]*fakeNode{}}
	node, address := network.add(t, 2, "two")
	node.answer = echo
	log := new(sharedLog)
	r := &raftTo{node: node, voter: voterAt(address, 2), log: log, Raft: NewRaft(RaftOptions{Self: self(), Spawner: newSpawner(t), Metrics: metrics.NewRegistry(),
		Logger: slog.New(slog.NewTextHandler(log, nil)), Network: network.open})}
	me := quorum.VoterSpec{NodeID: 1, DirectoryID: self().DirectoryID, Listeners: []quorum.VoterListener{{Host: "one", Port: 1000}}}
	r.SetVoters([]quorum.VoterSpec{me, r.voter})
	return r
}

func (r *raftTo) send(from, to int) {
	for i := from; i < to; i++ {
		r.Send(r.voter, fmt.Append(nil, i))
	}
}

// received returns the messages that the voter has got, in order.
func (r *raftTo) received(t *testing.T) []string {
	var got []string
	for _, request := range r.node.requests() {
		raft := request.(*wire.PeerRaftRequest)
		if raft.FromPeerID != quorum.PeerID(self().DirectoryID) {
			t.Errorf("messages from peer %x", raft.FromPeerID)
		}
		for _, m := range raft.Messages {
			got = append(got, string(m))
		}
	}
	return got
}

func numbers(from, to int) []string {
	var all []string
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprint(i))
	}
	return all
}

func TestRaftMessagesArriveInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRaftTo(t)
		r.send(0, 3)
		synctest.Wait()
		r.send(3, 500)
		synctest.Wait()
		if got := r.received(t); !slices.Equal(got, numbers(0, 500)) {
			t.Errorf("got %v", got)
		}
		r.Send(quorum.VoterSpec{NodeID: 9, DirectoryID: kafka.UUID{9}}, []byte("x"))
		if r.dropped.Value() != 1 || r.queued.Value() != 0 {
			t.Errorf("%d dropped, %d queued", r.dropped.Value(), r.queued.Value())
		}
	})
}

// A voter that does not confirm gets no more than so many requests; what comes meanwhile waits, and the
// oldest gives way.
func TestSlowVoterCostsABoundedQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRaftTo(t)
		hold := make(chan struct{})
		r.node.set(func() {
			r.node.answer = func(request kmsg.Request) kmsg.Response {
				<-hold
				return request.ResponseKind()
			}
		})
		for i := range 3000 {
			r.send(i, i+1)
			synctest.Wait()
		}
		if n := r.queued.Value(); n != raftQueueCount {
			t.Errorf("%d messages are queued, %d may be", n, raftQueueCount)
		}
		if r.dropped.Value() == 0 {
			t.Error("nothing was dropped")
		}
		close(hold)
		synctest.Wait()
		got := r.received(t)
		if want := numbers(3000-raftQueueCount, 3000); !slices.Equal(got[len(got)-raftQueueCount:], want) {
			t.Errorf("the latest that arrived are %v", got[len(got)-raftQueueCount:])
		}
		r.Send(r.voter, make([]byte, raftQueueBytes+1))
		if r.queued.Value() != 0 {
			t.Error("a message above the limit in bytes is queued")
		}
	})
}

func TestRaftDialsAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRaftTo(t)
		r.node.set(func() { r.node.down = true })
		r.send(0, 10)
		<-time.After(9 * time.Second)
		if n, _ := r.node.greeted(); n < 35 || n > 50 {
			t.Errorf("%d attempts in 9 s", n)
		}
		synctest.Wait()
		if log := r.log.String(); log != "" {
			t.Errorf("the operator reads %q, and a restart takes so long", log)
		}
		<-time.After(3 * time.Second)
		synctest.Wait()
		if log := r.log.String(); strings.Count(log, "\n") != 1 || !strings.Contains(log, "node 2 (two:1000)") || !strings.Contains(log, "refused") {
			t.Errorf("the operator reads %q", log)
		}
		r.node.set(func() { r.node.down = false })
		r.Heard(r.voter.DirectoryID) // which is quicker than the next attempt
		r.Heard(kafka.UUID{99})
		<-time.After(time.Millisecond)
		synctest.Wait()
		if got := r.received(t); !slices.Equal(got, numbers(0, 10)) {
			t.Errorf("got %v", got)
		}
		r.node.cut()
		synctest.Wait()
		began := time.Now()
		r.send(10, 11)
		for len(r.received(t)) < 11 {
			<-time.After(100 * time.Microsecond)
		}
		if took := time.Since(began); took > 2*time.Millisecond {
			t.Errorf("a voter that is there again got its message after %v", took)
		}
	})
}

func TestVotersThatLeaveGetNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRaftTo(t)
		r.send(0, 1)
		synctest.Wait()
		r.SetVoters(nil)
		r.send(1, 2)
		synctest.Wait()
		if got := r.received(t); len(got) != 1 || r.dropped.Value() != 1 {
			t.Errorf("got %v, %d dropped", got, r.dropped.Value())
		}
		r.node.set(func() {
			for _, socket := range r.node.accepted {
				if n, err := socket.Read(make([]byte, 1)); err == nil {
					t.Errorf("%d bytes more", n)
				}
			}
		})
		moved := r.voter
		moved.Listeners = []quorum.VoterListener{{Host: "nowhere", Port: 1}}
		r.SetVoters([]quorum.VoterSpec{moved})
		r.send(2, 3)
		r.SetVoters([]quorum.VoterSpec{r.voter})
		r.send(3, 4)
		synctest.Wait()
		if got := r.received(t); !slices.Equal(got, []string{"0", "3"}) || r.queued.Value() != 0 {
			t.Errorf("got %v, %d queued", got, r.queued.Value())
		}
	})
}

// TestAVoterThatIsHeardIsSoughtWhereItWas: not elsewhere first, whose turn it may be, and not after a long pause.
func TestAVoterThatIsHeardIsSoughtWhereItWas(t *testing.T) {
	t.Parallel()
	for failures := range 6 {
		synctest.Test(t, func(t *testing.T) {
			network := &fakeNetwork{nodes: map[string]*fakeNode{}}
			node, address := network.add(t, 2, "two")
			node.answer, node.down = echo, true
			elsewhere := address
			elsewhere.Host = "elsewhere"
			r := &raftTo{node: node, voter: voterAt(address, 2), Raft: NewRaft(RaftOptions{Self: self(), Spawner: newSpawner(t), Metrics: metrics.NewRegistry(),
				Logger: slog.New(slog.DiscardHandler), Network: network.open, Listed: func(int32) []Address { return []Address{elsewhere} }})}
			r.SetVoters([]quorum.VoterSpec{r.voter})
			r.send(0, 1)
			<-time.After(2*time.Second + time.Duration(failures)*maxRaftPause)
			synctest.Wait()
			node.set(func() { node.down = false })
			r.Heard(r.voter.DirectoryID)
			synctest.Wait()
			if got := r.received(t); len(got) != 1 {
				t.Errorf("heard again, it got %v", got)
			}
		})
	}
}

// TestAVoterThatHasMovedIsFound: the log names an address where nobody is any more, the properties the new one.
func TestAVoterThatHasMovedIsFound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		network := &fakeNetwork{nodes: map[string]*fakeNode{}}
		node, address := network.add(t, 2, "moved")
		node.answer = echo
		gone := address
		gone.Host = "gone"
		r := &raftTo{node: node, voter: voterAt(gone, 2), Raft: NewRaft(RaftOptions{Self: self(), Spawner: newSpawner(t), Metrics: metrics.NewRegistry(),
			Logger: slog.New(slog.DiscardHandler), Network: network.open, Listed: func(nodeID int32) []Address {
				if nodeID != 2 {
					t.Errorf("asked for node %d", nodeID)
				}
				return []Address{address}
			}})}
		r.SetVoters([]quorum.VoterSpec{r.voter})
		r.send(0, 3)
		<-time.After(time.Second)
		synctest.Wait()
		if got := r.received(t); !slices.Equal(got, numbers(0, 3)) {
			t.Errorf("received %q", got)
		}
	})
}
