package quorum

import (
	"testing"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
)

// TestWhoIsPulledFrom: who may be made a voter asks the leader, which has to know how far it is; after a failure the others in turn.
func TestWhoIsPulledFrom(t *testing.T) {
	t.Parallel()
	for _, mayVote := range []bool{true, false} {
		mem := vfs.NewMem()
		mustMkdir(t, mem)
		o := testOptions(mem)
		o.Form = votersOf(2, 3, 4)
		if !mayVote {
			o.Self.Listeners = nil
		}
		v, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		var p Puller
		take := func(page Page) {
			t.Helper()
			if snapshot, err := p.Take(v, page); snapshot != nil || err != nil {
				t.Fatal(snapshot, err)
			}
		}
		asks := func() (from int32) {
			t.Helper()
			pull, ok := p.Next(v, nil)
			if _, twice := p.Next(v, nil); twice {
				t.Error("asks twice at a time")
			}
			if !ok {
				return kafka.NoNode
			}
			if !p.Asks(pull.From.NodeID) || p.Asks(9) {
				t.Errorf("asks %d, and says otherwise", pull.From.NodeID)
			}
			return pull.From.NodeID
		}
		first := asks()
		take(Page{LeaderID: 4, Epoch: 3, CommitIndex: v.committed})
		if from := asks(); from != kafka.NoNode {
			t.Errorf("asks %d again at once, which had nothing", from)
		}
		p.Tick(v)
		second := asks()
		if want := int32(4); mayVote && second != want || !mayVote && second != first {
			t.Errorf("may vote %v: asks node %d, then %d; the leader is %d", mayVote, first, second, want)
		}
		p.Tick(v)
		take(Page{LeaderID: 4, Epoch: 3, CommitIndex: v.committed})
		if from := asks(); from != second {
			t.Errorf("asks %d behind an answer of node %d that has waited for news", from, second)
		}
		p.Failed()
		if third := asks(); third == second || third == kafka.NoNode {
			t.Errorf("asks node %d, and after a failure node %d", second, third)
		}
		p.Failed()
		for range pullPauseTicks {
			if from := asks(); from != kafka.NoNode {
				t.Fatalf("asks %d without a pause", from)
			}
			p.Tick(v)
		}
		if last := asks(); last == kafka.NoNode {
			t.Error("asks nobody any more")
		}
	}
}

// TestAVoterWithoutALeaderPulls after some time: it may have been removed while it was away.
func TestAVoterWithoutALeaderPulls(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	mustMkdir(t, mem)
	o := testOptions(mem)
	o.Form = append(votersOf(2, 3), o.Self)
	v, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	var p Puller
	for range leaderlessTimeouts * o.ElectionTicks {
		if pull, ok := p.Next(v, nil); ok {
			t.Fatalf("asks %+v", pull)
		}
		p.Tick(v)
	}
	if pull, ok := p.Next(v, nil); !ok || pull.From.NodeID == o.Self.NodeID || pull.After != v.LastPosition() {
		t.Errorf("asks %+v, %v", pull, ok)
	}
}

// TestAVoterAsksItsLastLeaderLast: it is the one that is not heard of, and a request to it may get lost without a word.
func TestAVoterAsksItsLastLeaderLast(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	mustMkdir(t, mem)
	o := testOptions(mem)
	o.Form = append(votersOf(2, 3), o.Self)
	v, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for _, last := range []int32{2, 3} {
		p := Puller{lastLeader: last, leaderless: leaderlessTimeouts * o.ElectionTicks}
		asked := map[int32]int{}
		for try := range 6 {
			pull, ok := p.Next(v, nil)
			if !ok || try == 0 && pull.From.NodeID == last {
				t.Fatalf("the leader was %d; try %d: asks %+v, %v", last, try, pull, ok)
			}
			asked[pull.From.NodeID]++
			p.Failed()
			for range pullPauseTicks {
				p.Tick(v)
			}
		}
		if len(asked) != 2 {
			t.Errorf("the leader was %d, asks only %v where nobody answers", last, asked)
		}
	}
}

// TestWhoIsListedIsPulledFrom: of nodes that the properties list nothing else is known, and each of them gets its turn where no voter that
// the log knows answers. It may be the only one that is left.
func TestWhoIsListedIsPulledFrom(t *testing.T) {
	t.Parallel()
	v := openObserver(t)
	listed := []VoterSpec{{NodeID: 11}, {NodeID: 12}, {NodeID: 13}}
	for _, answers := range []bool{false, true} {
		var p Puller
		asked := map[int32]int{}
		for range 5 * (len(v.Voters()) + len(listed)) {
			pull, ok := p.Next(v, listed)
			if !ok {
				t.Fatalf("asks nobody after %v", asked)
			}
			asked[pull.From.NodeID]++
			if !answers {
				p.Failed()
			} else if _, err := p.Take(v, Page{LeaderID: kafka.NoLeader, CommitIndex: v.committed}); err != nil { // as one that is cut off
				t.Fatal(err)
			}
			for range pullPauseTicks {
				p.Tick(v)
			}
		}
		if len(asked) != len(v.Voters())+len(listed) {
			t.Errorf("all answer %v: only %v are asked", answers, asked)
		}
	}
}
