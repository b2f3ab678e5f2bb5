package replica

import (
	"context"
	"time"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/partition"
)

// LeadershipPatience is how long somebody waits who takes this broker for a leader before it has heard so itself.
// It is longer than brokers hear of a change after each other, and shorter than clients pause before they ask again.
const LeadershipPatience = 50 * time.Millisecond

// AwaitLeadership waits for a moment that a broker that has a replica of tp hears of a later leadership, such as its own. Who
// was sent here by the leader before, which has heard of it first (KIP-951), would else be refused, and
// pause: with all that it has for this broker. A broker that has itself led before is asked by those who have not heard
// of that, and waits for nothing.
func (m *Manager) AwaitLeadership(ctx context.Context, tp kafka.TopicPartition, patience time.Duration) {
	r := m.find(tp)
	if r == nil || r.Usable() != nil {
		return
	}
	if epoch := r.Assignment().LeaderEpoch; !r.IsLeader() && r.lostFrom.Load() != epoch+1 {
		_ = m.await(ctx, target{tp, epoch, 0, isLater, false}, patience) // whatever comes of it, the caller tries again
	}
}

func isLater(p *partition.Partition, leaderEpoch int32, _ int64) (bool, error) {
	return p.IsLeader() || p.Assignment().LeaderEpoch > leaderEpoch, nil
}

// awaitLeaderships waits where a consumer knows of a later leadership than this broker, and reports whether it did.
func (f *fetch) awaitLeaderships(ctx context.Context) (waited bool) {
	if f.request.Follower != nil {
		return false
	}
	start := f.m.options.Clock.Now()
	for i := range f.results {
		if kafka.CodeOf(f.results[i].Err) == kafka.ErrUnknownLeaderEpoch {
			waited = true
			f.m.AwaitLeadership(ctx, f.request.Partitions[i].TopicPartition, LeadershipPatience-f.m.options.Clock.Now().Sub(start))
		}
	}
	return waited
}
