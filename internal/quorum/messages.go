package quorum

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
	"google.golang.org/protobuf/proto"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
)

// MaxMessageBytes is the largest message between voters: one batch of the greatest size and some
// small ones before it, or many small ones.
const MaxMessageBytes = MaxBatchBytes + 2<<20

// Message is one that a voter sends to another. It may get lost, come late or twice.
type Message struct {
	To   uint64 // PeerID of the receiver
	Data []byte
}

// ErrMessage says that a message is not one that a voter sends.
var ErrMessage = errors.New("malformed message between voters")

// betweenVoters are the types of messages that come from other voters; all others are a node's own.
var betweenVoters = map[raftpb.MessageType]bool{
	raftpb.MsgApp: true, raftpb.MsgAppResp: true, raftpb.MsgVote: true, raftpb.MsgVoteResp: true, raftpb.MsgPreVote: true, raftpb.MsgPreVoteResp: true,
	raftpb.MsgHeartbeat: true, raftpb.MsgHeartbeatResp: true, raftpb.MsgSnap: true, raftpb.MsgTimeoutNow: true,
}

// Incoming is a message of another voter that was checked.
type Incoming struct{ m *raftpb.Message }

// From is the PeerID of its sender.
func (in Incoming) From() uint64 { return in.m.GetFrom() }

// FromLeader returns the epoch of a message that only the leader of an epoch sends.
func (in Incoming) FromLeader() (epoch int32, ok bool) {
	switch in.m.GetType() {
	case raftpb.MsgApp, raftpb.MsgHeartbeat, raftpb.MsgSnap:
		return int32(in.m.GetTerm()), true
	}
	return 0, false
}

// GrantsPreVote reports whether its sender would vote for this voter.
func (in Incoming) GrantsPreVote() bool {
	return in.m.GetType() == raftpb.MsgPreVoteResp && !in.m.GetReject()
}

// YieldsTo reports, after Step, whether the sender's election should go before one of this voter: it asks whether
// it would get a vote, has the lower node id and as much of the log. Voters that campaign at the same time, since
// they hear of a leader's death at the same time, would divide the votes.
func (v *Voter) YieldsTo(in Incoming) bool {
	if in.m.GetType() != raftpb.MsgPreVote {
		return false
	}
	last, from := v.LastPosition(), v.nodeOf(in.From())
	term := uint64(uint32(last.Epoch))
	return from != kafka.NoLeader && from < v.o.Self.NodeID && (in.m.GetLogTerm() > term || in.m.GetLogTerm() == term && in.m.GetIndex() >= last.Index)
}

// Voted returns the present epoch, and whether this voter has voted in it: for itself or for another one.
func (v *Voter) Voted() (epoch int32, voted bool) {
	status := v.node.BasicStatus()
	return int32(status.GetTerm()), status.GetVote() != raft.None
}

// DecodeMessage checks a message to the voter of a directory. It may be called on any goroutine, so
// that reading through what is large does not hold the voter up. The error is an ErrMessage.
func DecodeMessage(data []byte, directory kafka.UUID) (Incoming, error) {
	m, err := decodeMessage(data, PeerID(directory))
	return Incoming{m}, err
}

// decodeMessage checks what the Raft library and the log take for granted.
func decodeMessage(data []byte, self uint64) (*raftpb.Message, error) {
	if len(data) > MaxMessageBytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrMessage, len(data), MaxMessageBytes)
	}
	m := new(raftpb.Message)
	if err := proto.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	switch {
	case m.Type == nil || !betweenVoters[m.GetType()]:
		return nil, fmt.Errorf("%w: type %v", ErrMessage, m.GetType())
	case m.GetTo() != self || m.GetFrom() == self || m.GetFrom() == raft.None || raft.IsLocalMsgTarget(m.GetFrom()):
		return nil, fmt.Errorf("%w: from %x to %x, this is %x", ErrMessage, m.GetFrom(), m.GetTo(), self)
	case m.GetTerm() == 0 || m.GetTerm() > math.MaxInt32 || len(m.GetResponses()) > 0 || len(m.GetEntries()) > 0 && m.GetType() != raftpb.MsgApp:
		return nil, fmt.Errorf("%w: term %d, %d entries, %d responses in a message of type %v", ErrMessage, m.GetTerm(), len(m.GetEntries()), len(m.GetResponses()), m.GetType())
	case (m.GetSnapshot().GetMetadata().GetIndex() > 0) != (m.GetType() == raftpb.MsgSnap):
		return nil, fmt.Errorf("%w: a snapshot in a message of type %v", ErrMessage, m.GetType())
	}
	term := m.GetLogTerm()
	for i, e := range m.GetEntries() {
		if e.GetIndex() != m.GetIndex()+1+uint64(i) || e.GetTerm() < term || e.GetTerm() > m.GetTerm() {
			return nil, fmt.Errorf("%w: entry %d has index %d and term %d after term %d", ErrMessage, i, e.GetIndex(), e.GetTerm(), term)
		}
		if err := checkEntry(e, e.GetTerm() > term); err != nil {
			return nil, fmt.Errorf("%w: entry %d: %w", ErrMessage, e.GetIndex(), err)
		}
		term = e.GetTerm()
	}
	return m, nil
}

