package host

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	metadatahost "github.com/moldau/moldau/internal/metadata/host"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/quorum"
)

const (
	// queueLength bounds the proposals that wait for the node's goroutine.
	queueLength = 4096
	// groupCount and groupBytes bound what is stored with one fsync.
	groupCount = 4096
	groupBytes = 4 << 20
	// Ticks matter only between voters; one voter campaigns when it starts.
	heartbeatTicks, electionTicks = 5, 50
)

// Options is what a Node needs; every field is required.
type Options struct {
	FS vfs.FS
	// LogDir is metadata.log.dir, or the first of log.dirs.
	LogDir string
	// Self is this node; its listeners are those of its controller and may be empty.
	Self    quorum.VoterSpec
	Clock   env.Clock
	Metrics *metrics.Registry
	Logger  *slog.Logger
	// SegmentBytes is metadata.log.segment.bytes.
	SegmentBytes int64
	// SnapshotMaxBytes and SnapshotMaxInterval are
	// metadata.log.max.record.bytes.between.snapshots and metadata.log.max.snapshot.interval.ms;
	// an interval of 0 means never.
	SnapshotMaxBytes    int64
	SnapshotMaxInterval time.Duration
	// Image returns the latest published image, of which snapshots are made: Loader.Current.
	Image func() *metadata.Image
	// Submit takes committed batches in order, first those of the newest snapshot: Loader.Submit.
	Submit func(ctx context.Context, b metadatahost.Batch) error
	// OnLeadership is called on the node's goroutine at every change; it must not block.
	OnLeadership func(quorum.Leadership)
	// OnFault is called once when the log can no longer be written or a goroutine has panicked:
	// the process must end. Proposals fail from then on.
	OnFault func(error)
}

// Node is the quorum member of this process.
type Node struct {
	o         Options
	voter     *quorum.Voter // belongs to the goroutine "quorum" once it runs
	spawner   *env.Spawner
	proposals chan proposal
	snapshots *snapshotter
	pending   []pendingProposal // belongs to the goroutine, as the voter does

	leadership    atomic.Pointer[quorum.Leadership]
	highWatermark atomic.Int64
	stopped       chan struct{} // closed when the goroutine has ended
	faultOnce     sync.Once
	meters        meters
}

type proposal struct {
	epoch   int32
	records [][]byte
	done    func(lastOffset int64, err error)
}

type pendingProposal struct {
	ticket uint64
	done   func(lastOffset int64, err error)
}

type meters struct {
	queued       *metrics.Gauge
	epoch        *metrics.Gauge
	leader       *metrics.Gauge
	logEnd       *metrics.Gauge
	commit       *metrics.Gauge
	storeSeconds *metrics.Histogram
	groupEntries *metrics.Histogram
	snapshots    *metrics.Counter
}

func newMeters(r *metrics.Registry) meters {
	return meters{
		queued:       r.Gauge("kafka_raft_proposal_queue_size", "Metadata changes that wait to be stored."),
		epoch:        r.Gauge("kafka_raft_current_epoch", "Epoch of the metadata quorum."),
		leader:       r.Gauge("kafka_raft_current_leader", "Node that leads the metadata quorum, -1 for none."),
		logEnd:       r.Gauge("kafka_raft_log_end_offset", "Offset after the last record of the metadata log."),
		commit:       r.Gauge("kafka_raft_high_watermark", "Offset after the last committed record of the metadata log."),
		storeSeconds: r.Histogram("kafka_raft_commit_latency_seconds", "Time to store and commit one group of metadata changes.", metrics.LatencySeconds),
		groupEntries: r.Histogram("kafka_raft_group_size", "Metadata changes stored with one sync.", []float64{1, 2, 4, 8, 16, 64, 256, 1024, 4096}),
		snapshots:    r.Counter("kafka_raft_snapshots_written_total", "Snapshots of the metadata log written."),
	}
}

