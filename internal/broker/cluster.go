package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator"
	"github.com/moldau/moldau/internal/handler"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/quorum"
	quorumhost "github.com/moldau/moldau/internal/quorum/host"
	followerhost "github.com/moldau/moldau/internal/replica/follower/host"
	isrhost "github.com/moldau/moldau/internal/replica/isr/host"
	repairhost "github.com/moldau/moldau/internal/replica/repair/host"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/wire"
)

// cluster is how a node that is one of several reaches the others.
type cluster struct {
	self     peer.Self
	raft     *peer.Raft
	watch    *peer.Watch
	pulls    *peer.Keeper // of the metadata log
	sessions *sessions
	// markers and enlistments are transactions' connections to other brokers: one that waits for
	// replication does not hold up the others.
	markers, enlistments *peer.Keeper
	fetchers             *followerhost.Fetchers
	isr                  *isrhost.Host
	repair               *repairhost.Host
	channel              *peer.Controllers
	voter                quorum.VoterSpec                // this node, as its properties say
	quorum               atomic.Pointer[quorumhost.Node] // nil as long as this node has no metadata log
	led                  chan struct{}                   // closed when the first leader of the quorum is known
	foreign              atomic.Pointer[error]           // why a node that the metadata log was to be pulled from is none of this cluster
}

// peerRequestTimeout is how long an answer of another node may take before the connection is given up.
const peerRequestTimeout = 30 * time.Second

// greet begins to answer other nodes that ask who this one is. A controller has to, before there is a quorum.
func (b *broker) greet() error {
	if !b.config.ServesPeers() {
		return nil
	}
	directory := b.dirs.DirectoryIDs[b.config.MetadataLogDir]
	self := peer.Self{ClusterID: b.knownClusterID, NodeID: b.config.NodeID, DirectoryID: directory, IncarnationID: b.incarnation}
	c := &cluster{self: self, led: make(chan struct{})}
	c.watch = peer.NewWatch(peer.WatchOptions{Self: self, Spawner: b.spawner, Metrics: b.metrics, OnDead: b.peerDied})
	c.raft = peer.NewRaft(peer.RaftOptions{Self: self, Spawner: b.spawner, Metrics: b.metrics, Logger: slog.Default(), OnLost: c.watch.Lost, Listed: b.listedAddresses})
	options := peer.Options{Self: self, Spawner: b.spawner, RequestTimeout: peerRequestTimeout, MaxInFlight: 1, OnLost: c.watch.Lost}
	with := func(purpose wire.PeerPurpose) peer.Options {
		o := options
		o.Purpose = purpose
		return o
	}
	// A question to the leader of the quorum does not wait for the long poll that pulls from it.
	c.pulls, c.markers, c.enlistments = peer.NewKeeper(with(wire.PurposeSession), 2, nil), peer.NewKeeper(with(wire.PurposeTransaction), coordinator.MarkerLanes, nil), peer.NewKeeper(with(wire.PurposeTransaction), coordinator.EnlistmentLanes, nil)
	c.sessions = &sessions{spawner: b.spawner, connections: peer.NewKeeper(with(wire.PurposeSession), 1, nil), nodeID: b.config.NodeID, epoch: b.epoch, touch: b.touched, offset: b.committedOffset,
		logEnd: c.logEnd, applied: b.appliedOffset, contact: newContact(b.config.NodeID, int64(b.config.BrokerSessionTimeoutMs))}
	b.cluster = c
	if id := b.dirs.ClusterID; id != "" {
		b.clusterID.Store(&id) // who forms the cluster takes the id that any of them was given
	}
	b.handlers.Add(wire.KeyPeerHello, &handler.PeerHello{Self: self, Quorum: func() (quorum.Leadership, []quorum.VoterSpec, bool) {
		if n := c.quorum.Load(); n != nil {
			return n.Leadership(), n.Voters(), true
		}
		// Who is configured to be alone forms its quorum without asking: nobody else may form one with it.
		return quorum.Leadership{LeaderID: kafka.NoLeader}, b.listedVoters(), !b.config.IsClustered()
	}})
	if b.config.IsController {
		b.handlers.Add(wire.KeyBrokerHeartbeat, &handler.PeerHeartbeat{Touched: b.heard, Observed: c.observed, LogEnd: c.logEnd})
		b.handlers.Add(wire.KeyPeerRaft, &handler.PeerRaft{Take: c.takeRaft, Heard: c.raft.Heard})
	}
	b.server.StartControllers(b.ctx, func(_ string, err error) { b.fault(err) })
	return nil
}

// takeRaft takes a message of another voter; before this node has a metadata log it is lost.
func (c *cluster) takeRaft(message []byte) error {
	if n := c.quorum.Load(); n != nil {
		return n.HandleRaft(message)
	}
	return kafka.ErrBrokerNotAvailable
}

