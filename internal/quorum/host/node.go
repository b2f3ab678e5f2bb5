package host

import (
	"context"
	"errors"
	"fmt"
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
	// pendingBytes bounds what is proposed and not committed. It lies below Raft's own bound by more than a group
	// and a batch: Raft would refuse one change and take a smaller one after it, which rests on the first.
	pendingBytes = 32 << 20
	// recordOverheadBytes is at most what a record needs in a batch besides its value.
	recordOverheadBytes = 24
	// callsLength bounds the calls that wait for the node's goroutine.
	callsLength = 64
)

// Options is what a Node needs. The last group is for a quorum of several nodes; every other field is required.
type Options struct {
	FS vfs.FS
	// LogDir is metadata.log.dir, or the first of log.dirs.
	LogDir string
	// Self is this node; its listeners are those of its controller and may be empty. With listeners
	// it may become a voter, and so pulls from the leader, which then knows how far it is.
	Self quorum.VoterSpec
	// Form are the voters that an empty folder begins a new quorum with. Without them Open fails with
	// quorum.ErrNotFormed there: Join fetches the log of a quorum that exists.
	Form    []quorum.VoterSpec
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

	// SendRaft sends a message to a voter, or loses it. It must not block.
	SendRaft func(to quorum.VoterSpec, data []byte)
	// Pull asks a voter's HandlePull, FetchSnapshot its HandleSnapshot.
	Pull          func(ctx context.Context, from quorum.VoterSpec, request PullRequest) (quorum.Page, error)
	FetchSnapshot func(ctx context.Context, from quorum.VoterSpec, id quorum.SnapshotID, position int64, maxBytes int) (data []byte, sizeBytes int64, err error)
	// Listed are nodes that the configuration lists. They are pulled from where none of the voters that the
	// log names answers: it may be as old as the first voter, alone and with a disk that is lost.
	Listed []quorum.VoterSpec
	// OnVoters is told who votes, at the start and at every change, on the node's goroutine; it must
	// not block.
	OnVoters func([]quorum.VoterSpec)
}

// Node is the quorum member of this process, or an observer.
type Node struct {
	o         Options
	spawner   *env.Spawner
	proposals chan proposal
	messages  chan message
	calls     chan func() error
	snapshots *snapshotter
	delivery  *delivery
	stopped   chan struct{} // closed when the goroutine "quorum" has ended
	faultOnce sync.Once
	meters    meters

	leadership    atomic.Pointer[quorum.Leadership]
	voters        atomic.Pointer[[]quorum.VoterSpec]
	highWatermark atomic.Int64
	logEnd        atomic.Int64
	messageBytes  atomic.Int64

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when something was committed or the leader changed

	// What follows belongs to the goroutine "quorum" once it runs.
	voter   *quorum.Voter
	pending []pendingProposal
	// pendingBytes is the size of what is pending.
	pendingBytes int
	clock        raftClock
	campaign     campaign
	pulling      pulling
	fetching     fetching
	replicas     replicas
}

type proposal struct {
	office  uint64
	records [][]byte
	done    func(lastOffset int64, err error)
}

func (p proposal) sizeBytes() int {
	size := 0
	for _, r := range p.records {
		size += len(r) + recordOverheadBytes
	}
	return size
}

type pendingProposal struct {
	ticket    uint64
	sizeBytes int
	done      func(lastOffset int64, err error)
}

// Open recovers the log, or forms a quorum in an empty folder.
func Open(o Options) (*Node, error) {
	voter, err := quorum.Open(quorum.Options{FS: o.FS, LogDir: o.LogDir, Self: o.Self, Form: o.Form, SegmentBytes: o.SegmentBytes,
		HeartbeatTicks: heartbeatTicks, ElectionTicks: electionTicks,
		Logger: o.Logger, NowMs: o.Clock.Now().UnixMilli()})
	if err != nil {
		return nil, err
	}
	n := &Node{o: o, voter: voter, proposals: make(chan proposal, queueLength), messages: make(chan message, messagesLength), calls: make(chan func() error, callsLength),
		stopped: make(chan struct{}), changed: make(chan struct{}), delivery: newDelivery(o), meters: newMeters(o.Metrics), snapshots: newSnapshotter(o)}
	if !n.isLone() && o.SendRaft == nil {
		err := fmt.Errorf("the metadata log in %s has the voters %s, but this node is configured to be alone: set controller.quorum.voters and the listeners as they were, or choose another folder",
			o.LogDir, describe(voter.Voters()))
		return nil, errors.Join(err, voter.Close())
	}
	n.fetching.results, n.pulling.results = make(chan fetchResult, 1), make(chan pullResult, 1)
	n.replicas = newReplicas(o.Self.NodeID)
	leadership, voters := voter.Leadership(), voter.Voters()
	n.leadership.Store(&leadership)
	n.voters.Store(&voters)
	n.highWatermark.Store(voter.Snapshot().EndOffset)
	n.logEnd.Store(voter.LogEndOffset())
	return n, nil
}

