package broker

import (
	"context"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/quota"
	"github.com/moldau/moldau/internal/replica"
	"github.com/moldau/moldau/internal/replica/follower"
	followerhost "github.com/moldau/moldau/internal/replica/follower/host"
	isrhost "github.com/moldau/moldau/internal/replica/isr/host"
	repairhost "github.com/moldau/moldau/internal/replica/repair/host"
	"github.com/moldau/moldau/internal/wire"
)

// rackAwareSelector is Kafka's name of the one selector besides the default, which is the leader.
const rackAwareSelector = "org.apache.kafka.common.replica.RackAwareReplicaSelector"

// newReplication makes what connects the replicas of this broker with those of others.
func (b *broker) newReplication() {
	c := b.cluster
	c.fetchers = followerhost.New(followerhost.Options{
		NodeID: b.config.NodeID, Dial: b.dialLeader, BrokerEpoch: b.epoch, Timeout: milliseconds(int64(b.config.ReplicaSocketTimeoutMs)),
		Limits: follower.Limits{
			MaxWaitMs: int64(b.config.ReplicaFetchWaitMaxMs), MinBytes: b.config.ReplicaFetchMinBytes, MaxBytes: b.config.ReplicaFetchResponseMaxBytes,
			PartitionMaxBytes: b.config.ReplicaFetchMaxBytes, BackoffMs: int64(b.config.ReplicaFetchBackoffMs),
		},
		Throttles: []*quota.Replication{b.throttles.follower, b.throttles.balancer},
		Clock:     b.clock, Spawner: b.spawner, Metrics: b.metrics, Logger: slog.Default(),
	})
	c.isr = isrhost.New(isrhost.Options{
		NodeID: b.config.NodeID, Send: b.alterPartition, BrokerEpoch: b.epoch, LagMaxMs: b.config.ReplicaLagMaxMs,
		Clock: b.clock, Spawner: b.spawner, Metrics: b.metrics,
	})
	c.repair = repairhost.New(repairhost.Options{NodeID: b.config.NodeID, Fetch: b.fetchOnce, Propose: c.isr.Propose, Clock: b.clock, Spawner: b.spawner, Metrics: b.metrics})
	b.replication = &replica.Cluster{
		LagMaxMs: b.config.ReplicaLagMaxMs, Follow: c.fetchers.Follow, Unfollow: c.fetchers.Unfollow, Flushed: c.fetchers.Flushed,
		Propose: c.isr.Propose, Throttle: b.throttles.leader, Mend: c.repair.Mend, BrokerEpoch: b.epoch,
		NearestByRack: b.config.ReplicaSelector == rackAwareSelector,
		Isolated:      c.sessions.isIsolated, SessionTimeout: milliseconds(int64(b.config.BrokerSessionTimeoutMs)),
	}
	b.metrics.GaugeFunc("moldau_isolated", "1 while most of the controllers have not answered this broker for broker.session.timeout.ms, and until it knows what they have decided.", func() float64 {
		if c.sessions.isIsolated() {
			return 1
		}
		return 0
	})
	b.onStop("fetchers", func() error { c.fetchers.Stop(); return nil })
}

func (b *broker) alterPartition(ctx context.Context, req *kmsg.AlterPartitionRequest) (*kmsg.AlterPartitionResponse, error) {
	resp, err := b.channel.Send(ctx, self, req)
	if err != nil {
		return nil, err
	}
	return resp.(*kmsg.AlterPartitionResponse), nil
}

// dialLeader connects to a broker to fetch from it.
func (b *broker) dialLeader(ctx context.Context, nodeID int32) (followerhost.Connection, error) {
	address, ok := b.brokerAddress(nodeID)
	if !ok {
		return followerhost.Connection{}, kafka.Errorf(kafka.ErrBrokerNotAvailable, "the address of broker %d is not known", nodeID)
	}
	conn, err := peer.Dial(ctx, peer.Options{Self: b.cluster.self, Address: address, Purpose: wire.PurposeReplica, Spawner: b.spawner, MaxInFlight: 1, ReusesMemory: true, OnLost: b.cluster.watch.Lost})
	if err != nil {
		return followerhost.Connection{}, err
	}
	return followerhost.Connection{Call: conn.Call, Close: conn.Close}, nil
}

// fetchOnce has another broker answer one fetch.
func (b *broker) fetchOnce(ctx context.Context, nodeID int32, r *kmsg.FetchRequest) (kmsg.Response, error) {
	conn, err := b.dialLeader(ctx, nodeID)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.Call(ctx, r)
}
