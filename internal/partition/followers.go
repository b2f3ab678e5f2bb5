package partition

import (
	"slices"

	"github.com/moldau/moldau/internal/kafka"
)

// follower is what a leader knows of another replica.
type follower struct {
	// endOffset is where its log ends, of which everything below is as durable as the topic asks;
	// unknownEnd until its first fetch in this leader epoch.
	endOffset int64
	// logStartOffset is what it said with its last fetch.
	logStartOffset int64
	// caughtUpMs is when it last had everything that the leader had by then, as far as a fetch has named the partition.
	caughtUpMs int64
	// lastFetchMs and lastFetchEnd are when it last fetched and where the leader's log ended then: when
	// it fetches from there on, it had caught up at that time.
	lastFetchMs  int64
	lastFetchEnd int64
	brokerEpoch  int64
	// standing is nil if the last fetch did not find it caught up and in sync, in a session.
	standing *Standing
}

// caughtUp is when it last had everything that the leader had by then.
func (f *follower) caughtUp() int64 {
	if f.standing == nil {
		return f.caughtUpMs
	}
	return max(f.caughtUpMs, f.standing.LastMs())
}

const unknownEnd = -1

// aheadMs is by how much a fetch may be later than a check of lags that goes on.
const aheadMs = 1000

// ISRMember is an in-sync replica as AlterPartition names it (KIP-903).
type ISRMember struct {
	BrokerID    int32
	BrokerEpoch int64 // kafka.NoBrokerEpoch where it is not known
}

// ISRChange is what a leader wants the controller to make the in-sync replicas.
type ISRChange struct {
	LeaderEpoch    int32
	PartitionEpoch int32
	ISR            []ISRMember
	// Damaged says that this replica asks for another leader epoch, to cut off what is damaged in it (GiveUp), or because
	// it can take no more (StepAside).
	Damaged bool
	// Expands tells a change that takes somebody in from one that takes somebody out.
	Expands bool
}

func (c *ISRChange) ids() []int32 {
	ids := make([]int32, len(c.ISR))
	for i, m := range c.ISR {
		ids[i] = m.BrokerID
	}
	return ids
}

// Followed is a fetch of a follower that this leader has served.
type Followed struct {
	BrokerID    int32
	BrokerEpoch int64
	LeaderEpoch int32 // in which Read has checked it
	// Offset is where the follower's log ends: it has everything below.
	Offset int64
	// LogStartOffset is where the follower's log begins.
	LogStartOffset int64
	NowMs          int64
	// Standing is told where the follower's session leaves the partition out from now on; nil if it does not.
	Standing *Standing
}

// replication is what a leader knows of the others. Partition.following guards it.
type replication struct {
	followers map[int32]*follower
	nowMs     int64 // of the last fetch, check or change of the metadata
	// pending was proposed and not answered. Until then nobody knows which of the two in-sync replica
	// sets counts, so records are committed when both have them.
	pending *ISRChange
}

// ReplicationOptions are what the in-sync replicas are decided by.
type ReplicationOptions struct {
	// LagMaxMs is replica.lag.time.max.ms.
	LagMaxMs int64
	// MayJoin reports whether a broker may be in sync: it is registered in that epoch, not fenced, not about to stop, and
	// the log dir of its replica has not failed.
	MayJoin func(broker int32, brokerEpoch int64) bool
	// IsRegistered reports whether the metadata that the partition hears of includes this broker's present registration.
	IsRegistered func() bool
	// Appended is called without locks when a leader has something for its followers. May be nil.
	Appended func()
	// Flushed is called without locks when a follower may fetch on from its leader, since it has
	// flushed more. May be nil.
	Flushed func(leader int32)
	// Moved is called, with locks held, after a leader's high watermark or, on request, log start offset has moved, which its
	// followers hear of with what they fetch next. May be nil.
	Moved func()
}

// resetReplication begins a leader epoch: until they fetch, nothing is known of the followers, but
// those in sync are given time. It needs following.
func (p *Partition) resetReplication(a Assignment, nowMs int64) {
	p.state = replication{followers: map[int32]*follower{}, nowMs: nowMs}
	for _, id := range a.Replicas {
		if id == p.localID {
			continue
		}
		f := &follower{endOffset: unknownEnd, brokerEpoch: kafka.NoBrokerEpoch}
		if slices.Contains(a.ISR, id) {
			f.caughtUpMs = nowMs
		}
		p.state.followers[id] = f
	}
}

// updateReplication takes over what the metadata says while this broker goes on leading. It needs following.
func (p *Partition) updateReplication(old, a Assignment, nowMs int64) {
	p.state.nowMs = max(p.state.nowMs, nowMs)
	if a.PartitionEpoch > old.PartitionEpoch {
		p.state.pending = nil
	}
	for id := range p.state.followers {
		if !slices.Contains(a.Replicas, id) {
			delete(p.state.followers, id)
		}
	}
	for _, id := range a.Replicas {
		if p.state.followers[id] == nil && id != p.localID {
			p.state.followers[id] = &follower{endOffset: unknownEnd, brokerEpoch: kafka.NoBrokerEpoch}
		}
	}
}

