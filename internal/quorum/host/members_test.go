package host

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/quorum"
)

// TestAnEmptyDiskObservesUntilItIsAdded: a voter that lost its disk never votes as if nothing had happened.
func TestAnEmptyDiskObservesUntilItIsAdded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.elected()
		c.create(100)
		leader, _ := c.elected()
		var lost *member
		for _, m := range c.members {
			if m != leader {
				lost = m
			}
		}
		old := lost.spec
		lost.kill()
		lost.newDisk(old.NodeID, 1)
		lost.join(leader)
		c.agreed(100)
		if lost.node.IsVoter() || lost.node.Leadership().LeaderID != leader.spec.NodeID {
			t.Errorf("with an empty disk it votes: %v, and knows the leader %+v", lost.node.IsVoter(), lost.node.Leadership())
		}

		ctx, stop := context.WithCancel(t.Context())
		var writer sync.WaitGroup
		writer.Go(func() {
			for ctx.Err() == nil {
				if err := c.createOne(ctx); err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("while the voters change: %v", err)
				}
			}
		})
		if err := leader.node.AddVoter(t.Context(), lost.spec); !errors.Is(err, kafka.ErrDuplicateVoter) {
			t.Errorf("a second voter of the same node id: %v", err)
		}
		if err := leader.node.RemoveVoter(t.Context(), old.NodeID, old.DirectoryID); err != nil {
			t.Errorf("remove: %v", err)
		}
		if err := leader.node.AddVoter(t.Context(), lost.spec); err != nil {
			t.Errorf("add: %v", err)
		}
		updated := lost.spec
		updated.Listeners = []quorum.VoterListener{{Name: "CONTROLLER", Host: "elsewhere", Port: 1}}
		if err := leader.node.UpdateVoter(t.Context(), updated); err != nil {
			t.Errorf("update: %v", err)
		}
		stop()
		writer.Wait()
		c.agreed(100)
		if !lost.node.IsVoter() || len(lost.voters) != 3 || lost.voters[2].Listeners[0].Host != "elsewhere" {
			t.Errorf("after the changes the voters are %+v", lost.voters)
		}

		unknown := quorum.VoterSpec{NodeID: 9, DirectoryID: kafka.UUID{9}}
		brief, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := leader.node.AddVoter(brief, unknown); !errors.Is(err, kafka.ErrRequestTimedOut) {
			t.Errorf("a voter that is not there: %v", err)
		}
		if err := lost.node.RemoveVoter(t.Context(), 1, kafka.UUID{}); !errors.Is(err, kafka.ErrVoterNotFound) && !errors.Is(err, kafka.ErrNotController) {
			t.Errorf("a follower changes the voters: %v", err)
		}
	})
}

// TestAVoterThatIsNotCommittedInTime has caught up, if late: whoever asked is not told that it has not.
func TestAVoterThatIsNotCommittedInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.create(5)
		leader, _ := c.elected()
		candidate := c.newMember(4, 0, true)
		ctx, cancel := context.WithTimeout(t.Context(), 2*caughtUpPause)
		defer cancel()
		time.AfterFunc(caughtUpPause/2, func() { candidate.join(leader) })
		time.AfterFunc(caughtUpPause*9/10, func() {
			for _, m := range c.members[:3] {
				if m != leader {
					c.isolate(m, true)
				}
			}
		})
		err := leader.node.AddVoter(ctx, candidate.spec)
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, kafka.ErrRequestTimedOut) {
			t.Error(err)
		}
		for _, m := range c.members[:3] {
			c.isolate(m, false)
		}
		c.agreed(5)
	})
}

