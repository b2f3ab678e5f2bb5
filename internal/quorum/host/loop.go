package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	metadatahost "github.com/moldau/moldau/internal/metadata/host"
	"github.com/moldau/moldau/internal/quorum"
)

// run is the goroutine that owns the voter.
func (n *Node) run(ctx context.Context) {
	defer n.end()
	err := n.begin(ctx)
	var interval <-chan time.Time
	if n.o.SnapshotMaxInterval > 0 {
		ticker := time.NewTicker(n.o.SnapshotMaxInterval)
		defer ticker.Stop()
		interval = ticker.C
	}
	for err == nil {
		snapshotDue := false
		select {
		case <-ctx.Done():
			return
		case p := <-n.proposals:
			n.proposeGroup(p)
			err = n.process(ctx)
		case r := <-n.snapshots.results:
			err = n.snapshotWritten(r)
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

// begin hands out the newest snapshot and campaigns: with one voter nobody needs to be waited for.
func (n *Node) begin(ctx context.Context) error {
	if id := n.voter.Snapshot(); id.EndOffset > 0 {
		b := metadatahost.Batch{LastOffset: id.EndOffset - 1, Epoch: id.Epoch}
		err := n.voter.ReadSnapshot(func(record []byte) error {
			b.Records = append(b.Records, record)
			return nil
		})
		if err != nil {
			return err
		}
		if err := n.o.Submit(ctx, b); err != nil {
			return err
		}
	}
	if err := n.voter.Campaign(); err != nil {
		return fmt.Errorf("campaign for the metadata quorum: %w", err)
	}
	return n.process(ctx)
}

// end answers everything that still waits and closes the log.
func (n *Node) end() {
	n.setLeadership(quorum.Leadership{LeaderID: -1, Epoch: n.Leadership().Epoch})
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
		for _, r := range p.records {
			size += len(r)
		}
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
	if p.epoch != n.voter.Leadership().Epoch {
		n.pending = append(n.pending, pendingProposal{done: func(int64, error) { p.done(0, notLeading()) }})
		return
	}
	if len(p.records) == 0 {
		n.pending = append(n.pending, pendingProposal{done: func(int64, error) { p.done(n.HighWatermark()-1, nil) }})
		return
	}
	ticket, err := n.voter.Propose(p.records, n.o.Clock.Now().UnixMilli())
	if err != nil {
		n.pending = append(n.pending, pendingProposal{done: func(int64, error) { p.done(0, err) }})
		return
	}
	n.pending = append(n.pending, pendingProposal{ticket: ticket, done: p.done})
}

// process stores and commits what is waiting. Committed batches go to the loader before their
// proposers hear of them, so that waiting for the loader is all they need to do.
func (n *Node) process(ctx context.Context) error {
	began := n.o.Clock.Now()
	out, err := n.voter.Process(began.UnixMilli())
	if err != nil {
		return err
	}
	for _, c := range out.Committed {
		b := metadatahost.Batch{BaseOffset: c.BaseOffset, LastOffset: c.LastOffset, Epoch: c.Epoch, Records: c.Records}
		if err := n.o.Submit(ctx, b); err != nil {
			return err
		}
		n.highWatermark.Store(c.LastOffset + 1)
		if c.Ticket != 0 {
			n.finish(c)
		}
	}
	n.finishUnstored()
	if out.LeadershipChanged {
		leadership := n.voter.Leadership()
		n.setLeadership(leadership)
		if !leadership.IsSelf {
			n.failPending()
		}
	}
	n.meters.logEnd.Set(n.voter.LogEndOffset())
	n.meters.commit.Set(n.highWatermark.Load())
	n.meters.storeSeconds.Observe(n.o.Clock.Now().Sub(began).Seconds())
	return nil
}

// finish answers the proposer of c. Proposals ahead of it that nothing was stored for, because they
// were refused or only waited for those before, are answered first; a LeaderChange has a ticket, too, but no proposer.
func (n *Node) finish(c quorum.Committed) {
	n.finishUnstored()
	if len(n.pending) > 0 && n.pending[0].ticket == c.Ticket {
		n.pending[0].done(c.LastOffset, nil)
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
	n.pending = nil
}

func (n *Node) setLeadership(l quorum.Leadership) {
	n.leadership.Store(&l)
	n.meters.epoch.Set(int64(l.Epoch))
	n.meters.leader.Set(int64(l.LeaderID))
	n.o.OnLeadership(l)
}
