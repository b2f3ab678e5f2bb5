package host

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/quorum"
)

const (
	// observerTimeout is after what time an observer that has not pulled is forgotten, as in Kafka.
	observerTimeout = 5 * time.Minute
	// maxObservers bounds how many are remembered.
	maxObservers = 10_000
)

// State is the quorum as this node sees it. Only the leader knows how far other voters are. Observers are
// those that have pulled from this node lately: who may become a voter pulls from the leader.
type State struct {
	Leadership    quorum.Leadership
	HighWatermark int64
	Voters        []ReplicaState
	Observers     []ReplicaState
}

// ReplicaState is how far a node's copy of the metadata log is.
type ReplicaState struct {
	quorum.VoterSpec // of an observer the node id and the directory id
	// LogEndOffset is the end of its log, LastFetchMs when it was last heard of, LastCaughtUpMs when it
	// last had all that the leader had; each -1 where it is not known.
	LogEndOffset   int64
	LastFetchMs    int64
	LastCaughtUpMs int64
}

// replicas is what the node knows of others. It belongs to its goroutine.
type replicas struct {
	self int32
	// peers are the voters, and former ones that may still be answered, by Raft's id.
	peers      map[uint64]quorum.VoterSpec
	voters     map[uint64]*progress // while this node leads
	observers  map[observerKey]*progress
	leaderless time.Time // since when no leader is known, zero if one is
}

type observerKey struct {
	nodeID    int32
	directory kafka.UUID
}

func newReplicas(self int32) replicas {
	return replicas{self: self, peers: map[uint64]quorum.VoterSpec{}, voters: map[uint64]*progress{}, observers: map[observerKey]*progress{}}
}

// progress is how far a log is that follows this one.
type progress struct {
	index     uint64 // last entry that it has
	lastFetch time.Time
	caughtUp  time.Time
	lastIndex uint64 // of this node's log at lastFetch
}

// note is called when the replica says that it has everything up to index.
func (p *progress) note(index, lastIndex uint64, now time.Time) {
	switch {
	case index >= lastIndex:
		p.caughtUp = now
	case p.lastIndex > 0 && index >= p.lastIndex:
		p.caughtUp = p.lastFetch
	}
	p.index, p.lastIndex, p.lastFetch = index, lastIndex, now
}

// setVoters takes those that vote now. One set back is kept: the last messages to who was removed.
func (r *replicas) setVoters(voters []quorum.VoterSpec) {
	if len(r.peers) > 2*len(voters)+1 {
		clear(r.peers)
	}
	for _, v := range voters {
		r.peers[quorum.PeerID(v.DirectoryID)] = v
		delete(r.observers, observerKey{v.NodeID, v.DirectoryID})
	}
}

func (r *replicas) voter(peer uint64) (quorum.VoterSpec, bool) {
	v, ok := r.peers[peer]
	return v, ok
}

func (r *replicas) leadershipChanged(l quorum.Leadership, now time.Time) {
	if l.LeaderID == kafka.NoLeader && r.leaderless.IsZero() {
		r.leaderless = now
	}
	if l.LeaderID != r.self {
		clear(r.voters)
	}
}

// heardOf notes that a voter has sent something.
func (r *replicas) heardOf(peer uint64, v *quorum.Voter, now time.Time) {
	if v.Leadership().LeaderID != r.self {
		return
	}
	p := r.voters[peer]
	if p == nil {
		p = &progress{}
		r.voters[peer] = p
	}
	p.note(v.Matched(peer), v.LastPosition().Index, now)
}

// pulled notes that an observer has asked for what follows an entry.
func (r *replicas) pulled(request PullRequest, v *quorum.Voter, now time.Time) {
	r.observed(observerKey{request.NodeID, request.DirectoryID}, request.After.Index, v, now)
}

// NoteObserver notes how far a node's metadata log is, which may pull from another voter. It does not block.
func (n *Node) NoteObserver(nodeID int32, directory kafka.UUID, endOffset int64) {
	if l := n.Leadership(); l.LeaderID != n.o.Self.NodeID {
		return
	}
	select {
	case n.calls <- func() error {
		if index, ok := n.voter.IndexOfEnd(endOffset); ok {
			n.replicas.observed(observerKey{nodeID, directory}, index, n.voter, n.o.Clock.Now())
		}
		return nil
	}:
	default: // it says so again soon
	}
}

func (r *replicas) observed(key observerKey, index uint64, v *quorum.Voter, now time.Time) {
	if slices.ContainsFunc(v.Voters(), func(s quorum.VoterSpec) bool { return s.DirectoryID == key.directory }) {
		return // it has not heard of a leader for long
	}
	p := r.observers[key]
	if p == nil {
		r.forgetObservers(now)
		if len(r.observers) >= maxObservers {
			return
		}
		p = &progress{}
		r.observers[key] = p
	}
	p.note(index, v.LastPosition().Index, now)
}

func (r *replicas) forgetObservers(now time.Time) {
	maps.DeleteFunc(r.observers, func(_ observerKey, p *progress) bool { return now.Sub(p.lastFetch) > observerTimeout })
}

// hasCaughtUp reports whether a node pulls, and has had all that there was a moment ago.
func (r *replicas) hasCaughtUp(nodeID int32, directory kafka.UUID, now time.Time) bool {
	p := r.observers[observerKey{nodeID, directory}]
	return p != nil && now.Sub(p.caughtUp) <= caughtUpWithin
}

// State returns the quorum as this node sees it.
func (n *Node) State(ctx context.Context) (State, error) {
	return call(ctx, n, func() (State, error, error) {
		now := n.o.Clock.Now()
		s := State{Leadership: n.voter.Leadership(), HighWatermark: n.HighWatermark()}
		for _, replica := range n.voter.Replicas() {
			state := ReplicaState{VoterSpec: replica.Voter, LogEndOffset: replica.EndOffset, LastFetchMs: -1, LastCaughtUpMs: -1}
			if replica.Voter.DirectoryID == n.o.Self.DirectoryID {
				if s.Leadership.LeaderID == n.o.Self.NodeID {
					state.LastFetchMs, state.LastCaughtUpMs = now.UnixMilli(), now.UnixMilli()
				}
			} else if p := n.replicas.voters[quorum.PeerID(replica.Voter.DirectoryID)]; p != nil {
				state.LastFetchMs, state.LastCaughtUpMs = milliseconds(p.lastFetch), milliseconds(p.caughtUp)
			}
			s.Voters = append(s.Voters, state)
		}
		n.replicas.forgetObservers(now)
		n.meters.observers.Set(int64(len(n.replicas.observers)))
		for key, p := range n.replicas.observers {
			s.Observers = append(s.Observers, ReplicaState{VoterSpec: quorum.VoterSpec{NodeID: key.nodeID, DirectoryID: key.directory},
				LogEndOffset: n.voter.EndOffset(p.index), LastFetchMs: milliseconds(p.lastFetch), LastCaughtUpMs: milliseconds(p.caughtUp)})
		}
		slices.SortFunc(s.Observers, func(a, b ReplicaState) int {
			return cmp.Or(cmp.Compare(a.NodeID, b.NodeID), slices.Compare(a.DirectoryID[:], b.DirectoryID[:]))
		})
		return s, nil, nil
	})
}

func milliseconds(t time.Time) int64 {
	if t.IsZero() {
		return -1
	}
	return t.UnixMilli()
}
