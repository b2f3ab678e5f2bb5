package replica

import (
	"context"
	"time"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/purgatory"
	"github.com/moldau/moldau/internal/storage"
	"github.com/moldau/moldau/internal/storage/producerstate"
)

// flushTimeout is how long a produce waits at least where it waits for the disk: in Kafka the time
// of an fsync does not count against the request's.
const flushTimeout = 30 * time.Second

// AwaitCommit returns when the high watermark of tp has reached endOffset. The error is
// REQUEST_TIMED_OUT after timeout, NOT_LEADER_OR_FOLLOWER where this broker does not lead in
// leaderEpoch any more or is abandoned, KAFKA_STORAGE_ERROR where it cannot use the log, or ctx's.
func (m *Manager) AwaitCommit(ctx context.Context, tp kafka.TopicPartition, leaderEpoch int32, endOffset int64, timeout time.Duration) error {
	return m.await(ctx, target{tp, leaderEpoch, endOffset, (*partition.Partition).CommitState, true}, timeout)
}

// AwaitCounted is AwaitCommit for acks=1: it waits until the log of this broker counts its records
// up to endOffset, which takes time only where the topic asks for fsync.
func (m *Manager) AwaitCounted(ctx context.Context, tp kafka.TopicPartition, leaderEpoch int32, endOffset int64, timeout time.Duration) error {
	return m.await(ctx, target{tp, leaderEpoch, endOffset, (*partition.Partition).CountState, false}, timeout)
}

// target is what somebody waits for.
type target struct {
	kafka.TopicPartition
	leaderEpoch int32
	endOffset   int64
	state       func(p *partition.Partition, leaderEpoch int32, offset int64) (done bool, err error)
	// needsOthers says that it is not waited for where no other replica is heard of (NoteAbandoned).
	needsOthers bool
}

func (t target) isOver(r *Replica) (done bool, err error) {
	done, err = t.state(r.Partition, t.leaderEpoch, t.endOffset)
	if !done && err == nil && t.needsOthers && r.abandoned.Load() {
		err = r.abandonedError()
	}
	return done, err
}

func (m *Manager) await(ctx context.Context, t target, timeout time.Duration) error {
	result := make(chan error, 1)
	op, r := m.watch(t, func(err error) { result <- err })
	if op == nil {
		return <-result
	}
	if r.Log().CountedOffset() < t.endOffset {
		timeout = max(timeout, flushTimeout)
	}
	switch op.Wait(ctx, timeout) {
	case purgatory.Expired:
		if err := m.CheckAbandoned(t.TopicPartition); t.needsOthers && err != nil { // clients look for another leader upon this, and not upon a time-out
			return err
		}
		return kafka.Errorf(kafka.ErrRequestTimedOut, "%s was not replicated and flushed up to offset %d within %s; the high watermark is %d, flushed is %d",
			t.TopicPartition, t.endOffset, timeout, r.Log().HighWatermark(), r.Log().FlushedOffset())
	case purgatory.Canceled:
		return ctx.Err()
	}
	return <-result
}

// WhenCommitted calls done exactly once: with nil as soon as the high watermark of tp is at
// least endOffset, which may be before WhenCommitted returns, or with an error when this
// broker does not lead the partition in leaderEpoch any more or cannot use its log. done must
// not block. It is for coordinators: that fewer replicas are in sync by now than there should be, or none is heard of, is
// for producers to know (AwaitCommit), and takes nothing away from what is or will be committed.
func (m *Manager) WhenCommitted(tp kafka.TopicPartition, leaderEpoch int32, endOffset int64, done func(error)) {
	m.watch(target{tp, leaderEpoch, endOffset, isCommitted, false}, done)
}

func isCommitted(p *partition.Partition, leaderEpoch int32, offset int64) (bool, error) {
	done, err := p.CommitState(leaderEpoch, offset)
	if done {
		return true, nil
	}
	return false, err
}

// WhenCounted is WhenCommitted for acks=1.
func (m *Manager) WhenCounted(tp kafka.TopicPartition, leaderEpoch int32, endOffset int64, done func(error)) {
	m.watch(target{tp, leaderEpoch, endOffset, (*partition.Partition).CountState, false}, done)
}

// watch returns nil if done has been called already.
func (m *Manager) watch(t target, done func(error)) (*purgatory.Operation, *Replica) {
	r, err := m.Lookup(t.TopicPartition)
	if err != nil {
		done(err)
		return nil, nil
	}
	if over, err := t.isOver(r); over || err != nil {
		done(err)
		return nil, nil
	}
	isOver := func(int64) bool {
		over, err := t.isOver(r)
		return over || err != nil
	}
	op := purgatory.NewOperation(isOver, func() {
		over, err := t.isOver(r)
		if !over && err == nil {
			err = kafka.Errorf(kafka.ErrNotLeaderOrFollower, "the leadership of %s changed while offset %d waited for its commit", t.TopicPartition, t.endOffset)
		}
		done(err)
	})
	if err := m.commits.Watch(op, []*purgatory.List{&r.commitWaiters}); err != nil {
		done(err)
		return nil, nil
	}
	if isOver(0) { // it happened between the test and Watch
		op.Complete()
	}
	return op, r
}

