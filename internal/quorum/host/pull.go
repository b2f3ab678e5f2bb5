package host

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/quorum"
)

const (
	// pullWait is how long a voter may wait for something to be committed before it answers a pull,
	// pullGrace how much longer its answer may take before another one is asked.
	pullWait  = 500 * time.Millisecond
	pullGrace = time.Second
	// maxPullWait and maxPullBytes bound what others may ask for: reading holds the voter up.
	maxPullWait  = 10 * time.Second
	maxPullBytes = 1 << 20
)

// PullRequest asks a voter for what is committed behind a position.
type PullRequest struct {
	// NodeID and DirectoryID say who asks.
	NodeID      int32
	DirectoryID kafka.UUID
	// After is the last entry that it has; quorum.NoPosition of a node that has no log.
	After    quorum.Position
	MaxBytes int
	// Wait is how long the answer may wait for something to be committed.
	Wait time.Duration
}

// pulling is what the node does about pulls of its own. It belongs to its goroutine.
type pulling struct {
	quorum.Puller
	results chan pullResult
	cancel  context.CancelFunc // of the one under way
}

type pullResult struct {
	from quorum.VoterSpec
	page quorum.Page
	err  error
}

// cancelFrom ends a pull whose answer will not come.
func (p *pulling) cancelFrom(nodeID int32) {
	if p.Asks(nodeID) {
		p.cancel()
	}
}

// maybePull begins a pull if there is need and room for what it brings.
func (n *Node) maybePull() {
	p := &n.pulling
	if n.fetching.busy || n.delivery.full() {
		return
	}
	pull, ok := p.Next(n.voter, n.o.Listed)
	if !ok {
		return
	}
	request := PullRequest{NodeID: n.o.Self.NodeID, DirectoryID: n.o.Self.DirectoryID, After: pull.After, MaxBytes: maxPullBytes}
	if pull.MayWait {
		request.Wait = pullWait
	}
	ctx, cancel := context.WithTimeout(n.spawner.Context(), request.Wait+pullGrace)
	p.cancel = cancel
	n.spawner.Go("quorum-pull", func(context.Context) {
		page, err := n.o.Pull(ctx, pull.From, request)
		p.results <- pullResult{pull.From, page, err}
	})
}

// processAndPull is process for what may have made room for another pull, or need of it.
func (n *Node) processAndPull() error {
	if err := n.process(); err != nil {
		return err
	}
	n.maybePull()
	return nil
}

// pageCame takes the answer to a pull.
func (n *Node) pageCame(r pullResult) error {
	n.pulling.cancel()
	if r.err != nil {
		n.o.Logger.Debug("cannot pull the metadata log", "from", r.from.NodeID, "error", r.err)
		n.meters.failedPulls.Inc()
		n.pulling.Failed()
		n.maybePull()
		return nil
	}
	snapshot, err := n.pulling.Take(n.voter, r.page)
	switch {
	case errors.Is(err, quorum.ErrMessage):
		n.o.Logger.Warn("a page of the metadata log makes no sense", "from", r.from.NodeID, "error", err)
		n.meters.failedPulls.Inc()
		return nil
	case err != nil:
		return err
	case snapshot != nil:
		n.beginFetch(r.from, *snapshot)
		return nil
	}
	return n.processAndPull()
}

// HandlePull answers another node's pull: at once if there is something to say, else when something
// is committed or the leader changes, or with an empty page after the wait.
func (n *Node) HandlePull(ctx context.Context, request PullRequest) (quorum.Page, error) {
	timer := time.NewTimer(min(request.Wait, maxPullWait))
	defer timer.Stop()
	waiting := false
	var leader quorum.Leadership
	for {
		changed := n.nextChange()
		page, err := call(ctx, n, func() (quorum.Page, error, error) {
			n.replicas.pulled(request, n.voter, n.o.Clock.Now())
			n.meters.observers.Set(int64(len(n.replicas.observers)))
			page, fatal := n.voter.Committed(request.After, max(0, min(request.MaxBytes, maxPullBytes)))
			return page, nil, fatal
		})
		now := quorum.Leadership{LeaderID: page.LeaderID, Epoch: page.Epoch}
		if err != nil || len(page.Batches) > 0 || page.Diverging || page.Snapshot != nil || waiting && now != leader {
			return page, err
		}
		waiting, leader = true, now
		select {
		case <-changed:
		case <-timer.C:
			return page, nil
		case <-ctx.Done():
			return quorum.Page{}, ctx.Err()
		case <-n.stopped:
			return quorum.Page{}, stopping()
		}
	}
}

// HandleSnapshot returns a piece of a snapshot and the size of the whole.
func (n *Node) HandleSnapshot(id quorum.SnapshotID, position int64, maxBytes int) (data []byte, sizeBytes int64, err error) {
	data, sizeBytes, err = quorum.SnapshotFile{FS: n.o.FS, LogDir: n.o.LogDir}.ReadAt(id, position, max(0, min(maxBytes, maxPullBytes)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, kafka.Errorf(kafka.ErrSnapshotNotFound, "there is no snapshot %s here any more: a newer one has taken its place", id.FileName())
	}
	if err == nil && (position < 0 || position > sizeBytes) {
		return nil, 0, kafka.Errorf(kafka.ErrPositionOutOfRange, "position %d of snapshot %s, which has %d bytes", position, id.FileName(), sizeBytes)
	}
	return data, sizeBytes, err
}
