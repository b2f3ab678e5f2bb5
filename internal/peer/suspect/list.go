package suspect

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/moldau/moldau/internal/kafka"
)

// Node is one process of a node, and where it listens.
type Node struct {
	ID            int32
	IncarnationID kafka.UUID
	Host          string
	Port          uint16
}

// Outcome is what became of a probe.
type Outcome uint8

const (
	// Refused says that nobody listens there.
	Refused Outcome = iota
	// Answered says that a node has said who it is.
	Answered
	// Cut says that the connection was made, and ended before an answer: the process may be dying.
	Cut
	// Silent says that there was no answer in time, or no way to get there.
	Silent
)

const (
	// attempts is how many probes a node gets after a connection has ended: at once, and again after
	// 1, 2, 4 … 64 ms, since a dying process closes its sockets one by one.
	attempts = 8
	// maxSuspects bounds the nodes that are looked at.
	maxSuspects = 1024
	// maxDead bounds what is remembered of the dead.
	maxDead = 1024
)

type key struct {
	id          int32
	incarnation kafka.UUID
}

type suspicion struct {
	node    Node
	attempt int       // probes sent since the last connection has ended
	due     time.Time // of the next probe
	probing bool
}

// List is the nodes under suspicion. Its owner calls one method at a time.
type List struct {
	suspects []suspicion // sorted by id, then incarnation
	dead     []key       // the latest, oldest first
}

func (n Node) key() key { return key{n.ID, n.IncarnationID} }

func compare(a, b key) int {
	if c := cmp.Compare(a.id, b.id); c != 0 {
		return c
	}
	return bytes.Compare(a.incarnation[:], b.incarnation[:])
}

func (l *List) find(k key) (int, bool) {
	return slices.BinarySearchFunc(l.suspects, k, func(s suspicion, k key) int { return compare(s.node.key(), k) })
}

// Len is how many nodes are under suspicion.
func (l *List) Len() int { return len(l.suspects) }

// Lost says that a connection to or from a node has ended without having been closed here.
func (l *List) Lost(n Node, now time.Time) {
	if slices.Contains(l.dead, n.key()) {
		return
	}
	i, found := l.find(n.key())
	if !found {
		if len(l.suspects) < maxSuspects {
			l.suspects = slices.Insert(l.suspects, i, suspicion{node: n, due: now})
		}
		return
	}
	s := &l.suspects[i]
	s.node, s.attempt, s.due = n, 0, now
}

// Due returns the nodes to probe now. Each probe's outcome goes to Probed.
func (l *List) Due(now time.Time) []Node {
	var due []Node
	for i := range l.suspects {
		if s := &l.suspects[i]; !s.probing && !s.due.After(now) {
			s.probing = true
			s.attempt++
			due = append(due, s.node)
		}
	}
	return due
}

// Next returns when Due has something next; false while that depends on Lost or Probed.
func (l *List) Next() (next time.Time, ok bool) {
	for i := range l.suspects {
		if s := &l.suspects[i]; !s.probing && (!ok || s.due.Before(next)) {
			next, ok = s.due, true
		}
	}
	return next, ok
}

// Probed takes the outcome of a probe, with who has answered, and reports whether the node is now known
// to be dead: once per incarnation.
func (l *List) Probed(n Node, outcome Outcome, answered kafka.UUID, now time.Time) (dead bool) {
	i, found := l.find(n.key())
	if !found {
		return false
	}
	s := &l.suspects[i]
	s.probing = false
	// Another incarnation answers where the node was started again at once.
	if outcome == Refused || outcome == Answered && answered != n.IncarnationID {
		l.suspects = slices.Delete(l.suspects, i, i+1)
		if l.dead = append(l.dead, n.key()); len(l.dead) > maxDead {
			l.dead = slices.Delete(l.dead, 0, 1)
		}
		return true
	}
	switch {
	case s.attempt == 0: // another connection has ended meanwhile
	case outcome == Silent || s.attempt == attempts:
		l.suspects = slices.Delete(l.suspects, i, i+1)
	default:
		s.due = now.Add(time.Millisecond << (s.attempt - 1))
	}
	return false
}
