package replica

import (
	"context"
	"time"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/purgatory"
)

// tellFollowers lets the fetches of followers go, which come back at once.
func (m *Manager) tellFollowers() {
	m.news.Add(1)
	m.newsWaiters.CompleteAll()
}

// note takes note of what a follower has. It is told by where it fetches from, once Read has compared its
// last epoch and position with this log; what diverges counts for nothing.
func (f *fetch) note() {
	follower := f.request.Follower
	if follower == nil {
		return
	}
	nowMs := f.m.options.Clock.Now().UnixMilli()
	for i := range f.results {
		p, r := &f.request.Partitions[i], &f.results[i]
		if r.Err != nil || r.Diverging != nil {
			continue
		}
		replica := f.seen[i].replica
		f.m.propose(replica, replica.NoteFetch(partition.Followed{BrokerID: follower.BrokerID, BrokerEpoch: follower.BrokerEpoch, LeaderEpoch: p.CurrentLeaderEpoch,
			Offset: p.Offset, LogStartOffset: p.LogStartOffset, NowMs: nowMs}))
		replica.commitWaiters.Notify(0) // who waits for its log start offset
	}
}

// waitForAppends parks a follower's fetch until anything is appended, or this broker begins to lead
// more that the follower may want.
func (f *fetch) waitForAppends(ctx context.Context, timeout time.Duration, news int64) purgatory.Outcome {
	lists := append(f.listsOf(func(r *Replica) *purgatory.List { return &r.followerWaiters }), &f.m.newsWaiters)
	op := purgatory.NewOperation(func(int64) bool { return true }, nil)
	if err := f.m.fetches.Watch(op, lists); err != nil {
		return purgatory.Expired // no room to wait: answer with what there is
	}
	missed := f.m.news.Load() != news || f.anyGone()
	for i := range f.seen {
		missed = missed || f.seen[i].replica.appends.Load() != f.seen[i].appends
	}
	if missed {
		op.Complete()
	}
	return op.Wait(ctx, timeout)
}

// nearReplica returns the replica that a consumer is sent to, kafka.NoLeader if it is to stay here.
func (m *Manager) nearReplica(r *Replica, request *FetchRequest, offset int64) int32 {
	if c := m.options.Cluster; c == nil || !c.NearestByRack {
		return kafka.NoLeader
	}
	image := m.image.Load()
	return r.NearReplica(offset, func(broker int32) bool {
		b := image.Broker(broker)
		if b == nil || b.Fenced || b.Rack == nil || *b.Rack != request.Rack {
			return false
		}
		_, ok := b.Endpoint(request.Listener)
		return ok
	})
}