// Open recovers the log, or bootstraps an empty folder with this node as the one voter.
func Open(o Options) (*Node, error) {
	voter, err := quorum.Open(quorum.Options{FS: o.FS, LogDir: o.LogDir, Self: o.Self, Form: []quorum.VoterSpec{o.Self}, SegmentBytes: o.SegmentBytes,
		HeartbeatTicks: heartbeatTicks, ElectionTicks: electionTicks,
		Logger: o.Logger, NowMs: o.Clock.Now().UnixMilli()})
	if err != nil {
		return nil, err
	}
	n := &Node{o: o, voter: voter, proposals: make(chan proposal, queueLength), stopped: make(chan struct{}), meters: newMeters(o.Metrics)}
	leadership := voter.Leadership()
	n.leadership.Store(&leadership)
	n.highWatermark.Store(voter.Snapshot().EndOffset)
	return n, nil
}

// Start begins to campaign and to take proposals, until Stop or the end of ctx.
func (n *Node) Start(ctx context.Context) {
	n.spawner = env.NewSpawner(ctx, func(_ string, err error) { n.fault(err) })
	n.snapshots = newSnapshotter(n.o)
	n.spawner.Go("quorum-snapshot", n.snapshots.run)
	n.spawner.Go("quorum", n.run)
}

// Stop ends the node's goroutines, makes the log durable and closes it. Proposals in flight
// get NOT_CONTROLLER.
func (n *Node) Stop() {
	if n.spawner != nil {
		n.spawner.Stop()
		return
	}
	if err := n.voter.Close(); err != nil {
		n.o.Logger.Error("cannot close the metadata log", "error", err)
	}
}

// Leadership returns the latest known leadership.
func (n *Node) Leadership() quorum.Leadership { return *n.leadership.Load() }

// HighWatermark returns the offset after the last committed record.
func (n *Node) HighWatermark() int64 { return n.highWatermark.Load() }

// Propose appends records as one batch in the present epoch and returns once it is committed.
// When ctx ends first, the batch may still be committed.
func (n *Node) Propose(ctx context.Context, records [][]byte) (lastOffset int64, epoch int32, err error) {
	epoch = n.Leadership().Epoch
	type outcome struct {
		lastOffset int64
		err        error
	}
	result := make(chan outcome, 1)
	err = n.ProposeAsync(ctx, epoch, records, func(lastOffset int64, err error) { result <- outcome{lastOffset, err} })
	if err != nil {
		return 0, epoch, err
	}
	select {
	case o := <-result:
		return o.lastOffset, epoch, o.err
	case <-ctx.Done():
		return 0, epoch, ctx.Err()
	}
}

// ProposeAsync queues records as one batch, to be appended only if this node leads in epoch. It
// blocks while the queue is full; an error means that done will not be called. Otherwise done is
// called exactly once, in the order of the calls and on the node's goroutine (once that has ended,
// on the caller's): with the offset of the last record once the batch is committed, or with an
// error. It must not block. No records store nothing: done is then called when everything queued
// before is committed, with the last committed offset. The records belong to the node from the
// call on.
func (n *Node) ProposeAsync(ctx context.Context, epoch int32, records [][]byte, done func(lastOffset int64, err error)) error {
	n.meters.queued.Add(1)
	select {
	case n.proposals <- proposal{epoch, records, done}:
		select {
		case <-n.stopped: // the goroutine may have looked into the queue for the last time
			n.refuseQueued()
		default:
		}
		return nil
	case <-ctx.Done():
		n.meters.queued.Add(-1)
		return ctx.Err()
	case <-n.stopped:
		n.meters.queued.Add(-1)
		return notLeading()
	}
}

// refuseQueued answers what is in the queue of a node that has stopped.
func (n *Node) refuseQueued() {
	for {
		select {
		case p := <-n.proposals:
			n.meters.queued.Add(-1)
			p.done(0, notLeading())
		default:
			return
		}
	}
}

func notLeading() error {
	return kafka.Errorf(kafka.ErrNotController, "this node is not the active controller")
}

func (n *Node) fault(err error) {
	n.faultOnce.Do(func() { n.o.OnFault(err) })
}