func TestObserversFollow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		leader, _ := c.elected()
		c.create(50)
		broker := c.newMember(10, 0, false)
		broker.join(leader)
		candidate := c.newMember(4, 0, true)
		candidate.join(leader)
		c.agreed(50)
		c.elected()
		c.create(10)
		c.agreed(60)

		state, err := leader.node.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		nowMs := time.Now().UnixMilli()
		for _, v := range state.Voters {
			if v.LogEndOffset != state.HighWatermark || nowMs-v.LastFetchMs > 100 || nowMs-v.LastCaughtUpMs > 100 || len(v.Listeners) != 1 {
				t.Errorf("voter %+v, high watermark %d", v, state.HighWatermark)
			}
		}
		observed := slices.IndexFunc(state.Observers, func(o ReplicaState) bool { return o.DirectoryID == candidate.spec.DirectoryID })
		if len(state.Voters) != 3 || observed < 0 || state.Observers[observed].LogEndOffset != state.HighWatermark || nowMs-state.Observers[observed].LastCaughtUpMs > 1000 {
			t.Errorf("the state is %+v", state)
		}

		// One that pulls from another voter tells the leader how far it is, with its session.
		leader.node.NoteObserver(broker.spec.NodeID, broker.spec.DirectoryID, broker.node.HighWatermark())
		state, err = leader.node.State(t.Context())
		if at := slices.IndexFunc(state.Observers, func(o ReplicaState) bool { return o.DirectoryID == broker.spec.DirectoryID }); err != nil || at < 0 || state.Observers[at].LogEndOffset != state.HighWatermark {
			t.Errorf("the leader does not know how far the broker is: %+v, %v", state.Observers, err)
		}

		// Whoever it pulls from dies.
		for _, m := range c.members[:3] {
			m.kill()
			c.until("another one leads", func() bool { return c.leader() != nil })
			c.elected()
			c.create(1)
			m.open(nil)
			c.elected()
		}
		c.agreed(63)
		if broker.node.IsVoter() || candidate.node.IsVoter() {
			t.Error("an observer votes")
		}
	})
}

func TestLeadershipIsTransferred(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		first, _ := c.elected()
		c.create(5)
		if err := first.node.TransferLeadership(t.Context(), kafka.NoLeader); err != nil {
			t.Fatal(err)
		}
		second, took := c.elected()
		if second == first || took > 100*time.Millisecond {
			t.Errorf("node %d leads after %s", second.spec.NodeID, took)
		}
		if err := first.node.TransferLeadership(t.Context(), first.spec.NodeID); !errors.Is(err, kafka.ErrNotController) {
			t.Errorf("who does not lead: %v", err)
		}
		if err := second.node.TransferLeadership(t.Context(), first.spec.NodeID); err != nil {
			t.Fatal(err)
		}
		if third, _ := c.elected(); third != first {
			t.Errorf("node %d leads", third.spec.NodeID)
		}
		c.isolate(second, true)
		if err := first.node.TransferLeadership(t.Context(), second.spec.NodeID); !errors.Is(err, kafka.ErrRequestTimedOut) {
			t.Errorf("to a node that is away: %v", err)
		}
		c.create(5)
	})
}

// TestALoneVoterGrows begins as every single node does, and becomes one of three.
func TestALoneVoterGrows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &testCluster{t: t, cut: map[[2]int32]bool{}}
		t.Cleanup(func() {
			for _, m := range c.members {
				m.stop()
			}
		})
		first := c.newMember(1, 0, true)
		first.open([]quorum.VoterSpec{first.spec})
		synctest.Wait()
		if !first.node.Leadership().IsSelf {
			t.Fatalf("a lone voter does not lead at once: %+v", first.node.Leadership())
		}
		c.create(5)
		for id := range int32(2) {
			m := c.newMember(id+2, 0, true)
			m.join(first)
			if err := first.node.AddVoter(t.Context(), m.spec); err != nil {
				t.Fatal(err)
			}
		}
		c.create(5)
		c.agreed(10)
		first.kill()
		c.elected()
		c.create(1)
		// With another disk it begins from a snapshot that says that it, with the old disk, votes alone.
		old, others := first.spec, c.members[1:]
		first.newDisk(1, 1)
		first.join(others[0])
		c.agreed(11)
		leader, _ := c.elected()
		if err := leader.node.RemoveVoter(t.Context(), old.NodeID, old.DirectoryID); err != nil {
			t.Fatal(err)
		}
		if err := leader.node.AddVoter(t.Context(), first.spec); err != nil {
			t.Fatal(err)
		}
		for _, m := range others {
			leader, _ := c.elected()
			if err := leader.node.RemoveVoter(t.Context(), m.spec.NodeID, m.spec.DirectoryID); err != nil {
				t.Fatal(err)
			}
		}
		c.until("the one that is left leads", func() bool { return first.node.Leadership().IsSelf })
		c.agreed(11)
		if len(first.node.Voters()) != 1 {
			t.Errorf("voters: %s", describe(first.node.Voters()))
		}
		c.create(1)
		c.agreed(12)
	})
}
