package quorum

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
)

// A change of the voters is one entry, as everything is: a control batch with the KRaftVoters
// record that Kafka has, the voters after the change, and in a tagged field what Raft needs. To Raft
// the entry is a ConfChangeV2 whose context is that batch.

// tagVoterChange is the tagged field of a KRaftVoters record with Raft's change: its type (1 byte)
// and the voter's PeerID (8). Kafka skips it.
const tagVoterChange = 10000

const voterChangeBytes = 9

// voterSet is who votes from the entry at index on, until the next one.
type voterSet struct {
	index  uint64
	voters []VoterSpec
}

// voterSets is the history of the voters, ascending by index, from the newest snapshot on.
type voterSets []voterSet

func (s voterSets) current() []VoterSpec { return s[len(s)-1].voters }

// at returns the voters that a snapshot up to index has.
func (s voterSets) at(index uint64) []VoterSpec {
	i := len(s) - 1
	for i > 0 && s[i].index > index {
		i--
	}
	return s[i].voters
}

// from forgets what only entries before index need.
func (s voterSets) from(index uint64) voterSets {
	for len(s) > 1 && s[1].index <= index {
		s = s[1:]
	}
	return slices.Clone(s)
}

// PeerID is the id by which Raft knows a voter: its directory id in 64 bits. A voter whose disk was
// replaced has another directory id and so is another member to Raft: ids are never used again.
func PeerID(directory kafka.UUID) uint64 {
	id := binary.BigEndian.Uint64(directory[:8]) ^ binary.BigEndian.Uint64(directory[8:])
	if id == raft.None || id == observed || raft.IsLocalMsgTarget(id) {
		id = uint64(directory[15]) + 2
	}
	return id
}

// Voters returns the voters as of the last committed entry.
func (v *Voter) Voters() []VoterSpec { return v.log.sets.current() }

// IsVoter reports whether this node votes. One that does not observes: see Observe.
func (v *Voter) IsVoter() bool { return v.isMember(v.o.Self.DirectoryID) }

func (v *Voter) isMember(directory kafka.UUID) bool {
	return slices.ContainsFunc(v.Voters(), func(s VoterSpec) bool { return s.DirectoryID == directory })
}

// AddVoter proposes one voter more. It should have caught up as an observer, or the quorum waits for it.
func (v *Voter) AddVoter(added VoterSpec, nowMs int64) (ticket uint64, err error) {
	for _, s := range v.Voters() {
		if s.NodeID == added.NodeID {
			return 0, kafka.Errorf(kafka.ErrDuplicateVoter, "The voter id for (%d, %s) is already part of the set of voters: %s.", added.NodeID, added.DirectoryID, describeVoters(v.Voters()))
		}
	}
	return v.changeVoters(raftpb.ConfChangeAddNode, added.DirectoryID, append(slices.Clone(v.Voters()), added), nowMs)
}

// RemoveVoter proposes one voter less. A leader that removes itself leads until it is committed.
func (v *Voter) RemoveVoter(nodeID int32, directory kafka.UUID, nowMs int64) (ticket uint64, err error) {
	voters := slices.Clone(v.Voters())
	at := slices.IndexFunc(voters, func(s VoterSpec) bool { return s.NodeID == nodeID && s.DirectoryID == directory })
	if at < 0 {
		return 0, errNoVoter(nodeID, directory, voters)
	}
	if len(voters) == 1 { // Kafka's code for it
		return 0, kafka.Errorf(kafka.ErrVoterNotFound, "(%d, %s) is the only voter: without it there is no metadata quorum. Add another one first.", nodeID, directory)
	}
	return v.changeVoters(raftpb.ConfChangeRemoveNode, directory, slices.Delete(voters, at, at+1), nowMs)
}

// UpdateVoter proposes other listeners of a voter.
func (v *Voter) UpdateVoter(updated VoterSpec, nowMs int64) (ticket uint64, err error) {
	voters := slices.Clone(v.Voters())
	at := slices.IndexFunc(voters, func(s VoterSpec) bool { return s.NodeID == updated.NodeID && s.DirectoryID == updated.DirectoryID })
	if at < 0 {
		return 0, errNoVoter(updated.NodeID, updated.DirectoryID, voters)
	}
	voters[at] = updated
	return v.changeVoters(raftpb.ConfChangeUpdateNode, updated.DirectoryID, voters, nowMs)
}

func errNoVoter(nodeID int32, directory kafka.UUID, voters []VoterSpec) error {
	return kafka.Errorf(kafka.ErrVoterNotFound, "Cannot find (%d, %s) in the set of voters: %s.", nodeID, directory, describeVoters(voters))
}

