package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/moldau/moldau/internal/kafka"
	metadatahost "github.com/moldau/moldau/internal/metadata/host"
	"github.com/moldau/moldau/internal/quorum"
)

// run is the goroutine that owns the voter.
func (n *Node) run(ctx context.Context) {
	defer n.end()
	err := n.begin()
	var interval <-chan time.Time
	if n.o.SnapshotMaxInterval > 0 {
		ticker := time.NewTicker(n.o.SnapshotMaxInterval)
		defer ticker.Stop()
		interval = ticker.C
	}
	for err == nil {
		snapshotDue := false
		n.meters.undelivered.Set(int64(len(n.delivery.waiting)))
		select {
		case <-ctx.Done():
			return
		case p := <-n.takeProposals():
			n.proposeGroup(p)
			err = n.process()
		case n.delivery.next() <- n.delivery.waiting:
			err = n.delivered()
		case m := <-n.messages:
			err = n.stepGroup(m)
		case <-n.clock.ticks():
			err = n.tick()
		case <-n.campaign.due():
			err = n.campaignAgain()
		case f := <-n.calls:
			if err = f(); err == nil {
				err = n.process()
			}
		case r := <-n.pulling.results:
			err = n.pageCame(r)
		case r := <-n.fetching.results:
			err = n.snapshotCame(r)
		case r := <-n.snapshots.results:
			err = n.snapshotWritten(r)
		case err = <-n.delivery.failed:
		case <-interval:
			snapshotDue = true
		}
		if err == nil {
			err = n.maybeSnapshot(snapshotDue)
		}
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return
	}
	n.o.Logger.Error("the metadata log has failed: this node must stop", "folder", n.o.LogDir, "error", err)
	n.fault(err)
}

// delivered goes on with what had to wait for room.
func (n *Node) delivered() error {
	wasFull := n.delivery.full()
	n.delivery.taken()
	n.voter.HoldBack(false)
	if !wasFull {
		return nil
	}
	return n.processAndPull()
}

// takeProposals is nil while the loader has no room for what they would commit, or too much waits for a quorum.
func (n *Node) takeProposals() <-chan proposal {
	if n.delivery.full() || n.pendingBytes >= pendingBytes {
		return nil
	}
	return n.proposals
}

// begin hands out the newest snapshot and campaigns: a lone voter need not wait for anybody, and of
// several each asks whether there is a leader.
func (n *Node) begin() error {
	if id := n.voter.Snapshot(); id.EndOffset > 0 {
		b := metadatahost.Batch{LastOffset: id.EndOffset - 1, Epoch: id.Epoch}
		err := n.voter.ReadSnapshot(func(record []byte) error {
			b.Records = append(b.Records, record)
			return nil
		})
		if err != nil {
			return err
		}
		n.delivery.add(b)
	}
	n.votersChanged()
	if err := n.process(); err != nil { // who has not applied a change of the voters that it knows of may not campaign
		return err
	}
	if n.isLone() {
		if err := n.voter.Campaign(); err != nil {
			return fmt.Errorf("campaign for the metadata quorum: %w", err)
		}
	} else if n.voter.IsVoter() {
		n.startCampaign(kafka.NoLeader)
	}
	return n.processAndPull()
}

// end answers everything that still waits and closes the log.
func (n *Node) end() {
	n.clock.stop()
	n.campaign.stop()
	n.setLeadership(quorum.Leadership{LeaderID: kafka.NoLeader, Epoch: n.Leadership().Epoch})
	n.failPending()
	close(n.stopped)
	n.refuseQueued()
	if err := n.voter.Close(); err != nil {
		n.o.Logger.Error("cannot close the metadata log", "error", err)
	}
}

// proposeGroup hands first, and what else is waiting, to the voter.
func (n *Node) proposeGroup(first proposal) {
	p, count, size := first, 0, 0
	for {
		n.meters.queued.Add(-1)
		count++
		size += p.sizeBytes()
		n.propose(p)
		if count >= groupCount || size >= groupBytes {
			break
		}
		select {
		case p = <-n.proposals:
			continue
		default:
		}
		break
	}
	n.meters.groupEntries.Observe(float64(count))
}

func (n *Node) propose(p proposal) {
	if l := n.voter.Leadership(); !l.IsSelf || p.office != l.Office {
		n.pending = append(n.pending, pendingProposal{done: func(int64, error) { p.done(0, notLeading()) }})
		return
	}
	if len(p.records) == 0 {
		n.pending = append(n.pending, pendingProposal{done: func(_ int64, err error) {
			if err != nil { // those before are lost, and the answer may show them
				p.done(0, err)
				return
			}
			p.done(n.HighWatermark()-1, nil)
		}})
		return
	}
	ticket, err := n.voter.Propose(p.records, n.o.Clock.Now().UnixMilli())
	if err != nil {
		n.pending = append(n.pending, pendingProposal{done: func(int64, error) { p.done(0, err) }})
		return
	}
	n.pending = append(n.pending, pendingProposal{ticket: ticket, sizeBytes: p.sizeBytes(), done: p.done})
	n.pendingBytes += p.sizeBytes()
}

