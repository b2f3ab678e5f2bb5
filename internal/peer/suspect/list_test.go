package suspect

import (
	"slices"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/kafka"
)

var (
	start = time.Unix(1000, 0)
	two   = Node{ID: 2, IncarnationID: kafka.UUID{2}, Host: "two", Port: 1}
	three = Node{ID: 3, IncarnationID: kafka.UUID{3}, Host: "three", Port: 1}
	again = kafka.UUID{9} // a later incarnation
)

func at(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }

// only fails unless exactly the given nodes are due.
func only(t *testing.T, l *List, now time.Time, want ...Node) {
	t.Helper()
	if got := l.Due(now); !slices.Equal(got, want) {
		t.Fatalf("due are %v, want %v", got, want)
	}
}

func TestResetThenRefusedIsDeadAtOnce(t *testing.T) {
	t.Parallel()
	var l List
	l.Lost(two, start)
	l.Lost(two, start) // it had two connections
	only(t, &l, start, two)
	if !l.Probed(two, Refused, kafka.UUID{}, at(1)) {
		t.Fatal("not dead")
	}
	l.Lost(two, at(1)) // and a third
	only(t, &l, at(1000))
	if _, some := l.Next(); some || l.Len() != 0 {
		t.Error("a dead node is under suspicion")
	}
}

func TestQuickRestartIsDeath(t *testing.T) {
	t.Parallel()
	var l List
	l.Lost(two, start)
	only(t, &l, start, two)
	if l.Probed(two, Cut, kafka.UUID{}, start) {
		t.Fatal("dead while it may be dying")
	}
	only(t, &l, at(1), two)
	if !l.Probed(two, Answered, again, at(1)) {
		t.Fatal("another process answers, and the old one is not dead")
	}
	second := two
	second.IncarnationID = again
	l.Lost(second, at(2))
	only(t, &l, at(2), second)
	if !l.Probed(second, Refused, kafka.UUID{}, at(2)) {
		t.Fatal("the second incarnation is not dead")
	}
}

func TestNodeThatAnswersIsNeverDead(t *testing.T) {
	t.Parallel()
	var l List
	l.Lost(two, start)
	var sent []int
	for ms := range 1000 {
		for _, n := range l.Due(at(ms)) {
			sent = append(sent, ms)
			if l.Probed(n, Answered, two.IncarnationID, at(ms)) {
				t.Fatal("dead")
			}
		}
	}
	if want := []int{0, 1, 3, 7, 15, 31, 63, 127}; !slices.Equal(sent, want) {
		t.Errorf("probes after %v ms, want %v", sent, want)
	}
	if l.Len() != 0 {
		t.Error("still under suspicion: only the session decides")
	}
	l.Lost(two, at(1000)) // anew
	only(t, &l, at(1000), two)
}

func TestSilentNodeIsLeftToItsSession(t *testing.T) {
	t.Parallel()
	var l List
	l.Lost(two, start)
	only(t, &l, start, two)
	if l.Probed(two, Silent, kafka.UUID{}, at(1000)) || l.Len() != 0 {
		t.Error("dead, or under suspicion")
	}
}

// A dying process closes its sockets one by one: each gives it all attempts again.
func TestEveryLossBeginsAnew(t *testing.T) {
	t.Parallel()
	var l List
	l.Lost(two, start)
	only(t, &l, start, two)
	l.Lost(two, at(1)) // while the probe is under way
	only(t, &l, at(1))
	l.Probed(two, Silent, kafka.UUID{}, at(2))
	only(t, &l, at(2), two)
	l.Probed(two, Answered, two.IncarnationID, at(2))
	if next, some := l.Next(); !some || !next.Equal(at(3)) {
		t.Errorf("next at %v", next)
	}
	l.Lost(two, at(2))
	only(t, &l, at(2), two)
}

func TestNodesAreSeparate(t *testing.T) {
	t.Parallel()
	var l List
	l.Lost(three, start)
	l.Lost(two, start)
	only(t, &l, start, two, three)
	if !l.Probed(three, Refused, kafka.UUID{}, start) || l.Probed(two, Answered, two.IncarnationID, start) {
		t.Error("one's outcome counts for the other")
	}
	if l.Probed(three, Refused, kafka.UUID{}, start) {
		t.Error("dead twice")
	}
}

func TestListIsBounded(t *testing.T) {
	t.Parallel()
	var l List
	for id := range int32(2 * maxSuspects) {
		n := Node{ID: id, IncarnationID: kafka.UUID{1}}
		l.Lost(n, start)
		if id%2 == 0 {
			l.Due(start)
			l.Probed(n, Refused, kafka.UUID{}, start)
		}
	}
	if len(l.suspects) > maxSuspects || len(l.dead) > maxDead {
		t.Errorf("%d suspects, %d dead", len(l.suspects), len(l.dead))
	}
}