// Bounds returns the log start offset and the log end offset of a partition led here.
func (m *Manager) Bounds(tp kafka.TopicPartition, leaderEpoch int32) (startOffset, endOffset int64, err error) {
	r, err := m.led(tp, leaderEpoch)
	if err != nil {
		return 0, 0, err
	}
	return r.Log().LogStartOffset(), r.Log().LogEndOffset(), nil
}

// CheckAppend returns the error with which Append would be refused now, as far as that depends on the in-sync replicas,
// or why it would be no use.
func (m *Manager) CheckAppend(tp kafka.TopicPartition, leaderEpoch int32) error {
	r, err := m.led(tp, leaderEpoch)
	if err != nil {
		return err
	}
	if err := m.CheckAbandoned(tp); err != nil {
		return err
	}
	return r.CheckInSync(leaderEpoch)
}

// Read returns whole batches beginning with the one that contains offset, of about maxBytes
// but at least one, up to the log end offset: also what is not committed yet, for the leader's
// own use. It returns nothing at the end. The caller owns the bytes.
func (m *Manager) Read(tp kafka.TopicPartition, leaderEpoch int32, offset int64, maxBytes int) ([]byte, error) {
	r, err := m.led(tp, leaderEpoch)
	if err != nil {
		return nil, err
	}
	var read storage.ReadResult
	err = r.WithLog(func(l *storage.Log) (err error) {
		read, err = l.Read(storage.ReadRequest{Offset: offset, MaxBytes: maxBytes, MinOneBatch: true, UpTo: l.LogEndOffset()})
		return err
	})
	return read.Records, err
}

// Append appends one batch of a coordinator as with acks=all, without waiting for its commit,
// and returns the log end offset after it. Offsets and leader epoch are written into batch.
func (m *Manager) Append(tp kafka.TopicPartition, leaderEpoch int32, batch []byte) (endOffset int64, err error) {
	r, err := m.led(tp, leaderEpoch)
	if err != nil {
		return 0, err
	}
	result, err := r.Partition.Append(partition.AppendRequest{
		AppendRequest: storage.AppendRequest{Records: batch, Origin: storage.OriginCoordinator, NowMs: m.options.Clock.Now().UnixMilli()},
		RequiredAcks:  -1, CurrentLeaderEpoch: leaderEpoch,
	})
	return result.LastOffset + 1, err
}

// TransactionalAppend says how a batch of a transaction, or a marker, is to be checked.
type TransactionalAppend struct {
	// Guard is what StartVerification gave, for a transaction's first batch in a partition.
	Guard producerstate.Guard
	// TransactionVersion is that of a marker.
	TransactionVersion int16
}

// AppendTransactional is Append for a batch within a transaction or a marker.
func (m *Manager) AppendTransactional(tp kafka.TopicPartition, leaderEpoch int32, batch []byte, o TransactionalAppend) (endOffset int64, err error) {
	r, err := m.led(tp, leaderEpoch)
	if err != nil {
		return 0, err
	}
	endOffset, _, err = m.appendTransactional(r, leaderEpoch, batch, o)
	return endOffset, err
}

// AppendMarker appends the marker of a transaction to a partition that this broker leads, without
// waiting for its commit. leaderEpoch is the one it was appended in.
func (m *Manager) AppendMarker(tp kafka.TopicPartition, batch []byte, o TransactionalAppend) (endOffset int64, leaderEpoch int32, err error) {
	r, err := m.Lookup(tp)
	if err == nil {
		err = m.CheckAbandoned(tp) // it is tried again until it is committed
	}
	if err != nil {
		return 0, 0, err
	}
	return m.appendTransactional(r, kafka.NoLeaderEpoch, batch, o)
}

func (m *Manager) appendTransactional(r *Replica, currentLeaderEpoch int32, batch []byte, o TransactionalAppend) (endOffset int64, leaderEpoch int32, err error) {
	leaderEpoch = r.Assignment().LeaderEpoch
	result, err := r.Partition.Append(partition.AppendRequest{
		AppendRequest: storage.AppendRequest{Records: batch, Origin: storage.OriginCoordinator, NowMs: m.options.Clock.Now().UnixMilli(),
			Guard: o.Guard, TransactionVersion: o.TransactionVersion},
		RequiredAcks: -1, CurrentLeaderEpoch: currentLeaderEpoch,
	})
	return result.LastOffset + 1, leaderEpoch, err
}

// StartVerification asks the log of tp for the guard of a transaction's first batch;
// producerstate.NoGuard means that the transaction is open there.
func (m *Manager) StartVerification(tp kafka.TopicPartition, v producerstate.Verification) (producerstate.Guard, error) {
	r, err := m.Lookup(tp)
	if err != nil {
		return producerstate.NoGuard, err
	}
	if err := r.CheckLeader(kafka.NoLeaderEpoch); err != nil {
		return producerstate.NoGuard, err
	}
	guard := producerstate.NoGuard
	err = r.WithLog(func(l *storage.Log) (err error) {
		guard, err = l.StartVerification(v)
		return err
	})
	return guard, err
}

// led returns the replica of a partition that this broker leads in leaderEpoch.
func (m *Manager) led(tp kafka.TopicPartition, leaderEpoch int32) (*Replica, error) {
	r, err := m.Lookup(tp)
	if err != nil {
		return nil, err
	}
	return r, r.CheckLeader(leaderEpoch)
}