// NoteFetch takes note of what a follower has, which Read has checked: its log is like this one's up
// to the offset. It moves the high watermark, and returns the change of the in-sync replicas that is
// to be proposed, or nil. A fetch from before the follower's last start does not count (KIP-903).
// stands says that the follower is in sync and has everything, so that f.Standing is enough to note of later
// fetches until the partition changes.
func (p *Partition) NoteFetch(f Followed) (change *ISRChange, stands bool) {
	p.mu.RLock()
	r := p.role.Load()
	if !r.isLeader || !slices.Contains(r.Replicas, f.BrokerID) {
		p.mu.RUnlock()
		return nil, false
	}
	end, before := p.Log().LogEndOffset(), p.Log().HighWatermark()
	p.following.Lock()
	known := p.state.followers[f.BrokerID]
	if known == nil || r.LeaderEpoch != f.LeaderEpoch || f.Offset > end || f.BrokerEpoch < known.brokerEpoch {
		p.following.Unlock()
		p.mu.RUnlock()
		return nil, false
	}
	known.caughtUpMs, known.standing = known.caughtUp(), nil
	switch {
	case f.Offset >= end:
		known.caughtUpMs = max(known.caughtUpMs, f.NowMs)
	case f.Offset >= known.lastFetchEnd && known.lastFetchMs > 0:
		known.caughtUpMs = max(known.caughtUpMs, known.lastFetchMs)
	}
	known.endOffset, known.logStartOffset, known.brokerEpoch = f.Offset, f.LogStartOffset, f.BrokerEpoch
	known.lastFetchMs, known.lastFetchEnd = f.NowMs, end
	p.state.nowMs = max(p.state.nowMs, f.NowMs)
	if stands = f.Standing != nil && f.Offset >= end && slices.Contains(r.ISR, f.BrokerID); stands {
		known.standing = f.Standing
	}
	change = p.expansion(r, f.BrokerID)
	p.following.Unlock()
	p.commit(r)
	p.mu.RUnlock()
	p.tellSince(before)
	return change, stands
}

// tellSince tells who waits if the high watermark has risen since it was before: whoever looks whether something is committed may have
// moved it in the place of the caller.
func (p *Partition) tellSince(before int64) {
	if p.Log().HighWatermark() > before {
		p.advanced(Everything)
	}
}

// expansion is the change that takes a follower in, if it has caught up with what is committed and
// with where this leader's epoch begins.
func (p *Partition) expansion(r *role, id int32) *ISRChange {
	f := p.state.followers[id]
	if p.state.pending != nil || slices.Contains(r.ISR, id) || f.endOffset < max(p.Log().HighWatermark(), r.epochStart) || !p.replicating.MayJoin(id, f.brokerEpoch) {
		return nil
	}
	return p.propose(r, append(slices.Clone(r.ISR), id))
}

// Lagging returns the change that takes followers out which have not caught up for too long, or nil.
func (p *Partition) Lagging(nowMs int64) *ISRChange {
	p.mu.RLock()
	r := p.role.Load()
	if !r.isLeader {
		p.mu.RUnlock()
		return nil
	}
	before := p.Log().HighWatermark()
	change := p.shrinking(r, nowMs)
	p.commit(r) // nobody may be waited for any more who once had caught up
	p.mu.RUnlock()
	p.tellSince(before)
	return change
}

func (p *Partition) shrinking(r *role, nowMs int64) *ISRChange {
	end := p.Log().LogEndOffset()
	p.following.Lock()
	defer p.following.Unlock()
	p.state.nowMs = nowMs
	for _, f := range p.state.followers { // the wall clock may be set back
		if f.standing != nil && f.standing.LastMs() > nowMs+aheadMs {
			f.caughtUpMs, f.standing = nowMs, nil
		}
		f.caughtUpMs, f.lastFetchMs = min(f.caughtUpMs, nowMs), min(f.lastFetchMs, nowMs)
	}
	if p.state.pending != nil || len(r.ISR) < 2 {
		return nil
	}
	isr := slices.DeleteFunc(slices.Clone(r.ISR), func(id int32) bool {
		f := p.state.followers[id]
		return id != p.localID && (f == nil || f.endOffset < end && nowMs-f.caughtUp() > p.replicating.LagMaxMs)
	})
	if len(isr) == len(r.ISR) {
		return nil
	}
	return p.propose(r, isr)
}

func (p *Partition) propose(r *role, isr []int32) *ISRChange {
	change := &ISRChange{LeaderEpoch: r.LeaderEpoch, PartitionEpoch: r.PartitionEpoch, Expands: len(isr) > len(r.ISR)}
	for _, id := range isr {
		m := ISRMember{id, kafka.NoBrokerEpoch}
		if f := p.state.followers[id]; f != nil {
			m.BrokerEpoch = f.brokerEpoch
		}
		change.ISR = append(change.ISR, m)
	}
	p.state.pending = change
	return change
}

