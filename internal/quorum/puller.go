package quorum

import (
	"errors"
	"slices"

	"github.com/moldau/moldau/internal/kafka"
)

const (
	// leaderlessTimeouts is for how many election time-outs a voter does without a leader before it pulls as an
	// observer does: who was removed while it was away hears of that from nobody else, and a broker that is cut off from
	// the leader alone would not hear that it is fenced.
	leaderlessTimeouts = 1
	// pullPauseTicks is the pause after a pull that was of no use.
	pullPauseTicks = 10
)

// Puller decides when a node asks another one for what is committed, which one, and from where on. Its owner
// takes one request at a time there and tells of its end with Take or Failed.
type Puller struct {
	ticks      int
	asked      *Pull      // nil: none is under way
	turn       int        // of the voters, who is asked
	failures   int        // in a row
	fallBack   bool       // ask for what follows what is known to be committed: the rest differs
	leaderless int        // ticks since a leader was heard of
	lastLeader int32      // who that was
	askedAt    int        // count of ticks
	failed     kafka.UUID // who was just asked in vain
	notBefore  int        // count of ticks
}

// Pull is a request for what is committed.
type Pull struct {
	From VoterSpec
	// After is the position behind which it is wanted. MayWait says that the answer may wait for news.
	After   Position
	MayWait bool
}

// Tick tells that time has passed.
func (p *Puller) Tick(v *Voter) {
	p.ticks++
	p.leaderless++
	if leader := v.Leadership().LeaderID; leader != kafka.NoLeader {
		p.leaderless, p.lastLeader = 0, leader
	}
}

// needs reports whether a node hears of what is committed by pulling only.
func (p *Puller) needs(v *Voter) bool {
	return !v.IsVoter() || p.leaderless >= leaderlessTimeouts*v.o.ElectionTicks && v.Leadership().LeaderID == kafka.NoLeader
}

// Next returns what to ask now, if anything. Listed are nodes that may be asked besides the voters.
func (p *Puller) Next(v *Voter, listed []VoterSpec) (pull Pull, ok bool) {
	if p.asked != nil || p.ticks < p.notBefore || !p.needs(v) {
		return Pull{}, false
	}
	if pull.From, ok = p.from(v, listed); !ok {
		return Pull{}, false
	}
	committed := v.CommittedPosition()
	pull.After = v.LastPosition()
	pull.MayWait = pull.After == committed // else it may be that what is here was committed meanwhile
	if p.fallBack {
		pull.After = committed
	}
	asked := pull
	p.asked, p.askedAt = &asked, p.ticks
	return pull, true
}

// from returns the voter to ask. A node that may become a voter asks the leader, who has to know
// how far it is; others share the voters among them. A voter that hears nothing of its leader any more asks somebody
// else first.
func (p *Puller) from(v *Voter, listed []VoterSpec) (VoterSpec, bool) {
	self := v.o.Self
	var others []VoterSpec
	for _, s := range slices.Concat(v.Voters(), listed) {
		if s.DirectoryID == self.DirectoryID {
			continue
		}
		if s.NodeID == v.Leadership().LeaderID && len(self.Listeners) > 0 && p.failures == 0 {
			return s, true
		}
		others = append(others, s)
	}
	if len(others) == 0 {
		return VoterSpec{}, false
	}
	if v.IsVoter() && p.failures == 0 {
		if heard := slices.DeleteFunc(slices.Clone(others), func(s VoterSpec) bool { return s.NodeID == p.lastLeader }); len(heard) > 0 {
			others = heard
		}
	}
	if next := inTurn(others, self.NodeID, p.turn); !p.failed.IsZero() && next.DirectoryID == p.failed { // the leader, which was asked out of turn
		p.turn++
	}
	p.failed = kafka.UUID{}
	return inTurn(others, self.NodeID, p.turn), true
}

func inTurn(others []VoterSpec, self int32, turn int) VoterSpec {
	return others[(int(uint32(self))+turn)%len(others)]
}

// Asks reports whether a node is asked at the moment.
func (p *Puller) Asks(nodeID int32) bool { return p.asked != nil && p.asked.From.NodeID == nodeID }

// Failed says that no answer came. Next asks another node, the first time at once: who was asked may have died, and what
// the others decide about that should be here soon.
func (p *Puller) Failed() {
	p.failed, p.asked = p.asked.From.DirectoryID, nil
	p.Pause()
	if p.failures == 1 {
		p.notBefore = p.ticks
	}
}

// Pause has another node asked, in a while.
func (p *Puller) Pause() {
	p.turn++
	p.failures++
	p.notBefore = p.ticks + pullPauseTicks
}

// Take has v observe the answer. Process has to follow, and Next; or a snapshot has to be fetched from who has answered.
// The error of a page that makes no sense is an ErrMessage.
func (p *Puller) Take(v *Voter, page Page) (snapshot *SnapshotID, err error) {
	page.After = p.asked.After
	p.asked = nil
	if !p.needs(v) {
		return nil, nil
	}
	p.fallBack = page.Diverging
	switch {
	case page.Diverging:
		if page.After == v.CommittedPosition() { // it knows less than this node
			p.fallBack = false
			p.Pause()
		}
		return nil, nil
	case page.Snapshot != nil && v.Needs(*page.Snapshot):
		return page.Snapshot, nil
	}
	if err := v.Observe(page); err != nil {
		if errors.Is(err, ErrMessage) {
			p.Pause()
		}
		return nil, err
	}
	switch {
	case page.LeaderID == kafka.NoLeader || page.Epoch < v.Leadership().Epoch:
		p.Pause() // it may be cut off from the others
	case len(page.Batches) == 0:
		p.failures, p.notBefore = 0, p.askedAt+1 // at once, where the answer has waited for news
	default:
		p.failures = 0
	}
	return nil, nil
}