// knownClusterID is "" until the node has found out which cluster it is of.
func (b *broker) knownClusterID() string {
	if id := b.clusterID.Load(); id != nil {
		return *id
	}
	return ""
}

// heard is the session of a broker on another node, which may know of this controller before it has a metadata log.
func (b *broker) heard(nodeID int32, epoch int64) {
	if b.cluster.quorum.Load() != nil {
		b.controller.BrokerTouched(nodeID, epoch)
	}
}

// observed hears how far another node's metadata log is.
func (c *cluster) observed(nodeID int32, directory kafka.UUID, endOffset int64) {
	if n := c.quorum.Load(); n != nil {
		n.NoteObserver(nodeID, directory, endOffset)
	}
}

// logEnd is where this node's metadata log ends, beyond everything before it has one.
func (c *cluster) logEnd() int64 {
	if n := c.quorum.Load(); n != nil {
		return n.LogEndOffset()
	}
	return math.MaxInt64
}

// appliedOffset is up to where everything here follows the metadata.
func (b *broker) appliedOffset() int64 { return b.loader.Current().Offset }

// touched is the session of this node's broker with its own controller.
func (b *broker) touched(nodeID int32, epoch int64) {
	if b.controller != nil {
		b.controller.BrokerTouched(nodeID, epoch)
	}
}

// committedOffset is how far this node knows the metadata log, -1 before it has one.
func (b *broker) committedOffset() int64 {
	if n := b.cluster.quorum.Load(); n != nil {
		return n.HighWatermark() - 1
	}
	return kafka.NoOffset
}

// peerDied hears of a node whose process has ended.
func (b *broker) peerDied(nodeID int32, incarnationID kafka.UUID) {
	n := b.cluster.quorum.Load()
	if n == nil {
		return // there is nothing yet that it could be needed for
	}
	level := slog.LevelWarn
	if left := b.loader.Current().Broker(nodeID); left != nil && left.InControlledShutdown {
		level = slog.LevelInfo // on purpose
	}
	slog.Log(b.ctx, level, "the process of another node has ended", "nodeId", nodeID)
	n.PeerDead(nodeID)
	if b.controller != nil {
		b.controller.BrokerDead(nodeID, incarnationID)
	}
}

// peerClosed hears of a connection of another node that has ended: its process may have, too.
func (b *broker) peerClosed(p security.Peer) {
	if address, ok := b.addressOf(p.NodeID); ok {
		b.cluster.watch.Lost(p.NodeID, p.IncarnationID, address)
	}
}

// addressOf returns where a node listens for others.
func (b *broker) addressOf(nodeID int32) (peer.Address, bool) {
	n := b.cluster.quorum.Load()
	if n == nil {
		return peer.Address{}, false
	}
	for _, v := range n.Voters() {
		if v.NodeID == nodeID {
			return peer.ControllerAddress(v)
		}
	}
	return b.brokerAddress(nodeID)
}

// brokerAddress returns where a broker listens for other brokers.
func (b *broker) brokerAddress(nodeID int32) (peer.Address, bool) {
	registered := b.loader.Current().Broker(nodeID)
	if registered == nil {
		return peer.Address{}, false
	}
	endpoint, ok := registered.Endpoint(b.config.InterBrokerListener)
	return peer.Address{NodeID: nodeID, Host: endpoint.Host, Port: endpoint.Port}, ok
}

// callBroker sends what has to do with transactions to another broker.
func (b *broker) callBroker(ctx context.Context, nodeID int32, req kmsg.Request) (kmsg.Response, error) {
	if b.cluster == nil {
		return nil, kafka.Errorf(kafka.ErrBrokerNotAvailable, "there is no broker %d", nodeID)
	}
	address, ok := b.brokerAddress(nodeID)
	if !ok {
		return nil, kafka.Errorf(kafka.ErrBrokerNotAvailable, "the address of broker %d is not known", nodeID)
	}
	if req.Key() == wire.KeyWriteTxnMarkers {
		return b.cluster.markers.Call(ctx, address, req)
	}
	return b.cluster.enlistments.Call(ctx, address, req)
}

