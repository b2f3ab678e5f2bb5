package partition

import (
	"log/slog"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage"
)

// Fetched is what a follower has got of its leader.
type Fetched struct {
	storage.Fetched
	LeaderHighWatermark  int64
	LeaderLogStartOffset int64
}

// follows returns nil if this broker follows in the epoch in which something was fetched.
func (p *Partition) follows(leaderEpoch int32) error {
	r := p.role.Load()
	switch {
	case r.gone != nil:
		return r.gone
	case r.isLeader || r.LeaderEpoch != leaderEpoch:
		return kafka.Errorf(kafka.ErrFencedLeaderEpoch, "%s does not follow in leader epoch %d any more", p.tp, leaderEpoch)
	}
	return nil
}

// FollowFrom is where a follower's next fetch begins: its log end offset and the epoch of its last
// record. ready is false while what it has must be flushed first: the fetch tells the leader that
// everything below is as durable as the topic asks.
func (p *Partition) FollowFrom() (offset int64, lastEpoch int32, ready bool) {
	l := p.Log()
	offset = l.LogEndOffset()
	return offset, l.LatestEpoch(), l.CountedOffset() >= offset
}

// Lag is how far this follower was behind what its leader had committed, by the leader's last answer.
func (p *Partition) Lag() int64 { return max(p.leaderHigh.Load()-p.Log().LogEndOffset(), 0) }

// AppendFetched appends what the leader has answered; without records it only learns how far the
// leader has committed.
func (p *Partition) AppendFetched(f Fetched) error {
	advanced, err := p.appendFetched(f)
	if refuses := kafka.CodeOf(err) == kafka.ErrKafkaStorageError; refuses != p.refusesFetched.Load() {
		p.refusesFetched.Store(refuses)
	}
	if advanced {
		p.advanced(Everything) // consumers may read from followers
	}
	return err
}

func (p *Partition) appendFetched(f Fetched) (advanced bool, err error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if err := p.follows(f.LeaderEpoch); err != nil {
		return false, err
	}
	p.leaderHigh.Store(f.LeaderHighWatermark)
	l := p.Log()
	if l.LogStartOffset() < l.LogEndOffset() && f.LeaderLogStartOffset >= l.LogEndOffset() {
		// The leader has deleted all that it could be compared by: what is here may be of another history,
		// and a power loss could take the leader's log start offset away again.
		if err := l.StartAt(f.LeaderLogStartOffset, f.NowMs); err != nil {
			return false, err
		}
	}
	if len(f.Records) > 0 {
		if first, ok := beginsWithin(l, f.Records); ok {
			if err := l.StartAt(first, f.NowMs); err != nil {
				return false, err
			}
		}
		if err := l.AppendFetched(f.Fetched); err != nil {
			return false, err
		}
	}
	advanced = l.AdvanceHighWatermark(min(f.LeaderHighWatermark, l.LogEndOffset()))
	if start := min(f.LeaderLogStartOffset, l.HighWatermark()); start > l.LogStartOffset() {
		return advanced, l.AdvanceLogStartOffset(start)
	}
	return advanced, nil
}

// beginsWithin returns where the first of the fetched batches begins if a log without records begins behind that, within the batch:
// DeleteRecords has left its leader's log beginning there, and leaders send whole batches.
func beginsWithin(l *storage.Log, records []byte) (first int64, ok bool) {
	end := l.LogEndOffset()
	if l.LogStartOffset() < end {
		return 0, false
	}
	b, _, err := record.Next(records)
	if err != nil || b.CheckCRC() != nil {
		return 0, false
	}
	return b.BaseOffset(), b.BaseOffset() >= 0 && b.BaseOffset() < end && b.LastOffset() >= end
}

// TruncateToLeader cuts off what the leader does not have: of the leader's answer that this log has
// gone another way (KIP-595). One answer may not be enough; the next fetch will tell.
//
// A leader does not know where epochs ended below its log start offset. What is left below that may be
// of another history, and would be seen if this replica led before it heard of the offset: it goes, too.
func (p *Partition) TruncateToLeader(leaderEpoch int32, diverging EpochEnd, leaderLogStartOffset, nowMs int64) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if err := p.follows(leaderEpoch); err != nil {
		return err
	}
	l := p.Log()
	epoch, end := l.EndOffsetForEpoch(diverging.LeaderEpoch)
	to := min(end, l.LogEndOffset())
	switch {
	case epoch == kafka.NoLeaderEpoch: // nothing is known of so early an epoch
		to = min(diverging.EndOffset, l.HighWatermark())
	case epoch == diverging.LeaderEpoch:
		to = min(to, diverging.EndOffset)
	}
	if to < l.HighWatermark() {
		slog.Warn("a leader does not have what was committed: an unclean election, or more replicas than min.insync.replicas allows for have lost their data",
			"partition", p.tp.String(), "high_watermark", l.HighWatermark(), "truncated_to", to)
	}
	if err := l.TruncateTo(to, nowMs); err != nil || to > leaderLogStartOffset {
		return err
	}
	return l.StartAt(max(leaderLogStartOffset, l.LogEndOffset()), nowMs)
}

// StartAt begins the log anew where the leader's begins, which is behind the end of this one; or before, if this one is empty.
func (p *Partition) StartAt(leaderEpoch int32, offset, nowMs int64) error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if err := p.follows(leaderEpoch); err != nil {
		return err
	}
	slog.Warn("a follower has nothing that its leader has, and starts over where the leader's log begins", "partition", p.tp.String(), "log_end_offset", p.Log().LogEndOffset(), "leader_log_start_offset", offset)
	return p.Log().StartAt(offset, nowMs)
}