// changeVoters proposes voters, and ends the controller's office. There is one change at a time: Raft turns
// a second one into an empty entry, which only an election may write.
func (v *Voter) changeVoters(kind raftpb.ConfChangeType, directory kafka.UUID, voters []VoterSpec, nowMs int64) (uint64, error) {
	if v.votersTicket != 0 {
		return 0, kafka.Errorf(kafka.ErrRequestTimedOut, "Another change of the voters is not committed yet: try again.")
	}
	if !v.leadership.IsSelf {
		return 0, errNotLeader()
	}
	batch, err := votersBatch(kind, PeerID(directory), voters, nowMs)
	if err != nil {
		return 0, err
	}
	if err := v.node.ProposeConfChange(confChange(kind, PeerID(directory), batch)); err != nil {
		v.endOffice()
		return 0, errors.Join(errNotLeader(), err)
	}
	v.endOffice()
	v.votersTicket = v.proposed()
	return v.votersTicket, nil
}

func confChange(kind raftpb.ConfChangeType, id uint64, batch record.Batch) *raftpb.ConfChangeV2 {
	return &raftpb.ConfChangeV2{Changes: []*raftpb.ConfChangeSingle{{Type: kind.Enum(), NodeId: new(id)}}, Context: batch}
}

func votersBatch(kind raftpb.ConfChangeType, id uint64, voters []VoterSpec, nowMs int64) (record.Batch, error) {
	value := votersRecord(voters).Encode()
	value = append(value[:len(value)-1], 1) // one tagged field, where Encode says that there is none
	value = binary.AppendUvarint(value, tagVoterChange)
	value = binary.AppendUvarint(value, voterChangeBytes)
	value = append(value, byte(kind))
	value = binary.BigEndian.AppendUint64(value, id)
	return record.BuildControl(record.NoProducer(record.CodecNone), nowMs, record.ControlKRaftVoters, value)
}

// voterChange is a change of the voters as a batch has it.
type voterChange struct {
	kind   raftpb.ConfChangeType
	id     uint64
	voters []VoterSpec
}

// parseVoterChange returns nil if batch, which must be whole, is not a change of the voters.
func parseVoterChange(b record.Batch) (*voterChange, error) {
	if !b.IsControl() {
		return nil, nil
	}
	for r, err := range b.Records(int64(len(b))) {
		if err != nil {
			return nil, err
		}
		kind, err := record.ParseControlKey(r.Key)
		if err != nil || kind != record.ControlKRaftVoters {
			return nil, err
		}
		m, err := record.ParseKRaftVoters(r.Value)
		if err != nil {
			return nil, err
		}
		tail := r.Value[max(0, len(r.Value)-voterChangeBytes):]
		change := voterChange{kind: raftpb.ConfChangeType(tail[0]), voters: voterSpecs(m)}
		if len(tail) < voterChangeBytes || change.kind < raftpb.ConfChangeAddNode || change.kind > raftpb.ConfChangeUpdateNode || len(change.voters) == 0 {
			return nil, errors.New("a change of the voters does not say what it changes")
		}
		change.id = binary.BigEndian.Uint64(tail[1:])
		if again, err := votersBatch(change.kind, change.id, change.voters, b.MaxTimestamp()); err != nil || !sameContent(again, b) {
			return nil, errors.New("a change of the voters has a form that this release does not write")
		}
		return &change, nil
	}
	return nil, errors.New("a control batch has no record")
}

// sameContent compares batches but for what is stamped on them in a log.
func sameContent(a, b record.Batch) bool {
	return len(a) == len(b) && a.CRC() == b.CRC()
}

// entryOf is the Raft entry of a batch of the log.
func entryOf(index uint64, b record.Batch) (*raftpb.Entry, error) {
	e := &raftpb.Entry{Index: new(index), Term: new(uint64(uint32(b.PartitionLeaderEpoch()))), Data: b}
	if isElection(b) {
		e.Data = nil
		return e, nil
	}
	change, err := parseVoterChange(b)
	if err != nil || change == nil {
		return e, err
	}
	e.Type = raftpb.EntryConfChangeV2.Enum()
	e.Data, err = proto.Marshal(confChange(change.kind, change.id, b))
	return e, err
}

// batchOf is entryOf's inverse: what an entry is on disk. It is empty for that of an election.
func batchOf(e *raftpb.Entry) (record.Batch, error) {
	if e.GetType() != raftpb.EntryConfChangeV2 {
		return e.GetData(), nil
	}
	var cc raftpb.ConfChangeV2
	if err := proto.Unmarshal(e.GetData(), &cc); err != nil {
		return nil, fmt.Errorf("a change of the voters: %w", err)
	}
	return cc.GetContext(), nil
}

// applyVoters makes a committed change count.
func (v *Voter) applyVoters(index uint64, change *voterChange) {
	v.log.voters = raftpb.EnsureConfState(v.node.ApplyConfChange(confChange(change.kind, change.id, nil)))
	v.votersChanged = true
	v.log.sets = append(v.log.sets, voterSet{index, change.voters})
}
