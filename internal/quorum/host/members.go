package host

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/quorum"
)

const (
	// caughtUpWithin is how long ago a node that is to vote may have had everything: without that, the
	// quorum might wait for a node that is not there.
	caughtUpWithin = 2 * time.Second
	caughtUpPause  = 50 * time.Millisecond
	// transferTimeout is how long another voter may take to take over.
	transferTimeout = 3 * electionTicks * tick
)

var errNotCaughtUp = errors.New("the node does not follow the metadata log")

// AddVoter makes a node vote that observes, once it has caught up, and returns when that is committed.
// When ctx ends first, it may still happen. Only the leader does it.
func (n *Node) AddVoter(ctx context.Context, added quorum.VoterSpec) error {
	if n.o.SendRaft == nil && !slices.ContainsFunc(n.Voters(), func(v quorum.VoterSpec) bool { return v.NodeID == added.NodeID }) {
		return kafka.Errorf(kafka.ErrInvalidRequest, "This node is configured to be the only voter: set controller.quorum.voters or controller.quorum.bootstrap.servers first.")
	}
	var isProposed atomic.Bool // from then on it may still happen
	for waited := false; ; waited = true {
		err := n.changeVoters(ctx, func(nowMs int64) (uint64, error) {
			if n.voter.Leadership().LeaderID != n.o.Self.NodeID {
				return 0, notLeading()
			}
			if !n.replicas.hasCaughtUp(added.NodeID, added.DirectoryID, n.o.Clock.Now()) && !n.knows(added.NodeID) {
				return 0, errNotCaughtUp
			}
			ticket, err := n.voter.AddVoter(added, nowMs)
			isProposed.Store(err == nil)
			return ticket, err
		})
		if isProposed.Load() || !errors.Is(err, errNotCaughtUp) && !(waited && ctx.Err() != nil) {
			return err
		}
		timer := time.NewTimer(caughtUpPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return kafka.Errorf(kafka.ErrRequestTimedOut, "Node %d with directory id %s has not caught up with the metadata log. Start it, and try again.", added.NodeID, added.DirectoryID)
		}
	}
}

// knows reports whether a node id votes, which is what the answer is then about.
func (n *Node) knows(nodeID int32) bool {
	for _, v := range n.voter.Voters() {
		if v.NodeID == nodeID {
			return true
		}
	}
	return false
}

// RemoveVoter makes a node vote no longer and returns when that is committed. Only the leader does it; one
// that removes itself leads until then.
func (n *Node) RemoveVoter(ctx context.Context, nodeID int32, directory kafka.UUID) error {
	return n.changeVoters(ctx, func(nowMs int64) (uint64, error) { return n.voter.RemoveVoter(nodeID, directory, nowMs) })
}

// UpdateVoter changes the listeners of a voter and returns when that is committed. Only the leader does it.
func (n *Node) UpdateVoter(ctx context.Context, updated quorum.VoterSpec) error {
	return n.changeVoters(ctx, func(nowMs int64) (uint64, error) { return n.voter.UpdateVoter(updated, nowMs) })
}

func (n *Node) changeVoters(ctx context.Context, propose func(nowMs int64) (ticket uint64, err error)) error {
	committed := make(chan error, 1)
	_, err := call(ctx, n, func() (struct{}, error, error) {
		ticket, err := propose(n.o.Clock.Now().UnixMilli())
		if err == nil {
			n.pending = append(n.pending, pendingProposal{ticket: ticket, done: func(_ int64, err error) { committed <- err }})
		}
		return struct{}{}, err, nil
	})
	if err != nil {
		return err
	}
	select {
	case err := <-committed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TransferLeadership hands leadership to a voter, or with kafka.NoLeader to the one that is best prepared,
// and returns when this node does not lead any more. It goes on leading if the other one does not take over.
func (n *Node) TransferLeadership(ctx context.Context, to int32) error {
	before, err := call(ctx, n, func() (quorum.Leadership, error, error) {
		l := n.voter.Leadership()
		if !l.IsSelf {
			return l, notLeading(), nil
		}
		target, ok := n.voter.Successor()
		if to != kafka.NoLeader {
			ok = false
			for _, v := range n.voter.Voters() {
				if v.NodeID == to {
					target, ok = v, true
				}
			}
		}
		if !ok {
			return l, kafka.Errorf(kafka.ErrVoterNotFound, "There is no voter that could take over."), nil
		}
		return l, nil, n.voter.TransferLeadership(quorum.PeerID(target.DirectoryID))
	})
	if err != nil {
		return err
	}
	timer := time.NewTimer(transferTimeout)
	defer timer.Stop()
	for {
		changed := n.nextChange()
		switch l := n.Leadership(); {
		case l.LeaderID != n.o.Self.NodeID || l.Epoch != before.Epoch:
			return nil
		case l.IsSelf && l.Office != before.Office:
			return notTakenOver()
		}
		select {
		case <-changed:
		case <-timer.C:
			return notTakenOver()
		case <-ctx.Done():
			return ctx.Err()
		case <-n.stopped:
			return nil
		}
	}
}

func notTakenOver() error {
	return kafka.Errorf(kafka.ErrRequestTimedOut, "The other voter did not take over; this node goes on as active controller.")
}
