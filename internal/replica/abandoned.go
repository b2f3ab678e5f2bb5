package replica

import (
	"sync/atomic"

	"github.com/moldau/moldau/internal/kafka"
)

func (m *Manager) nowMs() int64 { return m.options.Clock.Now().Sub(m.since).Milliseconds() }

// sawFollower notes that a follower fetches from this broker.
func (m *Manager) sawFollower(broker int32) {
	seen, ok := m.followersSeen.Load(broker)
	if !ok {
		seen, _ = m.followersSeen.LoadOrStore(broker, new(atomic.Int64))
	}
	seen.(*atomic.Int64).Store(m.nowMs())
}

// IsAbandoned reports whether this broker leads a partition that another one may lead by now: neither a majority of
// the controllers nor any of the other in-sync replicas has been heard of for as long as a session lasts, so nothing
// can be committed here, and a new leader would not be known. Where only the controllers are gone, the replicas
// still fetch, and the partition goes on being served.
func (m *Manager) IsAbandoned(tp kafka.TopicPartition) bool {
	c := m.options.Cluster
	if c == nil || c.Isolated == nil || !c.Isolated() {
		return false
	}
	r := m.find(tp)
	if r == nil || !r.IsLeader() {
		return false
	}
	nowMs, others := m.nowMs(), false
	for _, id := range r.Assignment().ISR {
		if id == m.options.NodeID {
			continue
		}
		others = true
		if seen, ok := m.followersSeen.Load(id); ok && nowMs-seen.(*atomic.Int64).Load() < c.SessionTimeout.Milliseconds() {
			return false
		}
	}
	return others
}
