package host

import (
	"context"
	"errors"
	"io/fs"
	"slices"
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
	// leaderlessTicks is how long a voter does without a leader before it pulls as an observer does: who was
	// removed while it was away hears of that from nobody else.
	leaderlessTicks = 3 * electionTicks
	// pullPauseTicks is the pause after a pull that was of no use.
	pullPauseTicks = 10
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
	results    chan pullResult
	cancel     context.CancelFunc // nil: none is under way
	from       quorum.VoterSpec
	turn       int  // of the voters, who is asked
	failures   int  // in a row
	fallBack   bool // ask for what follows what is known to be committed: the rest differs
	leaderless int  // ticks since a leader was heard of
	notBefore  int  // count of ticks
}

type pullResult struct {
	from  quorum.VoterSpec
	after quorum.Position
	page  quorum.Page
	err   error
}

func (p *pulling) tick(v *quorum.Voter) {
	p.leaderless++
	if v.Leadership().LeaderID != kafka.NoLeader {
		p.leaderless = 0
	}
}

// cancelFrom ends a pull whose answer will not come.
func (p *pulling) cancelFrom(nodeID int32) {
	if p.cancel != nil && p.from.NodeID == nodeID {
		p.cancel()
	}
}

// pauseAfterFailure has another voter asked, in a while.
func (p *pulling) pauseAfterFailure(count int) {
	p.turn++
	p.failures++
	p.notBefore = count + pullPauseTicks
}

// needsPages reports whether this node hears of what is committed by pulling only.
func (n *Node) needsPages() bool {
	return !n.voter.IsVoter() || n.pulling.leaderless >= leaderlessTicks && n.voter.Leadership().LeaderID == kafka.NoLeader
}

// maybePull begins a pull if there is need and room for what it brings.
func (n *Node) maybePull() {
	p := &n.pulling
	if p.cancel != nil || n.fetching.busy || n.clock.count < p.notBefore || n.delivery.full() || !n.needsPages() {
		return
	}
	from, ok := n.pullFrom()
	if !ok {
		return
	}
	request := PullRequest{NodeID: n.o.Self.NodeID, DirectoryID: n.o.Self.DirectoryID, After: n.voter.LastPosition(), MaxBytes: maxPullBytes, Wait: pullWait}
	committed := n.voter.CommittedPosition()
	if request.After != committed {
		request.Wait = 0 // it may be that what is here was committed meanwhile
	}
	if p.fallBack {
		request.After = committed
	}
	ctx, cancel := context.WithTimeout(n.spawner.Context(), request.Wait+pullGrace)
	p.cancel, p.from = cancel, from
	n.spawner.Go("quorum-pull", func(context.Context) {
		page, err := n.o.Pull(ctx, from, request)
		p.results <- pullResult{from, request.After, page, err}
	})
}

// pullFrom returns the voter to ask. A node that may become a voter asks the leader, who has to know
// how far it is; others share the voters among them.
func (n *Node) pullFrom() (quorum.VoterSpec, bool) {
	var others []quorum.VoterSpec
	for _, v := range slices.Concat(n.Voters(), n.o.Listed) {
		if v.DirectoryID == n.o.Self.DirectoryID {
			continue
		}
		if v.NodeID == n.voter.Leadership().LeaderID && len(n.o.Self.Listeners) > 0 && n.pulling.failures == 0 {
			return v, true
		}
		others = append(others, v)
	}
	if len(others) == 0 {
		return quorum.VoterSpec{}, false
	}
	return others[(int(uint32(n.o.Self.NodeID))+n.pulling.turn)%len(others)], true
}

// pageCame takes the answer to a pull.
func (n *Node) pageCame(r pullResult) error {
	p, page := &n.pulling, r.page
	p.cancel()
	p.cancel = nil
	if r.err != nil {
		n.o.Logger.Debug("cannot pull the metadata log", "from", r.from.NodeID, "error", r.err)
		n.meters.failedPulls.Inc()
		p.pauseAfterFailure(n.clock.count)
		return nil
	}
	if !n.needsPages() {
		return nil
	}
	page.After = r.after
	p.fallBack = page.Diverging
	switch {
	case page.Diverging:
		if r.after == n.voter.CommittedPosition() { // it knows less than this node
			p.fallBack = false
			p.pauseAfterFailure(n.clock.count)
		}
		n.maybePull()
		return nil
	case page.Snapshot != nil && n.voter.Needs(*page.Snapshot):
		n.beginFetch(r.from, *page.Snapshot)
		return nil
	}
	if err := n.voter.Observe(page); errors.Is(err, quorum.ErrMessage) {
		n.o.Logger.Warn("a page of the metadata log makes no sense", "from", r.from.NodeID, "error", err)
		n.meters.failedPulls.Inc()
		p.pauseAfterFailure(n.clock.count)
		return nil
	} else if err != nil {
		return err
	}
	switch {
	case page.LeaderID == kafka.NoLeader || page.Epoch < n.voter.Leadership().Epoch:
		p.pauseAfterFailure(n.clock.count) // it may be cut off from the others
	case len(page.Batches) == 0:
		p.failures, p.notBefore = 0, n.clock.count+1
	default:
		p.failures = 0
	}
	if err := n.process(); err != nil {
		return err
	}
	n.maybePull()
	return nil
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
