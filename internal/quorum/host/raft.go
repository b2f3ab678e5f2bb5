package host

import (
	"errors"
	"slices"
	"time"

	"github.com/moldau/moldau/internal/quorum"
)

const (
	// tick is Raft's unit of time: a leader tells every 50 ms that it is there, and who has not heard of
	// it for 500 ms to 1 s campaigns.
	tick                          = 10 * time.Millisecond
	heartbeatTicks, electionTicks = 5, 50
	// wakeTicks are counted at a time: nothing of Raft's is due more often than a heartbeat, and what is idle should not be woken.
	wakeTicks = heartbeatTicks
	// lateTicks are counted where this goroutine, or the whole machine, was held up. A longer gap counts as
	// one wake: who was stopped does not know whether the leader is gone.
	lateTicks = 2 * wakeTicks
	// messagesLength and messagesBytes bound the messages that wait; messageGroup is how many are taken
	// with one fsync.
	messagesLength = 1024
	messagesBytes  = 64 << 20
	messageGroup   = 64
)

type message struct {
	quorum.Incoming
	sizeBytes int64
}

// HandleRaft takes a message of another voter. It does not block: where too many wait, the message is
// lost, as it may be on the network. The error of one that makes no sense is a quorum.ErrMessage.
func (n *Node) HandleRaft(data []byte) error {
	in, err := quorum.DecodeMessage(data, n.o.Self.DirectoryID)
	if err != nil {
		return err
	}
	m := message{in, int64(len(data))}
	if n.messageBytes.Add(m.sizeBytes) > messagesBytes {
		n.drop(m)
		return nil
	}
	select {
	case <-n.stopped:
		n.drop(m)
		return stopping()
	default:
	}
	select {
	case n.messages <- m:
		n.meters.messages.Add(1)
	default:
		n.drop(m)
	}
	return nil
}

func (n *Node) drop(m message) {
	n.messageBytes.Add(-m.sizeBytes)
	n.meters.dropped.Inc()
}

// stepGroup hands first, and what else is waiting, to the voter.
func (n *Node) stepGroup(first message) error {
	for m, count := first, 1; ; count++ {
		n.messageBytes.Add(-m.sizeBytes)
		n.meters.messages.Add(-1)
		if err := n.step(m.Incoming); err != nil {
			return err
		}
		if count == messageGroup {
			return n.process()
		}
		select {
		case m = <-n.messages:
			continue
		default:
		}
		return n.process()
	}
}

func (n *Node) step(in quorum.Incoming) error {
	if n.campaign.Ignores(in) {
		return nil
	}
	if err := n.voter.Step(in); errors.Is(err, quorum.ErrMessage) {
		n.o.Logger.Warn("a message of another voter makes no sense", "error", err)
	} else if err != nil {
		return err
	}
	n.campaign.Stepped(n.voter, in)
	n.replicas.heardOf(in.From(), n.voter, n.o.Clock.Now())
	return nil
}

// raftClock makes ticks, where there is anybody to agree with.
type raftClock struct {
	ticker *time.Ticker // nil: there are none
	last   time.Time    // up to which they are counted
}

func (c *raftClock) need(needed bool, now time.Time) {
	switch {
	case needed && c.ticker == nil:
		c.ticker, c.last = time.NewTicker(wakeTicks*tick), now
	case !needed:
		c.stop()
	}
}

func (c *raftClock) stop() {
	if c.ticker != nil {
		c.ticker.Stop()
		c.ticker = nil
	}
}

func (c *raftClock) ticks() <-chan time.Time {
	if c.ticker == nil {
		return nil
	}
	return c.ticker.C
}

// passed returns how many ticks have passed, with a long gap as that between two wakes. It rounds: a timer that is early by
// some microseconds must not put a heartbeat off to the next one.
func (c *raftClock) passed(now time.Time) int {
	ticks := int((now.Sub(c.last) + tick/2) / tick)
	c.last = c.last.Add(time.Duration(ticks) * tick)
	if ticks > lateTicks {
		ticks, c.last = wakeTicks, now
	}
	return ticks
}

func (n *Node) tick() error {
	for range n.clock.passed(n.o.Clock.Now()) {
		if err := n.voter.Tick(); err != nil {
			return err
		}
		n.pulling.Tick(n.voter)
	}
	return n.processAndPull()
}

// campaign is the one under way, if its timer is there.
type campaign struct {
	quorum.Campaign
	timer *time.Timer
}

func (c *campaign) due() <-chan time.Time {
	if c.timer == nil {
		return nil
	}
	return c.timer.C
}

func (c *campaign) stop() {
	c.End()
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}

// PeerDead tells that the process of a node is known to have ended. If it was the leader, the voters
// elect another one at once.
func (n *Node) PeerDead(nodeID int32) {
	select {
	case n.calls <- func() error { return n.peerDied(nodeID) }:
	case <-n.stopped:
	}
}

func (n *Node) peerDied(nodeID int32) error {
	n.pulling.cancelFrom(nodeID)
	if l := n.voter.Leadership(); l.LeaderID != nodeID || nodeID == n.o.Self.NodeID || !n.voter.IsVoter() {
		return nil
	}
	n.o.Logger.Info("the active controller's process has ended: electing another one", "node", nodeID)
	if err := n.voter.ForgetLeader(); err != nil {
		return err
	}
	if err := n.process(); err != nil { // which notes that there is no leader
		return err
	}
	n.startCampaign(nodeID)
	return nil
}

// startCampaign has this voter ask for votes after those of lower node ids, dead not counted.
func (n *Node) startCampaign(dead int32) {
	n.campaign.stop()
	n.campaign.timer = time.NewTimer(n.campaign.Begin(n.voter, dead))
}

func (n *Node) campaignAgain() error {
	c := &n.campaign
	asks := c.Due(n.voter)
	if !c.IsActive() {
		c.stop()
		return nil
	}
	c.timer.Reset(quorum.CampaignPause)
	if !asks {
		return nil
	}
	if err := n.voter.Campaign(); err != nil {
		return err
	}
	return n.process()
}

// votersChanged tells the new voters to who needs to know.
func (n *Node) votersChanged() {
	voters := slices.Clone(n.voter.Voters())
	n.voters.Store(&voters)
	n.replicas.setVoters(voters)
	n.meters.voters.Set(int64(len(voters)))
	if n.o.OnVoters != nil {
		n.o.OnVoters(voters)
	}
}
