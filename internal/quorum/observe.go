package quorum

import (
	"errors"
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
)

// A node that does not vote, a broker or a voter to be, observes: it pulls what is committed from
// any voter, and so costs the leader nothing (a Raft leader that feeds many learners is slowed
// down by each). Its log is as a voter's, and once it is made a voter it goes on with it.

// Position is an entry of the log: its index and the epoch it has.
type Position struct {
	Index uint64
	Epoch int32
}

// NoPosition is what a node asks for that has no log: it is told of a snapshot to begin with.
var NoPosition = Position{Epoch: -1}

// Page is what an observer gets of a voter.
type Page struct {
	// Leadership as the voter knows it.
	LeaderID        int32
	LeaderDirectory kafka.UUID
	Epoch           int32
	// CommitIndex is the last committed entry, HighWatermark the offset after it.
	CommitIndex   uint64
	HighWatermark int64
	// After is the position that was asked for, Batches the committed entries behind it.
	After   Position
	Batches []byte
	// Diverging says that the entry asked for has another epoch here: ask for an earlier one.
	Diverging bool
	// Snapshot is set instead of batches where the log does not go back so far.
	Snapshot *SnapshotID
}

// Committed returns committed entries behind a position, at least one if there is one.
func (v *Voter) Committed(after Position, maxBytes int) (Page, error) {
	l := v.log
	p := Page{LeaderID: v.leadership.LeaderID, Epoch: v.leadership.Epoch, CommitIndex: v.committed, HighWatermark: l.endOffset(v.committed), After: after}
	for _, s := range v.Voters() {
		if s.NodeID == p.LeaderID {
			p.LeaderDirectory = s.DirectoryID
		}
	}
	switch {
	case after.Index < l.anchor.RaftIndex || after.Epoch < 0:
		newest := l.newest.ID // the page outlives this call, on another goroutine
		p.Snapshot = &newest
		return p, nil
	case after.Index > v.committed:
		// A former voter's log may go further than what is committed, or this voter may not know yet.
		p.Diverging = after.Index > l.lastIndex() || uint64(uint32(after.Epoch)) != must(l.Term(after.Index))
		return p, nil
	case must(l.Term(after.Index)) != uint64(uint32(after.Epoch)):
		p.Diverging = true
		return p, nil
	}
	for index := after.Index + 1; index <= v.committed; index++ {
		if len(p.Batches) > 0 && len(p.Batches)+int(l.entry(index).sizeBytes) > maxBytes {
			break
		}
		data, err := l.read(index)
		if err != nil {
			return Page{}, err
		}
		p.Batches = append(p.Batches, data...)
	}
	return p, nil
}

// must is for terms of entries that are there.
func must(term uint64, _ error) uint64 { return term }

// LastPosition is the last entry of the log, and CommittedPosition the last that is known to be
// committed. An observer asks for what follows the first, and if that diverges the second.
func (v *Voter) LastPosition() Position { return v.position(v.log.lastIndex()) }

// CommittedPosition is described at LastPosition.
func (v *Voter) CommittedPosition() Position { return v.position(v.committed) }

func (v *Voter) position(index uint64) Position {
	return Position{index, int32(must(v.log.Term(index)))}
}

// Observe takes a page that follows LastPosition or CommittedPosition. A voter that hears from a leader
// ignores it. One that has not for long should ask, too: who was removed while it was away hears of
// that from nobody else.
func (v *Voter) Observe(p Page) error {
	status := v.node.BasicStatus()
	isLed := status.RaftState == raft.StateLeader || v.IsVoter() && status.Lead != raft.None
	if isLed || p.Diverging {
		return nil
	}
	if p.Epoch < 0 || p.After.Epoch < 0 {
		return fmt.Errorf("%w: a page of epoch %d behind one of epoch %d", ErrMessage, p.Epoch, p.After.Epoch)
	}
	if p.Snapshot != nil {
		index, ok := v.log.indexOfEnd(p.Snapshot.EndOffset)
		if !ok || v.Needs(*p.Snapshot) {
			return nil // it has to be fetched
		}
		// The log has all of it, which was not known to be committed.
		p.After, p.CommitIndex, p.Batches = v.position(index), index, nil
	}
	entries, err := entriesOf(p)
	if err != nil {
		return err
	}
	if v.learnsLeader(p) {
		v.leadership = Leadership{LeaderID: p.LeaderID, Epoch: p.Epoch}
		v.leadershipChanged = true
	}
	if p.CommitIndex <= v.committed {
		return nil
	}
	// To Raft it is a message of a leader. It must forget that at once: a node that believes to hear
	// from a leader votes for nobody else.
	m := &raftpb.Message{Type: raftpb.MsgApp.Enum(), To: new(PeerID(v.o.Self.DirectoryID)), From: new(observed), Term: new(max(status.GetTerm(), uint64(uint32(p.Epoch)))),
		Index: new(p.After.Index), LogTerm: new(uint64(uint32(p.After.Epoch))), Entries: entries, Commit: new(p.CommitIndex)}
	return v.guard(func() error { return errors.Join(v.node.Step(m), v.node.ForgetLeader()) })
}

// learnsLeader reports whether an observer takes the leader of a page for the present one. A voter
// that was cut off tells of an old one.
func (v *Voter) learnsLeader(p Page) bool {
	known := v.leadership
	switch {
	case v.IsVoter() || known.LeaderID == p.LeaderID && known.Epoch == p.Epoch:
		return false
	case p.Epoch < v.LastPosition().Epoch:
		return false // there has been a later leader
	case known.LeaderID == kafka.NoLeader || p.Epoch > known.Epoch:
		return true
	}
	return p.Epoch == known.Epoch && p.LeaderID != kafka.NoLeader
}

// observed stands for the leader in the messages that an observer makes for itself; the answers to
// it are not sent.
const observed uint64 = 1

// entriesOf checks the batches of a page and makes Raft's entries of them.
func entriesOf(p Page) ([]*raftpb.Entry, error) {
	var entries []*raftpb.Entry
	epoch, rest := p.After.Epoch, p.Batches
	for index := p.After.Index + 1; len(rest) > 0; index++ {
		var b record.Batch
		var err error
		if b, rest, err = record.Next(rest); err != nil {
			return nil, fmt.Errorf("%w: entry %d: %w", ErrMessage, index, err)
		}
		if err := b.CheckCRC(); err != nil {
			return nil, fmt.Errorf("%w: entry %d: %w", ErrMessage, index, err)
		}
		e, err := entryOf(index, b)
		if err != nil {
			return nil, fmt.Errorf("%w: entry %d: %w", ErrMessage, index, err)
		}
		if b.PartitionLeaderEpoch() < epoch || b.PartitionLeaderEpoch() > p.Epoch || index > p.CommitIndex { // no log has an epoch above its voter's
			return nil, fmt.Errorf("%w: entry %d has epoch %d after epoch %d in a page of epoch %d, and entry %d is the last committed one", ErrMessage, index, b.PartitionLeaderEpoch(), epoch, p.Epoch, p.CommitIndex)
		}
		if err := checkEntry(e, b.PartitionLeaderEpoch() > epoch); err != nil {
			return nil, fmt.Errorf("%w: entry %d: %w", ErrMessage, index, err)
		}
		epoch = b.PartitionLeaderEpoch()
		entries = append(entries, e)
	}
	return entries, nil
}