// pull asks a voter for what is committed of the metadata log.
func (b *broker) pull(ctx context.Context, from quorum.VoterSpec, r quorumhost.PullRequest) (quorum.Page, error) {
	resp, err := b.callVoter(ctx, from, &wire.PeerMetadataRequest{
		NodeID: r.NodeID, DirectoryID: r.DirectoryID, BrokerEpoch: b.epoch(), AfterIndex: r.After.Index, AfterEpoch: r.After.Epoch,
		MaxBytes: int32(r.MaxBytes), MaxWaitMs: int32(r.Wait.Milliseconds()),
	})
	if err != nil {
		if mismatch := (*peer.MismatchError)(nil); errors.As(err, &mismatch) {
			b.cluster.foreign.Store(&err)
		}
		return quorum.Page{}, err
	}
	p := resp.(*wire.PeerMetadataResponse)
	if p.ErrorCode != 0 {
		return quorum.Page{}, kafka.ErrorCode(p.ErrorCode)
	}
	page := quorum.Page{
		LeaderID: p.LeaderID, LeaderDirectory: p.LeaderDirectory, Epoch: p.Epoch, CommitIndex: p.CommitIndex, HighWatermark: p.HighWatermark,
		After: quorum.Position{Index: p.AfterIndex, Epoch: p.AfterEpoch}, Batches: p.Batches, Diverging: p.Diverging,
	}
	if p.HasSnapshot {
		page.Snapshot = &quorum.SnapshotID{EndOffset: p.SnapshotEndOffset, Epoch: p.SnapshotEpoch}
	}
	return page, nil
}

// fetchSnapshot asks a voter for a piece of a snapshot.
func (b *broker) fetchSnapshot(ctx context.Context, from quorum.VoterSpec, id quorum.SnapshotID, position int64, maxBytes int) ([]byte, int64, error) {
	resp, err := b.callVoter(ctx, from, &wire.PeerSnapshotRequest{EndOffset: id.EndOffset, Epoch: id.Epoch, Position: position, MaxBytes: int32(maxBytes)})
	if err != nil {
		return nil, 0, err
	}
	p := resp.(*wire.PeerSnapshotResponse)
	if p.ErrorCode != 0 {
		return nil, 0, kafka.ErrorCode(p.ErrorCode)
	}
	return p.Data, p.SizeBytes, nil
}

func (b *broker) callVoter(ctx context.Context, to quorum.VoterSpec, req kmsg.Request) (kmsg.Response, error) {
	address, ok := peer.ControllerAddress(to)
	if !ok {
		return nil, kafka.Errorf(kafka.ErrBrokerNotAvailable, "the address of voter %d is not known", to.NodeID)
	}
	return b.cluster.pulls.Call(ctx, address, req)
}

// votersChanged tells who needs to know who votes. It runs on the quorum's goroutine.
func (b *broker) votersChanged(voters []quorum.VoterSpec) {
	b.cluster.raft.SetVoters(voters)
	if b.config.IsBroker {
		b.cluster.sessions.setVoters(voters)
	}
	b.cluster.channel.LeaderChanged()
}

// leaderChanged runs on the quorum's goroutine, too.
func (b *broker) leaderChanged(l quorum.Leadership) {
	if b.controller != nil {
		b.controller.OnLeadership(l)
	}
	if b.cluster == nil {
		return
	}
	b.cluster.channel.LeaderChanged()
	if l.LeaderID != kafka.NoLeader {
		select {
		case <-b.cluster.led:
		default:
			close(b.cluster.led)
		}
	}
}

// joinQuorum makes the way to the active controller, wherever it is, and answers what other nodes ask a
// controller, now that there is a metadata log.
func (b *broker) joinQuorum() {
	c, n := b.cluster, b.quorum
	c.channel = peer.NewControllers(peer.ControllersOptions{
		Self: c.self, WaitFor: b.loader.WaitFor, Spawner: b.spawner, Metrics: b.metrics, Logger: slog.Default(), OnLost: c.watch.Lost,
		Local: b.controller, Leader: n.Leadership, Voters: n.Voters,
	})
	b.channel = c.channel
	c.quorum.Store(n)
	if !b.config.IsController {
		return
	}
	b.spawner.Go("controller-registration", b.followControllers)
	b.handlers.Add(wire.KeyPeerMetadata, &handler.PeerMetadata{Pull: n.HandlePull})
	b.handlers.Add(wire.KeyPeerSnapshot, &handler.PeerSnapshot{Read: n.HandleSnapshot})
	b.handlers.Add(wire.KeyPeerForward, &handler.PeerForward{Controller: b.controller.Handle, Quota: b.quotas})
}

// awaitLeader returns when the quorum has a leader.
func (b *broker) awaitLeader(ctx context.Context) error {
	quiet := time.NewTimer(quietDiscovery)
	defer quiet.Stop()
	for {
		select {
		case <-b.cluster.led:
			return nil
		case <-quiet.C:
			slog.Warn(b.cluster.unled())
		case <-ctx.Done():
			return fmt.Errorf("waiting for the metadata quorum to elect a leader: %w", ctx.Err())
		}
	}
}

// unled says that this node knows no leader, and whether it asks the wrong ones: its folder is another cluster's, or the addresses are.
func (c *cluster) unled() string {
	const waiting = "waiting for a leader of the metadata quorum: check that most of the controllers run and can be reached"
	if foreign := c.foreign.Load(); foreign != nil {
		return waiting + ": " + (*foreign).Error()
	}
	return waiting
}
