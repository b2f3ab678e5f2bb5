package partition

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/storage"
)

// Assignment is what the metadata says of a partition.
type Assignment struct {
	Leader         int32 // kafka.NoLeader for none
	LeaderEpoch    int32
	PartitionEpoch int32
	Replicas       []int32
	ISR            []int32
	// Adding is how many of Replicas a reassignment is adding.
	Adding int
	// MinInSyncReplicas is the topic's min.insync.replicas, 0 where it is not set; see kafka.EffectiveMinISR.
	MinInSyncReplicas int
}

// Partition is one replica on this broker. All methods may be called concurrently.
type Partition struct {
	tp      kafka.TopicPartition
	topicID kafka.UUID
	localID int32
	// log changes when the replica moves to another log dir, under mu.
	log atomic.Pointer[storage.Log]
	// advanced is called without locks when the high watermark covers more: with the bytes
	// of one append, or Everything where they are not known.
	advanced func(bytes int64)
	// producedBytes counts what was appended here as leader.
	producedBytes atomic.Int64

	mu   sync.RWMutex         // held for writing while role changes
	role atomic.Pointer[role] // immutable

	replicating ReplicationOptions
	following   sync.Mutex // guards state; taken after mu, and never while the log's mutex is held
	state       replication
	damage      atomic.Int32 // a DamageState
	givingUp    *givingUp    // nil unless it has asked for it; guarded by mu, or by following where that is held for reading
	// asideSinceMs is when it asked to step aside, 0 where it has not.
	asideSinceMs atomic.Int64
	// refusesFetched says that what was fetched last could not be appended.
	refusesFetched atomic.Bool
	// leaderHigh is the high watermark that this follower's leader named last.
	leaderHigh atomic.Int64
}

// Everything is what advanced is told when the number of bytes is not known: more than
// anybody waits for, and small enough to be added up.
const Everything int64 = 1 << 40

// role is the state that changes with the metadata.
type role struct {
	Assignment
	isLeader bool
	// epochStart is the log end offset at which this broker became leader.
	epochStart int64
	// gone is why the partition cannot be used any more.
	gone *kafka.Error
}

// New returns a partition that neither leads nor follows yet. advanced may be nil.
func New(topicID kafka.UUID, localID int32, log *storage.Log, o ReplicationOptions, advanced func(bytes int64)) *Partition {
	if advanced == nil {
		advanced = func(int64) {}
	}
	p := &Partition{tp: log.TopicPartition(), topicID: topicID, localID: localID, replicating: o, advanced: advanced}
	p.log.Store(log)
	p.role.Store(&role{Assignment: Assignment{Leader: kafka.NoLeader, LeaderEpoch: kafka.NoLeaderEpoch}})
	log.OnCounted(p.counted)
	return p
}

// TopicPartition names the partition.
func (p *Partition) TopicPartition() kafka.TopicPartition { return p.tp }

// TopicID is the id of the topic that the replica belongs to.
func (p *Partition) TopicID() kafka.UUID { return p.topicID }

// Log is the replica's data.
func (p *Partition) Log() *storage.Log { return p.log.Load() }

// SwapLog puts another log in the place of the replica's, which finish returns once it has
// everything, on disk; until then nothing is appended.
func (p *Partition) SwapLog(finish func() (*storage.Log, error)) error {
	p.mu.Lock()
	log, err := finish()
	if err == nil {
		p.log.Store(log)
		log.OnCounted(p.counted)
	}
	p.mu.Unlock()
	if err == nil {
		p.counted(Everything, false)
	}
	return err
}

// WithLog runs use on the log, and again on the next one if it was moved away under it. Only calls
// that hold mu are safe from that.
func (p *Partition) WithLog(use func(l *storage.Log) error) error {
	for {
		err := use(p.Log())
		if !errors.Is(err, storage.ErrMoved) {
			return err
		}
		p.mu.RLock() // which SwapLog holds until the next log is there
		p.mu.RUnlock()
	}
}

// Assignment returns what the metadata said last.
func (p *Partition) Assignment() Assignment { return p.role.Load().Assignment }

// IsLeader reports whether this broker leads the partition.
func (p *Partition) IsLeader() bool { r := p.role.Load(); return r.isLeader && r.gone == nil }

// Apply takes a new assignment. On becoming leader in a new epoch the epoch begins at the log
// end offset. Where the topic asks for fsync the high watermark may be below for a moment: what a
// killed process had flushed is known up to its last checkpoint only.
func (p *Partition) Apply(a Assignment, nowMs int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	old := p.role.Load()
	if old.gone != nil {
		return old.gone
	}
	next := &role{Assignment: a, isLeader: a.Leader == p.localID, epochStart: old.epochStart}
	p.Log().LimitEpochs(a.LeaderEpoch)
	cutErr := p.giveUp(a, nowMs)
	if next.isLeader && (!old.isLeader || old.LeaderEpoch != a.LeaderEpoch) {
		next.epochStart = p.Log().LogEndOffset()
		err := p.Log().AssignEpochStart(a.LeaderEpoch, next.epochStart)
		if err != nil {
			next.isLeader = false
			p.role.Store(next)
			return err
		}
	}
	p.following.Lock()
	switch {
	case !next.isLeader:
		p.leaderHigh.Store(0)
		if a.PartitionEpoch > old.PartitionEpoch {
			p.state.pending = nil
		}
	case !old.isLeader || old.LeaderEpoch != a.LeaderEpoch:
		p.resetReplication(a, nowMs)
	default:
		p.updateReplication(old.Assignment, a, nowMs)
	}
	p.role.Store(next)
	p.following.Unlock()
	if next.isLeader {
		p.commit(next)
	}
	return cutErr
}

