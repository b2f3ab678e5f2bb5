package quorum

import (
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/tracker"
)

// Replica is how far the log of a voter is, as far as this one knows.
type Replica struct {
	Voter VoterSpec
	// EndIndex is the last entry that the voter is known to have, EndOffset the offset after it, -1
	// where it is not known: only the leader knows of others.
	EndIndex  uint64
	EndOffset int64
}

// Replicas says how far the voters are.
func (v *Voter) Replicas() []Replica {
	replicas := make([]Replica, 0, len(v.Voters()))
	for _, s := range v.Voters() {
		r := Replica{Voter: s, EndOffset: -1}
		if index, ok := v.matched(PeerID(s.DirectoryID)); ok {
			r.EndIndex, r.EndOffset = index, v.EndOffset(index)
		}
		replicas = append(replicas, r)
	}
	return replicas
}

// Matched is the last entry that a voter is known to have, 0 for none.
func (v *Voter) Matched(peer uint64) uint64 {
	index, _ := v.matched(peer)
	return index
}

func (v *Voter) matched(peer uint64) (index uint64, ok bool) {
	if peer == PeerID(v.o.Self.DirectoryID) {
		return v.log.lastIndex(), true
	}
	if v.node.BasicStatus().RaftState != raft.StateLeader {
		return 0, false
	}
	v.node.WithProgress(func(id uint64, _ raft.ProgressType, p tracker.Progress) {
		if id == peer {
			index = p.Match
		}
	})
	return index, index > 0
}

// EndOffset is the offset after an entry, -1 where the log does not go back so far.
func (v *Voter) EndOffset(index uint64) int64 {
	if index < v.log.anchor.RaftIndex {
		return -1
	}
	return v.log.endOffset(index)
}

// IndexOfEnd is the entry that ends at an offset; false where none does, or the log does not go back so far.
func (v *Voter) IndexOfEnd(endOffset int64) (uint64, bool) { return v.log.indexOfEnd(endOffset) }

// Successor is the voter that is best prepared to take over: it was heard of lately, and has most
// of the log. ok is false if there is none.
func (v *Voter) Successor() (best VoterSpec, ok bool) {
	if v.node.BasicStatus().RaftState != raft.StateLeader {
		return VoterSpec{}, false
	}
	active := map[uint64]bool{}
	v.node.WithProgress(func(id uint64, _ raft.ProgressType, p tracker.Progress) { active[id] = p.RecentActive })
	var most uint64
	for _, s := range v.Voters() {
		id := PeerID(s.DirectoryID)
		if index := v.Matched(id); id != PeerID(v.o.Self.DirectoryID) && active[id] && (!ok || index > most) {
			best, most, ok = s, index, true
		}
	}
	return best, ok
}

// Role is what a node does in the quorum at the moment.
type Role string

// The roles, in Kafka's words (its metric current-state).
const (
	RoleLeader      Role = "leader"
	RoleFollower    Role = "follower"
	RoleProspective Role = "prospective" // asks whether it would be voted for
	RoleCandidate   Role = "candidate"
	RoleUnattached  Role = "unattached" // knows of no leader
	RoleObserver    Role = "observer"
)

// Roles are all roles.
var Roles = []Role{RoleLeader, RoleFollower, RoleProspective, RoleCandidate, RoleUnattached, RoleObserver}

// Role returns what this node does.
func (v *Voter) Role() Role {
	status := v.node.BasicStatus()
	switch {
	case status.RaftState == raft.StateLeader:
		return RoleLeader
	case !v.IsVoter():
		return RoleObserver
	case status.RaftState == raft.StateCandidate:
		return RoleCandidate
	case status.RaftState == raft.StatePreCandidate:
		return RoleProspective
	case status.Lead == raft.None:
		return RoleUnattached
	}
	return RoleFollower
}

// ChangesVoters reports whether this voter has proposed a change of the voters that is not committed yet.
func (v *Voter) ChangesVoters() bool { return v.votersTicket != 0 }
