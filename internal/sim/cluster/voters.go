package cluster

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/quorum"
)

const (
	// As the broker and quorum's host have them.
	catchUpWaitMs    = int64(5000)
	caughtUpWithinMs = int64(2000)
	caughtUpPauseMs  = int64(50)
	transferMs       = int64(3 * electionTicks * tickMs)
	// fewestVoters are left by the administrator. Requests of his that come late may leave fewer.
	fewestVoters = 2
)

// changeVoters carries out AddRaftVoter and RemoveRaftVoter, as the broker and quorum's host do. done is told NOT_CONTROLLER where another
// node has to be asked.
func (q *quorumPlane) changeVoters(req kmsg.Request, done func(kmsg.Response, error)) {
	switch r := req.(type) {
	case *kmsg.AddRaftVoterRequest:
		answer := kmsg.NewPtrAddRaftVoterResponse()
		q.addVoter(q.p.w.node(r.VoterID).spec(), catchUpWaitMs, func(err error) {
			answer.ErrorCode = int16(kafka.CodeOf(err))
			finishChange(answer, err, done)
		})
	case *kmsg.RemoveRaftVoterRequest:
		answer := kmsg.NewPtrRemoveRaftVoterResponse()
		q.removeVoter(q.p.w.node(r.VoterID).spec(), func(err error) {
			answer.ErrorCode = int16(kafka.CodeOf(err))
			finishChange(answer, err, done)
		})
	}
}

func finishChange(answer kmsg.Response, err error, done func(kmsg.Response, error)) {
	if kafka.CodeOf(err) == kafka.ErrNotController {
		done(nil, err)
		return
	}
	done(answer, nil)
}

// addVoter waits until the node has caught up: the quorum might wait for one that is not there.
func (q *quorumPlane) addVoter(added quorum.VoterSpec, waitMs int64, done func(error)) {
	q.p.onDisk(func() {
		o := q.observers[added.DirectoryID]
		hasCaughtUp := o != nil && o.caughtUpMs > 0 && q.p.w.nowMs-o.caughtUpMs <= caughtUpWithinMs
		switch {
		case q.voter.Leadership().LeaderID != q.p.node.id:
			done(kafka.ErrNotController)
		case hasCaughtUp || slices.Contains(q.voters(), added.NodeID):
			q.proposeVoters(done, func() (uint64, error) { return q.voter.AddVoter(added, q.p.nowMs()) })
		case waitMs <= 0:
			done(kafka.ErrRequestTimedOut)
		default:
			q.p.after(caughtUpPauseMs, func() { q.addVoter(added, waitMs-caughtUpPauseMs, done) })
		}
	})
}

// removeVoter also removes this node: another one leads before, if it takes over.
func (q *quorumPlane) removeVoter(removed quorum.VoterSpec, done func(error)) {
	remove := func() {
		q.p.onDisk(func() {
			q.proposeVoters(done, func() (uint64, error) { return q.voter.RemoveVoter(removed.NodeID, removed.DirectoryID, q.p.nowMs()) })
		})
	}
	before := q.voter.Leadership()
	successor, ok := q.voter.Successor()
	if removed.NodeID != q.p.node.id || len(q.voters()) == 1 || !ok || !before.IsSelf {
		remove()
		return
	}
	if q.failed(q.voter.TransferLeadership(quorum.PeerID(successor.DirectoryID))) {
		return
	}
	q.plan()
	var look func(leftMs int64)
	look = func(leftMs int64) {
		switch l := q.voter.Leadership(); {
		case l.LeaderID != before.LeaderID || l.Epoch != before.Epoch:
			done(kafka.ErrNotController)
		case l.IsSelf && l.Office != before.Office || leftMs <= 0:
			q.p.w.count["not taken over"]++
			remove()
		default:
			q.p.after(tickMs, func() { look(leftMs - tickMs) })
		}
	}
	look(transferMs)
}

func (q *quorumPlane) proposeVoters(done func(error), propose func() (ticket uint64, err error)) {
	ticket, err := propose()
	if err != nil {
		done(err)
		return
	}
	q.pending = append(q.pending, pendingProposal{ticket: ticket, done: func(_ int64, err error) { done(err) }})
	q.plan()
}

// changeVoters has a node vote that does not, or one not vote any more that does.
func (a *admin) changeVoters(done func()) {
	w := a.w
	node := int32(w.between(1, int64(len(w.nodes))))
	a.askVoters(func(voters []int32) {
		switch isVoter := slices.Contains(voters, node); {
		case !isVoter && len(voters) > 0:
			a.voter(node, true, done)
		case isVoter && len(voters) > fewestVoters:
			a.voter(node, false, done)
		default:
			done()
		}
	})
}

// settleVoters has those vote in the end that are to. What was asked for before may still come, so it goes on looking.
func (a *admin) settleVoters() {
	w := a.w
	if !w.plan.changesVoters {
		return
	}
	again := func() { w.after(w.between(20, 200), a.settleVoters) }
	a.askVoters(func(voters []int32) {
		for _, id := range w.plan.wanted {
			if len(voters) > 0 && !slices.Contains(voters, id) {
				a.voter(id, true, again)
				return
			}
		}
		for _, id := range voters {
			if !slices.Contains(w.plan.wanted, id) {
				a.voter(id, false, again)
				return
			}
		}
		again()
	})
}

// askVoters asks any node who votes: nobody if it does not answer.
func (a *admin) askVoters(done func(voters []int32)) {
	a.ask(int32(a.w.between(1, int64(len(a.w.nodes)))), func(p *process, answer func(any)) { answer(p.quorum.voters()) }, func(answer any, err error) {
		voters, _ := answer.([]int32)
		if err != nil {
			voters = nil
		}
		done(voters)
	})
}

// voter has a node vote, or not.
func (a *admin) voter(node int32, votes bool, done func()) {
	w := a.w
	spec := w.node(node).spec()
	var req kmsg.Request
	if votes {
		add := kmsg.NewPtrAddRaftVoterRequest()
		add.VoterID, add.VoterDirectoryID = node, spec.DirectoryID
		req = add
	} else {
		remove := kmsg.NewPtrRemoveRaftVoterRequest()
		remove.VoterID, remove.VoterDirectoryID = node, spec.DirectoryID
		req = remove
	}
	a.do(req, func(resp kmsg.Response, err error) {
		code := kafka.CodeOf(err)
		switch r := resp.(type) {
		case *kmsg.AddRaftVoterResponse:
			code = kafka.ErrorCode(r.ErrorCode)
		case *kmsg.RemoveRaftVoterResponse:
			code = kafka.ErrorCode(r.ErrorCode)
		}
		w.note("admin has node %d vote, %v: %v", node, votes, code)
		if err == nil && code == kafka.ErrNone {
			w.count["voters set"]++
		}
		done()
	})
}