func describe(voters []quorum.VoterSpec) string {
	text := ""
	for i, v := range voters {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%d (directory id %s)", v.NodeID, v.DirectoryID)
	}
	return text
}

// Start begins to vote or observe and to take proposals, until Stop or the end of ctx.
func (n *Node) Start(ctx context.Context) {
	n.spawner = env.NewSpawner(ctx, func(_ string, err error) { n.fault(err) })
	n.spawner.Go("quorum-snapshot", n.snapshots.run)
	n.spawner.Go("quorum-deliver", n.delivery.run)
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

// LogEndOffset is the offset after the last record of this node's log, committed or not: whatever it has confirmed to a
// leader is below.
func (n *Node) LogEndOffset() int64 { return n.logEnd.Load() }

// Voters returns who votes, as of the last committed change.
func (n *Node) Voters() []quorum.VoterSpec { return *n.voters.Load() }

// IsVoter reports whether this node votes.
func (n *Node) IsVoter() bool {
	for _, v := range n.Voters() {
		if v.DirectoryID == n.o.Self.DirectoryID {
			return true
		}
	}
	return false
}

// isLone reports whether this node is the one voter. It is for the node's goroutine.
func (n *Node) isLone() bool {
	voters := n.voter.Voters()
	return len(voters) == 1 && voters[0].DirectoryID == n.o.Self.DirectoryID
}

// Propose appends records as one batch in the present office and returns once it is committed.
// When ctx ends first, the batch may still be committed.
func (n *Node) Propose(ctx context.Context, records [][]byte) (lastOffset int64, epoch int32, err error) {
	leadership, result := n.Leadership(), make(chan outcome[int64], 1)
	epoch = leadership.Epoch
	err = n.ProposeAsync(ctx, leadership.Office, records, func(lastOffset int64, err error) { result <- outcome[int64]{lastOffset, err} })
	if err != nil {
		return 0, epoch, err
	}
	select {
	case o := <-result:
		return o.value, epoch, o.err
	case <-ctx.Done():
		return 0, epoch, ctx.Err()
	}
}

// ProposeAsync queues records as one batch, to be appended only in this office (quorum.Leadership). It
// blocks while the queue is full; an error means that done will not be called. Otherwise done is
// called exactly once, in the order of the calls and on the node's goroutine (once that has ended,
// on the caller's): with the offset of the last record once the batch is committed, or with an
// error. It must not block. No records store nothing: done is then called when everything queued
// before is committed, with the last committed offset. The records belong to the node from the
// call on.
func (n *Node) ProposeAsync(ctx context.Context, office uint64, records [][]byte, done func(lastOffset int64, err error)) error {
	n.meters.queued.Add(1)
	select {
	case n.proposals <- proposal{office, records, done}:
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

// outcome is what a call on the node's goroutine returned.
type outcome[T any] struct {
	value T
	err   error
}

// call runs f on the node's goroutine. Its fatal error ends the node, and the call with it.
func call[T any](ctx context.Context, n *Node, f func() (value T, err, fatal error)) (T, error) {
	var none T
	result := make(chan outcome[T], 1)
	select {
	case n.calls <- func() error {
		value, err, fatal := f()
		if fatal == nil {
			result <- outcome[T]{value, err}
		}
		return fatal
	}:
	case <-ctx.Done():
		return none, ctx.Err()
	case <-n.stopped:
		return none, stopping()
	}
	select {
	case r := <-result:
		return r.value, r.err
	case <-ctx.Done():
		return none, ctx.Err()
	case <-n.stopped:
		select {
		case r := <-result: // the last that the goroutine did
			return r.value, r.err
		default:
			return none, stopping()
		}
	}
}

func stopping() error {
	return kafka.Errorf(kafka.ErrBrokerNotAvailable, "this node is stopping")
}