// IsPending reports whether the change is still waited for: no newer metadata has overtaken it.
func (p *Partition) IsPending(change *ISRChange) bool {
	p.following.Lock()
	defer p.following.Unlock()
	return p.state.pending == change
}

// Refused says that the controller will not make the change, so that another may be proposed. A change
// that was made comes with the metadata; one whose fate is not known must be proposed again.
func (p *Partition) Refused(change *ISRChange) {
	before := p.Log().HighWatermark()
	p.following.Lock()
	isPending := p.state.pending == change
	if isPending {
		p.state.pending = nil
	}
	p.following.Unlock()
	if isPending && change.Damaged {
		p.asideSinceMs.Store(0)
		p.keepAll()
	}
	p.advance()
	p.tellSince(before)
}

// commit moves the high watermark as far as all in-sync replicas have the log; for the leader itself that is what it
// counts. While a change of the in-sync replicas is pending, those of before and after must have it. It
// does not move while there are fewer of them than the topic asks for (KIP-966). A follower that
// has just caught up is waited for, though it is not in sync yet, or it might never be.
//
// All of it is one step to whoever proposes a change or takes one over: what was found out by the in-sync replicas of
// before does not count for new ones.
func (p *Partition) commit(r *role) {
	l := p.Log()
	if len(r.Replicas) == 1 && len(r.ISR) == 1 && r.ISR[0] == p.localID {
		l.AdvanceHighWatermark(l.CountedOffset())
		return
	}
	if len(r.ISR) < r.EffectiveMinISR() || !slices.Contains(r.ISR, p.localID) {
		return
	}
	if l.HighWatermark() >= l.CountedOffset() {
		return // most partitions of most fetches: there are thousands in one
	}
	p.following.Lock()
	defer p.following.Unlock()
	if p.role.Load() != r {
		return // who has changed it does it
	}
	offset := l.CountedOffset()
	for id, f := range p.state.followers {
		if p.waitsFor(r, id, f) {
			offset = min(offset, f.endOffset)
		}
	}
	if l.AdvanceHighWatermark(offset) && p.replicating.Moved != nil {
		p.replicating.Moved()
	}
}

// waitsFor needs following.
func (p *Partition) waitsFor(r *role, id int32, f *follower) bool {
	if slices.Contains(r.ISR, id) || p.state.pending != nil && slices.Contains(p.state.pending.ids(), id) {
		return true
	}
	return f.endOffset != unknownEnd && p.state.nowMs-f.caughtUp() <= p.replicating.LagMaxMs && p.replicating.MayJoin(id, f.brokerEpoch)
}

// WaitsFor reports whether what this leader appends is committed only when a follower has it, which may be before the metadata says
// that it is in sync.
func (p *Partition) WaitsFor(id int32) bool {
	r := p.role.Load()
	if slices.Contains(r.ISR, id) {
		return true
	}
	p.following.Lock()
	defer p.following.Unlock()
	f := p.state.followers[id]
	return r.isLeader && f != nil && p.waitsFor(r, id, f)
}

// LowWatermark is the smallest log start offset of this leader and of the followers on brokers that are alive; -1
// while one of them has not fetched yet in this leader epoch.
func (p *Partition) LowWatermark(isAlive func(broker int32) bool) int64 {
	low := p.Log().LogStartOffset()
	p.following.Lock()
	defer p.following.Unlock()
	for id, f := range p.state.followers {
		switch {
		case !isAlive(id):
		case f.endOffset == unknownEnd:
			return unknownEnd
		default:
			low = min(low, f.logStartOffset)
		}
	}
	return low
}

// NearReplica returns the replica that a consumer near it had better read from (KIP-392): the in-sync
// follower among the near ones that has caught up the furthest and has the offset, or kafka.NoLeader where the
// leader is near itself, or nobody is.
func (p *Partition) NearReplica(offset int64, isNear func(broker int32) bool) int32 {
	r := p.role.Load()
	if !r.isLeader || len(r.ISR) < 2 || isNear(p.localID) {
		return kafka.NoLeader
	}
	p.following.Lock()
	defer p.following.Unlock()
	best := kafka.NoLeader
	var bestOf *follower
	for _, id := range r.ISR {
		f := p.state.followers[id]
		if f == nil || f.endOffset < offset || f.logStartOffset > offset || f.endOffset == unknownEnd || !isNear(id) {
			continue
		}
		if bestOf == nil || f.isAheadOf(bestOf) || !bestOf.isAheadOf(f) && id > best {
			best, bestOf = id, f
		}
	}
	return best
}

func (f *follower) isAheadOf(other *follower) bool {
	return f.endOffset > other.endOffset || f.endOffset == other.endOffset && f.caughtUp() > other.caughtUp()
}
