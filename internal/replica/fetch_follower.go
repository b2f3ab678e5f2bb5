package replica

import (
	"context"
	"slices"
	"time"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/purgatory"
	"github.com/moldau/moldau/internal/quota"
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
	f.m.sawFollower(follower, f.request.MaxWait)
	nowMs := f.m.options.Clock.Now().UnixMilli()
	for i := range f.results {
		p, r := &f.request.Partitions[i], &f.results[i]
		if r.Stands = false; r.Err != nil || r.Diverging != nil {
			continue
		}
		replica := f.seen[i].replica
		change, stands := replica.NoteFetch(partition.Followed{BrokerID: follower.BrokerID, BrokerEpoch: follower.BrokerEpoch, LeaderEpoch: p.CurrentLeaderEpoch,
			Offset: p.Offset, LogStartOffset: p.LogStartOffset, NowMs: nowMs, Standing: p.Standing})
		r.Stands = stands
		f.m.propose(replica, change)
		replica.commitWaiters.Notify(0) // who waits for its log start offset
	}
}

func (f *fetch) isCatchingUp(i int) bool {
	r := f.seen[i].replica
	return f.request.Follower != nil && r != nil && r.offline == nil && !r.WaitsFor(f.request.Follower.BrokerID)
}

const (
	// catchUpBytes is what a follower gets at a time of partitions that nobody waits for it to have, beside others that are: what
	// these get next, and acknowledgements wait for, is behind it.
	catchUpBytes = 1 << 20
	// So little news goes alone, since its answer is here and back in no time, unless what a follower lacks
	// elsewhere has waited for so long: what is appended meanwhile is waited for, too.
	briefBytes   = 64 << 10
	briefPauseMs = 10
)

// catchUpLimit is how much is read, in sum, of the partitions in which a follower catches up: left is what the limits of
// the request allow, news what it gets of others.
func (f *fetch) catchUpLimit(left, news int) (most int, minOneBatch bool) {
	follower := f.m.follower(f.request.Follower.BrokerID)
	if news > 0 && news <= briefBytes {
		nowMs := f.m.options.Clock.Now().UnixMilli()
		since := follower.pausedMs.Load()
		if since == 0 {
			since = nowMs
			follower.pausedMs.Store(since)
		}
		if nowMs >= since && nowMs < since+briefPauseMs {
			return 0, false
		}
	}
	follower.pausedMs.Store(0)
	return min(left, catchUpBytes), true
}

// throttle is what holds followers back, nil for none.
func (f *fetch) throttle() *quota.Replication {
	if f.request.Follower == nil || f.m.options.Cluster == nil {
		return nil
	}
	return f.m.options.Cluster.Throttle
}

// isThrottled reports whether a follower gets no records of a partition for now. Those that are in sync do, or
// they would not stay so.
func (f *fetch) isThrottled(i int) bool {
	t, r := f.throttle(), f.seen[i].replica
	if r == nil || r.offline != nil || !t.Covers(f.request.Partitions[i].TopicPartition) {
		return false
	}
	return !slices.Contains(r.Assignment().ISR, f.request.Follower.BrokerID) && t.IsExceeded(f.m.options.Clock.Now().UnixMilli())
}

// recordThrottled counts what a follower gets of throttled partitions, in sync or not.
func (f *fetch) recordThrottled() {
	t := f.throttle()
	if t == nil {
		return
	}
	bytes := 0
	for i := range f.results {
		if n := f.results[i].SizeBytes(); n > 0 && t.Covers(f.request.Partitions[i].TopicPartition) {
			bytes += n
		}
	}
	if bytes > 0 {
		t.Record(bytes, f.m.options.Clock.Now().UnixMilli())
	}
}

// waitForAppends parks a follower's fetch until anything is appended, or this broker begins to lead
// more that the follower may want.
func (f *fetch) waitForAppends(ctx context.Context, timeout time.Duration) purgatory.Outcome {
	f.giveUpRead()
	op := purgatory.NewOperation(func(int64) bool { return true }, nil)
	if err := f.m.fetches.Watch(op, []*purgatory.List{&f.m.follower(f.request.Follower.BrokerID).waiters, &f.m.newsWaiters}); err != nil {
		return purgatory.Expired // no room to wait: answer with what there is
	}
	if f.m.Now(f.request.Follower.BrokerID) != f.since || f.anyGone() {
		op.Complete()
	}
	return op.Wait(ctx, timeout)
}

// readAgain reads what a follower's fetch names after it has waited, and what has changed meanwhile.
func (f *fetch) readAgain() {
	f.since = f.m.Now(f.request.Follower.BrokerID)
	if f.request.Extend != nil {
		f.request.Extend()
		f.results, f.seen = f.buffers.extendTo(len(f.request.Partitions))
	}
	f.lookUp()
	f.read(false)
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