// checkEntry checks what the log would otherwise store unseen: what came over the network may be
// damaged as what lies on a disk.
func checkEntry(e *raftpb.Entry, isElection bool) error {
	data, err := batchOf(e)
	if err != nil {
		return err
	}
	if (len(data) == 0) != isElection || isElection && e.GetType() != raftpb.EntryNormal {
		return fmt.Errorf("a batch of %d bytes and type %v, where an election is %v", len(data), e.GetType(), isElection)
	}
	if isElection {
		return nil
	}
	b, rest, err := record.Next(data)
	switch {
	case err != nil:
		return err
	case len(rest) > 0 || len(b) > MaxBatchBytes+record.BatchOverhead || b.Count() < 1 || b.LastOffsetDelta() != b.Count()-1:
		return fmt.Errorf("a batch of %d records and %d bytes, %d bytes behind it", b.Count(), len(b), len(rest))
	}
	if err := b.CheckCRC(); err != nil {
		return err
	}
	change, err := parseVoterChange(b)
	if err == nil && ((change != nil) != (e.GetType() == raftpb.EntryConfChangeV2) || e.GetType() == raftpb.EntryConfChange) {
		err = fmt.Errorf("an entry of type %v", e.GetType())
	}
	return err
}

// HoldBack makes the voter drop entries of the leader, as if the network had lost them: their host
// has no room for what they would commit. The leader sends them again.
func (v *Voter) HoldBack(hold bool) { v.holdsBack = hold }

// Step takes a message of another voter. The error of one that makes no sense is an ErrMessage, and
// nothing has changed; after every other error the Voter is of no more use than to be closed.
func (v *Voter) Step(in Incoming) error {
	m := in.m
	switch m.GetType() {
	case raftpb.MsgApp:
		if v.holdsBack && len(m.GetEntries()) > 0 {
			return nil
		}
	case raftpb.MsgVoteResp:
		if !m.GetReject() {
			v.noteGrant(m.GetTerm(), m.GetFrom())
		}
	case raftpb.MsgHeartbeat:
		// The library would end the process: what the leader knows to be here is gone.
		if m.GetTerm() >= v.node.BasicStatus().GetTerm() && m.GetCommit() > v.log.lastIndex() {
			return &CorruptLogError{Path: v.log.dir.Path(), Problem: fmt.Sprintf("the log ends with entry %d, but the leader knows that entry %d had been stored here: its end was lost",
				v.log.lastIndex(), m.GetCommit())}
		}
	}
	return v.guard(func() error {
		if m.GetType() == raftpb.MsgSnap {
			return v.offerSnapshot(m)
		}
		if err := v.node.Step(m); err != nil && !errors.Is(err, raft.ErrStepPeerNotFound) && !errors.Is(err, raft.ErrProposalDropped) {
			return err
		}
		return nil
	})
}

// grants are the voters that have voted for this one in a term.
type grants struct {
	term uint64
	from map[uint64]bool
}

func (v *Voter) noteGrant(term, from uint64) {
	if v.grants.term != term {
		v.grants = grants{term, map[uint64]bool{}}
	}
	v.grants.from[from] = true
}

// send encodes what Raft wants sent. A snapshot that does not arrive holds its receiver up for ever
// unless Raft is told.
func (v *Voter) send(messages []*raftpb.Message, out *Output) error {
	for _, m := range messages {
		if m.GetTo() == observed {
			continue
		}
		data, err := proto.Marshal(m)
		if err != nil {
			return fmt.Errorf("encode a message between voters: %w", err)
		}
		if m.GetType() == raftpb.MsgSnap {
			v.snapshotsSent[m.GetTo()] = 0
		}
		out.Messages = append(out.Messages, Message{To: m.GetTo(), Data: data})
	}
	return nil
}

// snapshotTimeouts is how long a voter may take to fetch and install a snapshot before it is offered
// again, in election time-outs.
const snapshotTimeouts = 10

func (v *Voter) retrySnapshots() {
	if len(v.snapshotsSent) == 0 {
		return
	}
	for id := range v.snapshotsSent {
		v.snapshotsSent[id]++
	}
	pending := map[uint64]bool{}
	v.node.WithProgress(func(id uint64, _ raft.ProgressType, p tracker.Progress) {
		pending[id] = p.State == tracker.StateSnapshot
	})
	for _, id := range slices.Sorted(maps.Keys(v.snapshotsSent)) {
		switch {
		case !pending[id]:
			delete(v.snapshotsSent, id)
		case v.snapshotsSent[id] > snapshotTimeouts*v.o.ElectionTicks:
			delete(v.snapshotsSent, id)
			v.node.ReportSnapshot(id, raft.SnapshotFailure)
		}
	}
}
