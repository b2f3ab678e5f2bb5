package broker

import (
	"context"

	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/coordinator"
	"github.com/moldau/moldau/internal/group"
	"github.com/moldau/moldau/internal/handler"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/replica"
	"github.com/moldau/moldau/internal/server"
	storagehost "github.com/moldau/moldau/internal/storage/host"
	"github.com/moldau/moldau/internal/txn"
)

const msPerMinute = 60_000

// newReplicas makes the parts that follow the metadata, before the loader starts.
func (b *broker) newReplicas() {
	b.noteBatchBytes(metadata.EmptyImage())
	if b.cluster != nil {
		b.newReplication()
	}
	b.replicas = replica.New(replica.Options{Cluster: b.replication,
		NodeID: b.config.NodeID, Storage: b.storage, Metrics: b.metrics, Clock: b.clock,
		TopicConfig: b.configs.topic, OnMisplaced: b.signalDirs, MaxWaiting: maxWaiting, FetchMemoryBytes: server.MemoryBytes() / 4,
	})
	b.groups = coordinator.NewGroups(coordinator.GroupsOptions{
		NodeID: b.config.NodeID, Log: b.replicas, Clock: b.clock, Random: b.random, Spawner: b.spawner, Metrics: b.metrics, CommitTimeout: milliseconds(int64(b.config.OffsetsCommitTimeoutMs)),
		Config: group.Config{
			MinSessionTimeoutMs:        b.config.GroupMinSessionTimeoutMs,
			MaxSessionTimeoutMs:        b.config.GroupMaxSessionTimeoutMs,
			MaxSize:                    b.config.GroupMaxSize,
			InitialRebalanceDelayMs:    b.config.GroupInitialRebalanceDelayMs,
			OffsetMetadataMaxSizeBytes: b.config.OffsetMetadataMaxBytes,
			OffsetsRetentionMs:         int64(b.config.OffsetsRetentionMinutes) * msPerMinute,
			RetentionCheckIntervalMs:   b.config.OffsetsRetentionCheckMs,
			MaxBatchSizeBytes:          b.offsetsBatchBytes.Load,
		},
	})
	b.markers = &coordinator.Markers{Replicas: b.replicas, Groups: b.groups, Clock: b.clock}
	b.transactions = coordinator.NewTransactions(coordinator.TransactionsOptions{
		NodeID: b.config.NodeID, Log: b.replicas, Clock: b.clock, Spawner: b.spawner, Metrics: b.metrics, Markers: b.markers, Call: b.callBroker,
		NextProducerID: func(ctx context.Context) (int64, error) { return b.producerIDs.Next(ctx) },
		Config: txn.Config{
			MaxTimeoutMs:         b.config.TransactionMaxTimeoutMs,
			ExpirationMs:         int64(b.config.TransactionalIDExpirationMs),
			AbortCheckIntervalMs: int64(b.config.TransactionAbortCheckIntervalMs),
			ExpiryIntervalMs:     int64(b.config.TransactionExpiryCheckIntervalMs),
			TransactionVersion: func() int16 {
				return b.loader.Current().FeatureLevel(controller.TransactionVersionFeature)
			},
			MaxBatchSizeBytes: b.transactionBatchBytes.Load,
		},
	})
}

// noteBatchBytes notes max.message.bytes of the coordinators' topics.
func (b *broker) noteBatchBytes(image *metadata.Image) {
	b.offsetsBatchBytes.Store(int32(b.configs.topic(image, kafka.ConsumerOffsetsTopic).Log.MaxMessageBytes))
	b.transactionBatchBytes.Store(int32(b.configs.topic(image, kafka.TransactionStateTopic).Log.MaxMessageBytes))
}

// publish takes each new image to the parts that follow it, on the loader's goroutine. The
// replicas come first: a coordinator loads its shards from the partitions that they lead.
func (b *broker) publish(image *metadata.Image, delta *metadata.Delta) {
	b.replicas.Apply(image, delta)
	if len(delta.ChangedConfigs()) > 0 {
		b.noteBatchBytes(image)
	}
	if b.hosting.Load() {
		b.groups.Publish(image, delta)
		b.transactions.Publish(image, delta)
	}
}

// followFeatures has the controller know the log dirs, where metadata.version has them known from now on.
func (b *broker) followFeatures(_ *metadata.Image, delta *metadata.Delta) {
	if len(delta.ChangedFeatures()) > 0 {
		b.signalListeners()
		b.signalDirs()
	}
}

// startReplicas begins to host partitions. Coordinators get theirs when the broker is unfenced:
// every partition then has a new leader epoch.
func (b *broker) startReplicas() error {
	if err := b.replicas.Start(); err != nil {
		return err
	}
	b.expireProducers()
	b.producerIDs = handler.NewProducerIDs(b.config.NodeID, b.epoch, b.channel)
	b.hosting.Store(true)
	if b.config.CleanerEnabled {
		b.maintenance.StartCleaners(b.cleanerLimits)
	}
	b.maintenance.StartMover(storagehost.MoverOptions{Finish: b.replicas.FinishMove, MaxBytesPerSecond: b.moveBytesPerSecond})
	if b.cluster != nil {
		b.cluster.isr.Start(b.replicas.CheckLag)
		b.spawner.Go("isolation", b.followIsolation)
		b.cluster.repair.Start()
	}
	b.onStop("replicas", func() error { b.replicas.Stop(); return nil })
	b.groups.Start()
	b.transactions.Start()
	return nil
}
