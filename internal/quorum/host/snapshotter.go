package host

import (
	"context"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/quorum"
)

// snapshotter writes one snapshot at a time beside the node's goroutine.
type snapshotter struct {
	clock   env.Clock
	jobs    chan snapshotJob
	results chan snapshotResult
	// What follows belongs to the node's goroutine.
	busy    bool  // a job is under way
	dueSize int64 // of the log since the newest snapshot, at which the next one is written
}

type snapshotJob struct {
	job   *quorum.SnapshotJob
	image *metadata.Image
}

type snapshotResult struct {
	job *quorum.SnapshotJob
	err error
}

func newSnapshotter(o Options) *snapshotter {
	return &snapshotter{clock: o.Clock, jobs: make(chan snapshotJob, 1), results: make(chan snapshotResult, 1), dueSize: o.SnapshotMaxBytes}
}

func (s *snapshotter) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case j := <-s.jobs:
			level := j.image.MetadataVersion()
			err := j.job.Write(s.clock.Now().UnixMilli(), func(emit func([]byte) error) error {
				return j.image.WriteTo(func(r metadata.Record) error {
					if err := ctx.Err(); err != nil {
						return err
					}
					return emit(metadata.EncodeAt(r, level))
				})
			})
			s.results <- snapshotResult{j.job, err}
		}
	}
}

// snapshotWritten takes a snapshotter's result. A failure is only reported: nothing depends on a
// snapshot, and the next one is tried when the log has grown by as much again.
func (n *Node) snapshotWritten(r snapshotResult) error {
	n.snapshots.busy = false
	if r.err != nil {
		n.o.Logger.Error("cannot write a snapshot of the metadata log; the log grows until the next one succeeds",
			"snapshot", r.job.ID().FileName(), "error", r.err)
		n.snapshots.dueSize = n.voter.BytesSinceSnapshot() + n.o.SnapshotMaxBytes
	} else {
		n.snapshots.dueSize = n.o.SnapshotMaxBytes
		n.meters.snapshots.Inc()
		if err := n.voter.FinishSnapshot(r.job); err != nil {
			return err
		}
	}
	if ready := n.fetching.ready; ready != nil {
		return n.install(*ready)
	}
	return nil
}

// maybeSnapshot starts a snapshot of the latest published image if enough was written since the
// newest one, or if the time for one has come.
func (n *Node) maybeSnapshot(timeCame bool) error {
	if n.snapshots.busy || !timeCame && n.voter.BytesSinceSnapshot() < n.snapshots.dueSize {
		return nil
	}
	image := n.o.Image()
	job, err := n.voter.BeginSnapshot(image.Offset)
	if err != nil || job == nil {
		return err
	}
	n.snapshots.busy = true
	n.snapshots.jobs <- snapshotJob{job, image}
	return nil
}
