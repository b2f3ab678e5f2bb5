package broker

import (
	"context"
	"log/slog"
	"math"
	"time"

	"github.com/moldau/moldau/internal/controller"
	controllerhost "github.com/moldau/moldau/internal/controller/host"
	"github.com/moldau/moldau/internal/metadata"
	metadatahost "github.com/moldau/moldau/internal/metadata/host"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/quorum"
	quorumhost "github.com/moldau/moldau/internal/quorum/host"
)

// uncleanInterval is the time between unclean elections where topics allow them, Kafka's.
const uncleanInterval = 5 * time.Minute

// growInterval is the time between looks whether internal topics could have more replicas, ten partitions at a time.
const growInterval = 2 * time.Second

// startMetadata starts loader, controller and quorum. When it returns, the metadata of a node that is
// alone has everything that was ever committed, and one of several knows who leads.
func (b *broker) startMetadata() (err error) {
	b.loader = metadatahost.NewLoader(metadatahost.Options{Spawner: b.spawner, Metrics: b.metrics, OnFault: b.fault})
	if b.config.IsBroker {
		b.newReplicas()
		b.loader.Register(b.publish)
		b.loader.Follow(b.followFeatures)
	}
	b.loader.Register(b.publishDynamic)
	b.loader.Register(b.publishThrottles)
	if b.cluster != nil {
		b.loader.Register(b.publishCopies)
	}
	b.loader.Register(b.publishQuotas)
	if b.cluster != nil && b.config.IsController {
		b.loader.Follow(b.noticeController)
	}
	b.receiveTelemetry()
	b.loader.Start()
	if b.quorum, err = b.openMetadataLog(); err != nil {
		return b.whyNot(err)
	}
	if b.config.IsController {
		if err := b.newController(); err != nil {
			return err
		}
	}
	if b.cluster != nil {
		b.joinQuorum()
	} else {
		b.channel = peer.NewInProcess(b.controller, b.loader.WaitFor)
	}
	b.quorum.Start(context.WithoutCancel(b.ctx))
	b.onStop("quorum", func() error { b.quorum.Stop(); return nil })
	if b.controller != nil {
		b.controller.Start(context.WithoutCancel(b.ctx))
		b.onStop("controller", func() error { b.controller.Stop(); return nil })
	}
	if b.cluster != nil && b.config.IsController {
		b.spawner.Go("voter", b.keepVoter)
	}
	return b.awaitMetadata()
}

// openMetadataLog opens the metadata log, after finding out which cluster the node is of.
func (b *broker) openMetadataLog() (*quorumhost.Node, error) {
	self, err := b.selfSpec()
	if err != nil {
		return nil, err
	}
	o := quorumhost.Options{
		FS: b.fs, LogDir: b.config.MetadataLogDir, Self: self, Clock: b.clock, Metrics: b.metrics, Logger: slog.Default(),
		SegmentBytes: int64(b.config.MetadataSegmentBytes), SnapshotMaxBytes: b.config.MetadataMaxBytesBetweenSnapshots,
		SnapshotMaxInterval: milliseconds(b.config.MetadataMaxSnapshotIntervalMs),
		Image:               b.loader.Current, Submit: b.loader.Submit, OnLeadership: b.leaderChanged, OnFault: b.fault,
	}
	if b.cluster != nil {
		o.SendRaft, o.Pull, o.FetchSnapshot, o.OnVoters = b.cluster.raft.Send, b.pull, b.fetchSnapshot, b.votersChanged
		b.cluster.voter = self
	}
	if b.config.IsClustered() {
		return b.openQuorum(o)
	}
	id := b.dirs.ClusterID // a copy: the folders are written again, and peers ask meanwhile
	b.clusterID.Store(&id)
	o.Form = []quorum.VoterSpec{self}
	return b.openAlone(o)
}

// openAlone opens the metadata log of a node that is configured to be alone. With a controller listener others
// may have joined it: then its folder must not begin anew when the log is gone.
func (b *broker) openAlone(o quorumhost.Options) (*quorumhost.Node, error) {
	if has, err := quorum.HasLog(o.FS, o.LogDir); err != nil {
		return nil, err
	} else if !has && b.dirs.Member {
		return nil, quorum.ErrLogLost(b.dirs.ClusterID)
	}
	n, err := quorumhost.Open(o)
	if err != nil || b.cluster == nil {
		return n, err
	}
	if err := b.dirs.decide(b.fs, b.config, b.random, b.dirs.ClusterID); err != nil {
		n.Stop()
		return nil, err
	}
	return n, nil
}

func (b *broker) newController() error {
	formatted, err := metadata.ReadBootstrap(b.fs, b.config.MetadataLogDir)
	if err == nil {
		err = controller.CheckFormatted(formatted)
	}
	if err != nil {
		return err
	}
	o := controllerhost.Options{
		Controller: controller.New(controller.Options{ClusterID: b.dirs.ClusterID, Features: controller.Features(), Formatted: formatted, NodeID: b.config.NodeID, Broker: b.config,
			Balances: b.cluster != nil}),
		Random: b.random, Clock: b.clock, Metrics: b.metrics, Logger: slog.Default(),
		ProposeAsync: b.quorum.ProposeAsync, Image: b.loader.Current, WaitFor: b.loader.WaitFor, OnFault: b.fault, ChangeVoters: b.changeVoters,
	}
	if b.cluster != nil {
		o.Voters = b.voterIDs
		o.SessionTimeout = milliseconds(int64(b.config.BrokerSessionTimeoutMs))
		if b.config.LeaderRebalance {
			o.BalanceInterval = milliseconds(min(b.config.LeaderImbalanceCheckSeconds, math.MaxInt64/1000) * 1000)
		}
		o.UncleanInterval, o.GrowInterval, o.Balances = uncleanInterval, growInterval, true
	}
	b.controller = controllerhost.New(o)
	return nil
}

// awaitMetadata returns when the controller is active and this node's image has caught up, or, of several
// nodes, when one leads.
func (b *broker) awaitMetadata() error {
	ctx, cancel := b.untilFault()
	defer cancel()
	if b.cluster != nil {
		return b.whyNot(b.awaitLeader(ctx))
	}
	if err := b.controller.WaitActive(ctx); err != nil {
		return b.whyNot(err)
	}
	return b.whyNot(b.loader.WaitFor(ctx, b.quorum.HighWatermark()-1))
}
