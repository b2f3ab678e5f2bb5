package replica

import (
	"sync/atomic"

	"github.com/moldau/moldau/internal/purgatory"
	"github.com/moldau/moldau/internal/replica/fetchsession"
)

// follower is another broker that has replicas of what is here.
type follower struct {
	// changes are the partitions about which its session may have to be told something else than before.
	changes fetchsession.Changes
	// calls counts what must not wait until its fetch has waited long enough: records were appended, committed or not, or a partition
	// is led elsewhere. waiters are its fetches; a list in each of thousands of partitions would cost every fetch as many entries.
	calls   atomic.Int64
	waiters purgatory.List
	// pausedMs is since when it gets nothing of what it lacks elsewhere, since there is news that acknowledgements wait for; 0 if it does.
	pausedMs atomic.Int64
}

// follower returns what is kept of a broker.
func (m *Manager) follower(broker int32) *follower {
	if f, ok := m.followers.Load(broker); ok {
		return f.(*follower)
	}
	f, _ := m.followers.LoadOrStore(broker, &follower{})
	return f.(*follower)
}

// ChangesFor are the partitions that change for a follower.
func (m *Manager) ChangesFor(broker int32) *fetchsession.Changes { return &m.follower(broker).changes }

// Moment is a point in the order of what a follower must hear of at once.
type Moment struct{ news, calls int64 }

// Now is the Moment before whatever a follower must hear of next.
func (m *Manager) Now(broker int32) Moment {
	return Moment{m.news.Load(), m.follower(broker).calls.Load()}
}

// noteFollowers has what happens to a replica told to the brokers that have the others, and returns whom it was
// told before.
func (m *Manager) noteFollowers(r *Replica, replicas []int32) (former *[]*follower) {
	all := make([]*follower, 0, len(replicas))
	for _, id := range replicas {
		if id != m.options.NodeID {
			all = append(all, m.follower(id))
		}
	}
	return r.followers.Swap(&all)
}

// moved has followers told of it with what they fetch next.
func (r *Replica) moved() { r.each(r.followers.Load(), func(*follower) {}) }

// appended tells followers that there is more to fetch.
func (r *Replica) appended() {
	r.each(r.followers.Load(), func(f *follower) {
		f.calls.Add(1)
		f.waiters.Notify(1)
	})
}

// call lets the fetches of followers go: what they wait for may not come.
func (r *Replica) call(followers *[]*follower) {
	r.each(followers, func(f *follower) {
		f.calls.Add(1)
		f.waiters.CompleteAll()
	})
}

// each marks the partition as changed for followers before it tells them anything.
func (r *Replica) each(followers *[]*follower, tell func(f *follower)) {
	if followers == nil {
		return
	}
	for _, f := range *followers {
		f.changes.Mark(r.topicID, r.number)
		tell(f)
	}
}