// Depose has this broker not lead any more though its disk does not answer: an append that waits for the disk keeps Apply out. When the disk
// answers, nothing may be acknowledged before Apply has told who leads.
func (p *Partition) Depose() {
	if r := p.role.Load(); r.isLeader {
		next := *r
		next.isLeader = false
		p.role.Store(&next)
	}
}

// Close ends the partition's use: every later call answers with why.
func (p *Partition) Close(why *kafka.Error) {
	if p.Log().Usable() == nil { // else an append may wait for a dead disk
		p.mu.Lock()
		defer p.mu.Unlock()
	}
	next := *p.role.Load()
	next.isLeader, next.gone = false, why
	p.role.Store(&next)
}

// leader returns the role if this broker leads the partition in the epoch that the client
// believes in; kafka.NoLeaderEpoch stands for a client that does not say.
func (p *Partition) leader(currentLeaderEpoch int32) (*role, error) {
	return p.serving(currentLeaderEpoch, false)
}

// serving is leader, or where followers may serve, too, the role in that epoch (KIP-392).
func (p *Partition) serving(currentLeaderEpoch int32, anyReplica bool) (*role, error) {
	r := p.role.Load()
	switch {
	case r.gone != nil:
		return nil, r.gone
	case currentLeaderEpoch != kafka.NoLeaderEpoch && currentLeaderEpoch < r.LeaderEpoch:
		return nil, kafka.Errorf(kafka.ErrFencedLeaderEpoch, "leader epoch %d of %s is over; the current one is %d", currentLeaderEpoch, p.tp, r.LeaderEpoch)
	case currentLeaderEpoch != kafka.NoLeaderEpoch && currentLeaderEpoch > r.LeaderEpoch:
		return nil, kafka.Errorf(kafka.ErrUnknownLeaderEpoch, "leader epoch %d of %s is not known here yet; the latest is %d", currentLeaderEpoch, p.tp, r.LeaderEpoch)
	case !r.isLeader && !anyReplica:
		return nil, kafka.Errorf(kafka.ErrNotLeaderOrFollower, "broker %d does not lead %s", p.localID, p.tp)
	}
	return r, nil
}

// CheckServing is CheckLeader, or where followers may serve, too, says whether this one may.
func (p *Partition) CheckServing(currentLeaderEpoch int32, anyReplica bool) error {
	_, err := p.serving(currentLeaderEpoch, anyReplica)
	return err
}

// CheckLeader returns nil if this broker leads the partition in currentLeaderEpoch.
func (p *Partition) CheckLeader(currentLeaderEpoch int32) error {
	_, err := p.leader(currentLeaderEpoch)
	return err
}

// EffectiveMinISR is how many replicas must be in sync for the high watermark to move. What is still being
// added does not count, or a topic could not be written while its replication factor grows.
func (a *Assignment) EffectiveMinISR() int {
	return kafka.EffectiveMinISR(a.MinInSyncReplicas, len(a.Replicas)-a.Adding)
}

func (p *Partition) enoughInSync(r *role) error {
	if len(r.ISR) >= r.EffectiveMinISR() {
		return nil
	}
	return kafka.Errorf(kafka.ErrNotEnoughReplicas, "%s has %d in-sync replicas, min.insync.replicas asks for %d", p.tp, len(r.ISR), r.EffectiveMinISR())
}

// CheckInSync returns nil if this broker leads the partition in currentLeaderEpoch and enough replicas are in sync for
// an append with acks=all.
func (p *Partition) CheckInSync(currentLeaderEpoch int32) error {
	r, err := p.leader(currentLeaderEpoch)
	if err != nil {
		return err
	}
	return p.enoughInSync(r)
}

// AppendRequest asks a leader to append.
type AppendRequest struct {
	storage.AppendRequest // LeaderEpoch is filled in
	// RequiredAcks is -1, 0 or 1 as in Produce.
	RequiredAcks int16
	// CurrentLeaderEpoch fences an appender that knows an older epoch; kafka.NoLeaderEpoch for none.
	CurrentLeaderEpoch int32
}