// process stores, sends and commits what is waiting.
func (n *Node) process() error {
	began := n.o.Clock.Now()
	out, err := n.voter.Process(began.UnixMilli())
	if err != nil {
		return err
	}
	n.logEnd.Store(n.voter.LogEndOffset()) // before anybody hears of it
	if out.VotersChanged {
		n.votersChanged()
	}
	for _, m := range out.Messages {
		if to, ok := n.replicas.voter(m.To); ok {
			n.o.SendRaft(to, m.Data)
		}
	}
	for _, c := range out.Committed {
		n.delivery.add(metadatahost.Batch{BaseOffset: c.BaseOffset, LastOffset: c.LastOffset, Epoch: c.Epoch, Records: c.Records})
		n.highWatermark.Store(c.LastOffset + 1)
		if c.Ticket != 0 {
			n.finish(c)
		}
	}
	n.finishUnstored()
	if out.LeadershipChanged {
		n.leadershipChanged()
	}
	if out.LeadershipChanged || len(out.Committed) > 0 {
		n.announceChange()
	}
	if out.Snapshot != nil {
		n.offered(*out.Snapshot)
	}
	if n.delivery.full() {
		n.voter.HoldBack(true)
	}
	n.clock.need(!n.isLone() || !n.voter.Leadership().IsSelf, n.o.Clock.Now())
	n.show(out, began)
	return nil
}

func (n *Node) show(out quorum.Output, began time.Time) {
	n.meters.logEnd.Set(n.voter.LogEndOffset())
	n.meters.logEndEpoch.Set(int64(n.voter.LastPosition().Epoch))
	n.meters.commit.Set(n.highWatermark.Load())
	n.meters.votersChange.Set(0)
	if n.voter.ChangesVoters() {
		n.meters.votersChange.Set(1)
	}
	n.meters.showRole(n.voter.Role())
	if len(out.Committed) > 0 {
		n.meters.storeSeconds.Observe(n.o.Clock.Now().Sub(began).Seconds())
	}
}

// finish answers the proposer of c. Proposals ahead of it that nothing was stored for, because they
// were refused or only waited for those before, are answered first; a LeaderChange has a ticket, too, but no proposer.
func (n *Node) finish(c quorum.Committed) {
	n.finishUnstored()
	if len(n.pending) > 0 && n.pending[0].ticket == c.Ticket {
		n.pending[0].done(c.LastOffset, nil)
		n.pendingBytes -= n.pending[0].sizeBytes
		n.pending = n.pending[1:]
	}
}

func (n *Node) finishUnstored() {
	for len(n.pending) > 0 && n.pending[0].ticket == 0 {
		n.pending[0].done(0, nil)
		n.pending = n.pending[1:]
	}
}

func (n *Node) failPending() {
	for _, p := range n.pending {
		p.done(0, notLeading())
	}
	n.pending, n.pendingBytes = nil, 0
}

func (n *Node) leadershipChanged() {
	leadership, before, now := n.voter.Leadership(), n.Leadership(), n.o.Clock.Now()
	n.setLeadership(leadership)
	if leadership.LeaderID != kafka.NoLeader && leadership.Epoch != before.Epoch {
		n.o.Logger.Info("a controller is active from now on", "nodeId", leadership.LeaderID, "epoch", leadership.Epoch)
	}
	if leadership.LeaderID != n.o.Self.NodeID || leadership.Epoch != before.Epoch {
		n.failPending()
	}
	n.replicas.leadershipChanged(leadership, now)
	if since := n.replicas.leaderless; leadership.LeaderID != kafka.NoLeader && !since.IsZero() {
		n.meters.electionSeconds.Observe(now.Sub(since).Seconds())
		n.replicas.leaderless = time.Time{}
	}
	if leadership.LeaderID != kafka.NoLeader {
		n.campaign.stop()
	}
}

func (n *Node) setLeadership(l quorum.Leadership) {
	n.leadership.Store(&l)
	n.meters.epoch.Set(int64(l.Epoch))
	n.meters.leader.Set(int64(l.LeaderID))
	n.o.OnLeadership(l)
}

// announceChange wakes who waits for a commit or a leader.
func (n *Node) announceChange() {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.changed)
	n.changed = make(chan struct{})
}

// nextChange returns what is closed at the next commit or change of the leader.
func (n *Node) nextChange() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changed
}
