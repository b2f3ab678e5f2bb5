package replica

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/partition"
)

// ErrAbandoned is why a leader sends clients away that nobody has told of another one.
var ErrAbandoned = errors.New("neither a majority of the controllers nor another in-sync replica is heard of")

func (m *Manager) nowMs() int64 { return m.options.Clock.Now().Sub(m.since).Milliseconds() }

// followerContact is when a follower last fetched, or until when its fetch may wait, and when a fetch of it was last answered, in
// milliseconds since the Manager was made; answeredMs is 0 before.
type followerContact struct{ heardMs, answeredMs atomic.Int64 }

func (m *Manager) contactWith(broker int32) *followerContact {
	known, ok := m.followersHeard.Load(broker)
	if !ok {
		known, _ = m.followersHeard.LoadOrStore(broker, new(followerContact))
	}
	return known.(*followerContact)
}

// sawFollower notes that a follower fetches from this broker, and may wait for its answer: as long as that may take it says nothing else. A wait
// of up to half a session leaves it time enough to be heard again.
//
// While the controllers are not heard of, a fetch says only that the follower has followed when it got the answer before: it may have lain
// in a buffer while this process was stopped, and others have elected another leader meanwhile.
func (m *Manager) sawFollower(follower *Follower, wait time.Duration) {
	contact, atMs := m.contactWith(follower.BrokerID), m.nowMs()
	if m.isIsolated() {
		if atMs = contact.answeredMs.Load(); !follower.Resumes || atMs == 0 {
			return
		}
	}
	quiet := time.Duration(0)
	if c := m.options.Cluster; c != nil {
		quiet = max(0, wait-c.SessionTimeout/2)
	}
	contact.heardMs.Store(atMs + quiet.Milliseconds())
}

// answeredFollower notes that a fetch of a follower is about to be answered.
func (m *Manager) answeredFollower(follower *Follower) {
	m.contactWith(follower.BrokerID).answeredMs.Store(m.nowMs())
}

// isIsolated reports whether the controllers are not heard of, or what they have decided is not here yet.
func (m *Manager) isIsolated() bool {
	c := m.options.Cluster
	return c != nil && c.Isolated != nil && c.Isolated()
}

// CheckAbandoned returns an error with ErrAbandoned if this broker leads a partition that another one may lead by now:
// neither a majority of the controllers nor any of the other in-sync replicas has been heard of for as long as a
// session lasts, so nothing can be committed here, and a new leader would not be known. Where only the controllers are
// gone, the replicas still fetch, and the partition goes on being served.
func (m *Manager) CheckAbandoned(tp kafka.TopicPartition) error {
	if !m.isIsolated() {
		return nil
	}
	if r := m.find(tp); r != nil && m.hearsNoReplica(r) {
		return r.abandonedError()
	}
	return nil
}

// hearsNoReplica reports whether the other in-sync replicas of a partition led here, of which there are some, are silent.
func (m *Manager) hearsNoReplica(r *Replica) bool {
	if r.offline != nil || !r.IsLeader() {
		return false
	}
	nowMs, others := m.nowMs(), false
	for _, id := range r.Assignment().ISR {
		if id == m.options.NodeID {
			continue
		}
		others = true
		if heard, ok := m.followersHeard.Load(id); ok && nowMs-heard.(*followerContact).heardMs.Load() < m.options.Cluster.SessionTimeout.Milliseconds() {
			return false
		}
	}
	return others
}

func (r *Replica) abandonedError() error {
	return &kafka.Error{Code: kafka.ErrNotLeaderOrFollower, Message: fmt.Sprintf("another broker may lead %s by now", r.TopicPartition()), Cause: ErrAbandoned}
}

// NoteAbandoned lets those go who wait here for other replicas of partitions that have been abandoned meanwhile, and
// reports whether there are any. Its host calls it again and again.
func (m *Manager) NoteAbandoned() (begun bool) {
	isolated := m.isIsolated()
	if !isolated && !m.anyAbandoned.Load() {
		return false
	}
	var left []*Replica
	anyAbandoned := false
	m.mu.RLock()
	for _, r := range m.replicas.all() {
		now := isolated && m.hearsNoReplica(r)
		if was := r.abandoned.Swap(now); now && !was {
			left = append(left, r)
		}
		anyAbandoned = anyAbandoned || now
	}
	m.mu.RUnlock()
	m.anyAbandoned.Store(anyAbandoned)
	slices.SortFunc(left, func(a, b *Replica) int { return a.TopicPartition().Compare(b.TopicPartition()) })
	for _, r := range left {
		r.commitWaiters.Notify(0)
		r.fetchWaiters.CompleteAll()
	}
	return len(left) > 0
}

// sendAway has a consumer look for another leader of the partitions of which it has waited for more than they had, and
// reports whether there are any. What is committed is still served: this broker may be all that is left.
func (f *fetch) sendAway() (any bool) {
	if f.request.Follower != nil || !f.m.anyAbandoned.Load() {
		return false
	}
	for i := range f.results {
		result, r := &f.results[i], f.seen[i].replica
		if r != nil && r.abandoned.Load() && result.Err == nil && result.SizeBytes() == 0 {
			result.ReadResult, result.Err, any = partition.ReadResult{}, r.abandonedError(), true
		}
	}
	return any
}