// Append appends as leader. The records are committed once HighWatermark is above LastOffset,
// which for a single replica is the case on return, unless the topic asks for fsync.
func (p *Partition) Append(a AppendRequest) (storage.AppendResult, error) {
	p.mu.RLock()
	r, err := p.leader(a.CurrentLeaderEpoch)
	if err != nil {
		p.mu.RUnlock()
		return storage.AppendResult{LogStartOffset: kafka.NoOffset}, err
	}
	if a.RequiredAcks == -1 {
		if err := p.enoughInSync(r); err != nil {
			p.mu.RUnlock()
			return storage.AppendResult{LogStartOffset: p.Log().LogStartOffset()}, err
		}
	}
	a.AppendRequest.LeaderEpoch = r.LeaderEpoch
	result, err := p.Log().Append(a.AppendRequest)
	if err == nil && !result.Duplicate {
		p.producedBytes.Add(int64(len(a.Records)))
		p.commit(r)
	}
	isReplicated := len(r.Replicas) > 1
	p.mu.RUnlock()
	if isReplicated && p.replicating.Appended != nil && err == nil && !result.Duplicate {
		p.replicating.Appended()
	}
	// Told by the append itself and not by whoever moved the high watermark past it, so that
	// the bytes of appends that overlap are all counted.
	if err == nil && !result.Duplicate && p.Log().HighWatermark() > result.LastOffset {
		bytes := result.CountedBytes
		if result.EndedTransaction {
			bytes = Everything // what the transaction held back can be read now
		}
		p.advanced(bytes)
	}
	return result, err
}

// ProducedBytes counts what this broker has appended as leader since the replica was opened.
func (p *Partition) ProducedBytes() int64 { return p.producedBytes.Load() }

// counted is called by the log when a flush or a change of configs has counted bytes more, or when
// a flush has failed.
func (p *Partition) counted(bytes int64, ended bool) {
	p.advance()
	if ended {
		bytes = Everything
	}
	p.advanced(bytes)
	if r := p.role.Load(); !r.isLeader && r.Leader >= 0 && p.replicating.Flushed != nil {
		p.replicating.Flushed(r.Leader)
	}
}

// advance moves the high watermark as far as the in-sync replicas count.
func (p *Partition) advance() {
	if r := p.role.Load(); r.isLeader {
		p.commit(r)
	}
}

// CommitState answers a waiter for offset: done once the high watermark has reached it, an
// error if that will not happen because this broker does not lead in leaderEpoch any more or
// cannot use the log.
func (p *Partition) CommitState(leaderEpoch int32, offset int64) (done bool, err error) {
	if p.Log().HighWatermark() < offset {
		p.advance() // a flush may have counted more and be about to tell
	}
	done, err = p.reached(p.Log().HighWatermark(), leaderEpoch, offset)
	if r := p.role.Load(); done && r.isLeader && len(r.ISR) < r.EffectiveMinISR() {
		return true, kafka.Errorf(kafka.ErrNotEnoughReplicasAfterAppend, "the records are in the log of %s, but it has %d in-sync replicas, min.insync.replicas asks for %d",
			p.tp, len(r.ISR), r.EffectiveMinISR())
	}
	return done, err
}

// CountState is CommitState for what this replica counts by itself, whatever the others have:
// with acks=1, nothing but a flush is waited for.
func (p *Partition) CountState(leaderEpoch int32, offset int64) (done bool, err error) {
	return p.reached(p.Log().CountedOffset(), leaderEpoch, offset)
}

func (p *Partition) reached(position int64, leaderEpoch int32, offset int64) (bool, error) {
	if position >= offset && p.hasKept(leaderEpoch, offset) {
		return true, nil
	}
	r, err := p.leader(kafka.NoLeaderEpoch)
	if err == nil && leaderEpoch != kafka.NoLeaderEpoch && r.LeaderEpoch != leaderEpoch {
		err = kafka.Errorf(kafka.ErrNotLeaderOrFollower, "leader epoch %d of %s is over", leaderEpoch, p.tp)
	}
	if err == nil {
		err = p.Log().Usable()
	}
	return false, err
}

// hasKept reports whether what ended at offset when this broker led in leaderEpoch is still there: a leader that came after
// may have put something else in its place.
func (p *Partition) hasKept(leaderEpoch int32, offset int64) bool {
	return leaderEpoch == kafka.NoLeaderEpoch || p.role.Load().LeaderEpoch == leaderEpoch || p.Log().EpochForOffset(offset-1) == leaderEpoch
}

// highWatermarkOffset stands in DeleteRecords for the high watermark.
const highWatermarkOffset = -1

// DeleteRecords raises the log start offset to offset and returns the low watermark: the
// smallest log start offset of the replicas.
func (p *Partition) DeleteRecords(offset int64) (lowWatermark int64, err error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if _, err := p.leader(kafka.NoLeaderEpoch); err != nil {
		return kafka.NoOffset, err
	}
	if c := p.Log().Config(); c.Compact && !c.Delete {
		return kafka.NoOffset, kafka.Errorf(kafka.ErrPolicyViolation, "records of %s cannot be deleted: its cleanup.policy is compact without delete", p.tp)
	}
	if offset == highWatermarkOffset {
		offset = p.Log().HighWatermark()
	}
	if err := p.Log().AdvanceLogStartOffset(offset); err != nil {
		return kafka.NoOffset, err
	}
	if p.replicating.Moved != nil {
		p.replicating.Moved()
	}
	return p.Log().LogStartOffset(), nil
}
