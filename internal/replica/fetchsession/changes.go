package fetchsession

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/partition"
)

const (
	// lookAtAllMs is after how long a follower's session looks at all of its partitions again: what retention deletes and
	// what the follower may not do any more is found then.
	lookAtAllMs = 1_000
	// mostChanges bounds what is remembered for a follower that does not come.
	mostChanges = 1 << 17
)

// Changes are the partitions that have changed since a follower's session has looked at them. One session at a time
// listens, the one that looked at everything last; another one looks at everything each time.
type Changes struct {
	mu       sync.Mutex
	listener int64            // who has begun to listen last
	marked   map[Key]struct{} // nil while nobody listens
}

// Mark says that the answer about a partition may be another one from now on. The change must have been made: whoever takes the
// mark away looks at the partition after that.
func (c *Changes) Mark(topicID kafka.UUID, partition int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.marked == nil:
	case len(c.marked) >= mostChanges:
		c.marked = nil
	default:
		c.marked[Key{TopicID: topicID, Partition: partition}] = struct{}{}
	}
}

// listen begins anew for who is about to look at everything.
func (c *Changes) listen() (listener int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listener++
	c.marked = map[Key]struct{}{}
	return c.listener
}

// leave says that a session has ended: nothing is remembered for it.
func (c *Changes) leave(listener int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.listener == listener {
		c.marked = nil
	}
}

// take takes all marks away; false says that the session does not listen.
func (c *Changes) take(listener int64, each func(k Key)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.listener != listener || c.marked == nil {
		return false
	}
	for k := range c.marked {
		each(k)
	}
	if len(c.marked) > 64 { // clearing takes as long as there was ever room for
		c.marked = map[Key]struct{}{}
	} else {
		clear(c.marked)
	}
	return true
}

func follow(r *Request) *followed {
	f := &followed{changes: r.Changes, listener: r.Changes.listen(), brokerEpoch: r.BrokerEpoch, lastMs: new(atomic.Int64), lookedMs: r.NowMs}
	f.lastMs.Store(r.NowMs)
	return f
}

// leave is for when there is no such session any more, if it is a follower's at all.
func (f *followed) leave() {
	if f != nil {
		f.changes.leave(f.listener)
	}
}

// stand gives the partitions of a new session what its follower's word is kept in.
func (f *followed) stand(partitions []Partition) {
	for i := range partitions {
		partitions[i].Standing = partition.NewStanding(f.lastMs)
	}
}

// looksAtAll opens what has changed, and reports whether everything is looked at instead.
func (s *session) looksAtAll(r *Request) bool {
	f := s.follower
	if f.brokerEpoch != r.BrokerEpoch { // a fetch counts in the epoch that it names
		f.brokerEpoch, f.owesAll = r.BrokerEpoch, true
	}
	if f.owesAll || r.NowMs-f.lookedMs >= lookAtAllMs || r.NowMs < f.lookedMs {
		f.listener, f.lookedMs, f.owesAll = f.changes.listen(), r.NowMs, true
		return true
	}
	return !f.changes.take(f.listener, func(k Key) {
		if e := s.index[k]; e != nil {
			s.open(e)
		}
	})
}

func (s *session) open(e *entry) {
	if !e.isOpen {
		e.isOpen = true
		s.follower.open = append(s.follower.open, e)
	}
}

// forget has an entry that is not the session's any more looked at no more.
func (s *session) forget(e *entry) {
	if s.follower == nil {
		return
	}
	e.Standing.End()
	e.isOpen = false
}

// look adds entries to what a request looks at, in their order.
func (s *session) look(at *snapshot, entries []*entry) {
	slices.SortFunc(entries, func(a, b *entry) int { return cmp.Compare(a.place, b.place) })
	for _, e := range entries {
		s.lookAt(at, e)
	}
}

func (s *session) lookAt(at *snapshot, e *entry) {
	e.lookedAt = s.epoch
	if e.Standing != nil {
		e.Standing.End()
	}
	at.partitions, at.entries = append(at.partitions, e.Partition), append(at.entries, e)
}

// settle takes the answer about an entry that was looked at.
func (s *session) settle(e *entry, a *Answer) {
	if s.follower == nil {
		return
	}
	if !a.Stands || e.markedAt == s.epoch {
		s.open(e)
		return
	}
	e.isOpen = false
	e.Standing.Begin()
}

// closeSettled leaves the entries that must be looked at.
func (s *session) closeSettled() {
	if f := s.follower; f != nil {
		f.open = slices.DeleteFunc(f.open, func(e *entry) bool { return !e.isOpen })
	}
}

// CanExtend reports whether a follower's session has more partitions than those to fetch, with nothing new to tell about them.
func (c *Context) CanExtend() bool { return c.session != nil && c.session.follower != nil }

// HasOthers reports whether the session had more partitions than those to fetch, all of which its follower has in full and in sync.
func (c *Context) HasOthers() bool { return c.hasOthers }

// Extend adds the session's partitions that have changed since Begin to Partitions, behind the others, and reports whether there are any.
func (c *Context) Extend() bool {
	if !c.CanExtend() {
		return false
	}
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch != c.epoch || c.snapshot == nil {
		return false
	}
	var added []*entry
	changed := func(e *entry) {
		s.open(e)
		e.markedAt = s.epoch // what was noted of it before does not stand
		if e.lookedAt != s.epoch {
			added = append(added, e)
		}
	}
	listens := s.follower.changes.take(s.follower.listener, func(k Key) {
		if e := s.index[k]; e != nil {
			changed(e)
		}
	})
	if !listens { // an old request of the same follower, that has come late, listens now
		for e := s.head; e != nil; e = e.next {
			changed(e)
		}
	}
	s.look(c.snapshot, added)
	c.Partitions = c.snapshot.partitions
	return len(added) > 0
}
