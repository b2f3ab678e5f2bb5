package host

import (
	"context"
	"log/slog"
	"time"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/quorum"
)

// Options is what a Node needs. Every field is required unless its comment says otherwise.
type Options struct {
	FS vfs.FS
	// LogDir is metadata.log.dir, or the first of log.dirs; the log is in a folder below it.
	LogDir      string
	NodeID      int32
	DirectoryID kafka.UUID
	// Listeners are the controller listeners recorded for this voter; may be empty.
	Listeners []quorum.VoterListener
	Clock     env.Clock
	Metrics   *metrics.Registry
	Logger    *slog.Logger
	// SnapshotMaxNewRecordBytes and SnapshotMaxInterval are
	// metadata.log.max.record.bytes.between.snapshots and metadata.log.max.snapshot.interval.ms.
	SnapshotMaxNewRecordBytes int64
	SnapshotMaxInterval       time.Duration
	// SegmentBytes is metadata.log.segment.bytes.
	SegmentBytes int
	// SnapshotSource returns the latest published image as records; see SnapshotSource.
	SnapshotSource SnapshotSource
	// OnCommitted receives committed batches in order, on the node's goroutine: first the latest
	// snapshot's, if there is one, then the log's. It may block; it must not call the node.
	OnCommitted func(ctx context.Context, batches []quorum.Batch)
	// OnLeadership is called on the node's goroutine at every change; it must not block.
	OnLeadership func(quorum.Leadership)
}

// SnapshotSource gives the content of a snapshot: the offset and epoch of the last record that
// the image contains (-1 when there is none yet), and a function that writes its records.
type SnapshotSource func() (lastOffset int64, epoch int32, writeTo func(emit func(record []byte) error) error)

// Node is the running quorum member of this process.
type Node struct{}

// Open recovers the log (or bootstraps an empty folder with this node as the one voter).
func Open(o Options) (*Node, error) { return &Node{}, nil }

// Start campaigns and begins to serve proposals.
func (n *Node) Start(ctx context.Context) {}

// Stop ends the node's goroutines and closes the log. Proposals in flight fail with NOT_CONTROLLER.
func (n *Node) Stop() {}

// Leadership returns the latest known leadership.
func (n *Node) Leadership() quorum.Leadership { return quorum.Leadership{} }

// HighWatermark returns the offset after the last committed record.
func (n *Node) HighWatermark() int64 { return 0 }

// Propose appends records as one batch and returns once it is committed.
func (n *Node) Propose(ctx context.Context, records [][]byte) (lastOffset int64, epoch int32, err error) {
	return 0, 0, nil
}

// ProposeAsync queues records as one batch in the given epoch, blocking while the queue is full.
// done is called exactly once, on the node's goroutine, in the order of the calls: with the
// offset of the last record once the batch is committed, or with a NOT_CONTROLLER error if this
// node no longer leads in that epoch. It must not block.
func (n *Node) ProposeAsync(ctx context.Context, epoch int32, records [][]byte, done func(lastOffset int64, err error)) error {
	return nil
}
