package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	metadatahost "github.com/moldau/moldau/internal/metadata/host"
	"github.com/moldau/moldau/internal/quorum"
)

const (
	// fetchTimeout is how long a piece of a snapshot may take.
	fetchTimeout = 10 * time.Second
	// joinPause is the pause after a node was asked for a log in vain.
	joinPause = 100 * time.Millisecond
	// joinWarnEvery is of how many attempts the operator hears of one; odd, so that it is not always the same voter.
	joinWarnEvery = 301
)

// fetching is a snapshot of another node on its way. It belongs to the node's goroutine.
type fetching struct {
	results chan fetchResult
	busy    bool
	// ready is one that waits until a snapshot of this node's own is written: both are in one folder.
	ready *fetchResult
}

type fetchResult struct {
	from     quorum.VoterSpec
	id       quorum.SnapshotID
	received *quorum.ReceivedSnapshot
	records  [][]byte
	err      error
}

// offered takes what the leader says that this node needs.
func (n *Node) offered(offer quorum.SnapshotOffer) {
	if from, ok := n.replicas.voter(offer.From); ok {
		n.beginFetch(from, offer.ID)
	}
}

func (n *Node) beginFetch(from quorum.VoterSpec, id quorum.SnapshotID) {
	if n.fetching.busy {
		return
	}
	n.fetching.busy = true
	n.spawner.Go("quorum-fetch", func(ctx context.Context) { n.fetching.results <- fetchSnapshot(ctx, n.o, from, id) })
}

// fetchSnapshot copies a snapshot of another node into a file and reads it through.
func fetchSnapshot(ctx context.Context, o Options, from quorum.VoterSpec, id quorum.SnapshotID) fetchResult {
	r := fetchResult{from: from, id: id}
	if r.received, r.err = quorum.Receive(o.FS, o.LogDir, id); r.err != nil {
		return r
	}
	if r.err = copySnapshot(ctx, o, from, r.received); r.err == nil {
		r.err = r.received.Check(func(record []byte) error {
			r.records = append(r.records, record)
			return ctx.Err()
		})
	}
	if r.err != nil {
		r.err = errors.Join(r.err, r.received.Discard())
	}
	return r
}

func copySnapshot(ctx context.Context, o Options, from quorum.VoterSpec, to *quorum.ReceivedSnapshot) error {
	for {
		piece, cancel := context.WithTimeout(ctx, fetchTimeout)
		data, sizeBytes, err := o.FetchSnapshot(piece, from, to.ID(), to.Position(), maxPullBytes)
		cancel()
		if err != nil {
			return err
		}
		if err := to.Write(data); err != nil {
			return err
		}
		if to.Position() == sizeBytes {
			return nil
		}
		if len(data) == 0 || to.Position() > sizeBytes {
			return fmt.Errorf("node %d sent %d bytes at position %d of snapshot %s, which has %d", from.NodeID, len(data), to.Position(), to.ID().FileName(), sizeBytes)
		}
	}
}

// snapshotCame takes a snapshot that was fetched. What went wrong is only reported: it is offered again.
func (n *Node) snapshotCame(r fetchResult) error {
	if r.err != nil {
		n.fetching.busy = false
		n.o.Logger.Warn("cannot take over a snapshot of the metadata log", "snapshot", r.id.FileName(), "from", r.from.NodeID, "error", r.err)
		n.meters.failedPulls.Inc()
		n.pulling.Pause()
		return nil
	}
	if n.snapshots.busy {
		n.fetching.ready = &r
		return nil
	}
	return n.install(r)
}

// install puts a snapshot in the place of the log, if it is still needed.
func (n *Node) install(r fetchResult) error {
	n.fetching.busy, n.fetching.ready = false, nil
	installed, err := n.voter.Install(r.received)
	if err != nil {
		return fmt.Errorf("install snapshot %s of node %d: %w", r.id.FileName(), r.from.NodeID, err)
	}
	if installed {
		n.o.Logger.Info("a snapshot has taken the place of the metadata log", "snapshot", r.id.FileName(), "from", r.from.NodeID)
		n.meters.installed.Inc()
		n.delivery.add(metadatahost.Batch{Replaces: true, LastOffset: r.id.EndOffset - 1, Epoch: r.id.Epoch, Records: r.records})
		n.highWatermark.Store(r.id.EndOffset)
		n.snapshots.dueSize = n.o.SnapshotMaxBytes
		n.announceChange()
	}
	return n.processAndPull()
}

// Join gives an empty folder the newest snapshot of one of several nodes, asked in turn until ctx ends:
// Open then finds a log. The node becomes an observer, or the voter that the snapshot says it is.
func Join(ctx context.Context, o Options, from []quorum.VoterSpec) error {
	for turn := 0; ; turn++ {
		err := joinFrom(ctx, o, from[turn%len(from)])
		if err == nil || ctx.Err() != nil {
			return err
		}
		if turn%joinWarnEvery == 0 {
			o.Logger.Warn("cannot join the metadata quorum yet; trying again", "asked", from[turn%len(from)].NodeID, "error", err)
		}
		timer := time.NewTimer(joinPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

func joinFrom(ctx context.Context, o Options, from quorum.VoterSpec) error {
	asked, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	page, err := o.Pull(asked, from, PullRequest{NodeID: o.Self.NodeID, DirectoryID: o.Self.DirectoryID, After: quorum.NoPosition, MaxBytes: maxPullBytes})
	if err != nil {
		return err
	}
	if page.Snapshot == nil {
		return fmt.Errorf("node %d did not say which snapshot it has", from.NodeID)
	}
	r := fetchSnapshot(ctx, o, from, *page.Snapshot)
	if r.err != nil {
		return r.err
	}
	return r.received.Join()
}
