package broker

import (
	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/handler"
	"github.com/moldau/moldau/internal/replica/fetchsession"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/wire"
)

// fillHandlers fills the table that the server was made with, before it starts.
func (b *broker) fillHandlers() {
	s := b.handlers
	b.addDataHandlers(s)
	b.addGroupHandlers(s)
	b.addAdminHandlers(s)
}

// authorizer allows everything until there is security.
var authorizer = security.AllowAll{}

func (b *broker) addDataHandlers(s *handler.Set) {
	image, data := b.loader.Current, handler.NewDataMetrics(b.metrics)
	s.Add(wire.KeyProduce, &handler.Produce{Replicas: b.replicas, Metadata: image, Authorizer: authorizer, Clock: b.clock, Metrics: data})
	s.Add(wire.KeyFetch, &handler.Fetch{
		Replicas: b.replicas, Sessions: fetchsession.New(int(b.config.FetchSessionSlots), b.random, b.metrics), Metadata: image,
		Authorizer: authorizer, Clock: b.clock, Metrics: data, MaxBytes: int(b.config.FetchMaxBytes),
	})
	s.Add(wire.KeyListOffsets, &handler.ListOffsets{Replicas: b.replicas, Metadata: image, Authorizer: authorizer, Clock: b.clock})
	s.Add(wire.KeyOffsetForLeaderEpoch, &handler.OffsetForLeaderEpoch{Replicas: b.replicas, Metadata: image, Authorizer: authorizer})
	s.Add(wire.KeyDeleteRecords, &handler.DeleteRecords{Replicas: b.replicas, Metadata: image, Authorizer: authorizer})
	s.Add(wire.KeyInitProducerID, &handler.InitProducerID{
		Authorizer: authorizer,
		IDs:        handler.NewProducerIDs(b.config.NodeID, func() int64 { return b.epoch }, b.channel),
	})
}

func (b *broker) addGroupHandlers(s *handler.Set) {
	image := b.loader.Current
	s.Add(wire.KeyOffsetCommit, &handler.OffsetCommit{Groups: b.groups, Authorizer: authorizer, Metadata: image})
	s.Add(wire.KeyOffsetFetch, &handler.OffsetFetch{Groups: b.groups, Authorizer: authorizer, Metadata: image})
	s.Add(wire.KeyJoinGroup, &handler.JoinGroup{Groups: b.groups, Authorizer: authorizer})
	s.Add(wire.KeyHeartbeat, &handler.Heartbeat{Groups: b.groups, Authorizer: authorizer})
	s.Add(wire.KeyLeaveGroup, &handler.LeaveGroup{Groups: b.groups, Authorizer: authorizer})
	s.Add(wire.KeySyncGroup, &handler.SyncGroup{Groups: b.groups, Authorizer: authorizer})
	s.Add(wire.KeyDescribeGroups, &handler.DescribeGroups{Groups: b.groups, Authorizer: authorizer})
	s.Add(wire.KeyListGroups, &handler.ListGroups{Groups: b.groups, Authorizer: authorizer})
	s.Add(wire.KeyDeleteGroups, &handler.DeleteGroups{Groups: b.groups, Authorizer: authorizer})
	s.Add(wire.KeyOffsetDelete, &handler.OffsetDelete{Groups: b.groups, Authorizer: authorizer, Metadata: image})
}

func (b *broker) addAdminHandlers(s *handler.Set) {
	image := b.loader.Current
	findCoordinator := &handler.FindCoordinator{Authorizer: authorizer, Metadata: image, Controller: b.channel, OffsetsTopic: b.offsetsTopic()}
	s.Add(wire.KeyFindCoordinator, findCoordinator)
	s.Add(wire.KeyMetadata, &handler.Metadata{
		NodeID: b.config.NodeID, ClusterID: b.dirs.ClusterID, Image: image, Authorizer: authorizer, Controller: b.channel,
		AutoCreateTopics: b.config.AutoCreateTopics, Groups: findCoordinator,
	})
	s.Add(wire.KeyAPIVersions, &handler.APIVersions{Set: s, Features: controller.Features(), Metadata: image})
	s.Add(wire.KeyCreateTopics, &handler.CreateTopics{Authorizer: authorizer, Controller: b.channel})
	s.Add(wire.KeyDeleteTopics, &handler.DeleteTopics{Image: image, Authorizer: authorizer, Controller: b.channel})
	s.Add(wire.KeyDescribeLogDirs, &handler.DescribeLogDirs{Storage: b.storage, Authorizer: authorizer})
	s.Add(wire.KeyCreatePartitions, &handler.CreatePartitions{Authorizer: authorizer, Controller: b.channel})
	s.Add(wire.KeyDescribeConfigs, &handler.DescribeConfigs{NodeID: b.config.NodeID, Image: image, Authorizer: authorizer, Static: b.config, LogLevel: b.logLevel})
	s.Add(wire.KeyAlterConfigs, &handler.AlterConfigs{NodeID: b.config.NodeID, Authorizer: authorizer, Controller: b.channel})
	s.Add(wire.KeyIncrementalAlterConfigs, &handler.IncrementalAlterConfigs{NodeID: b.config.NodeID, Authorizer: authorizer, Controller: b.channel, LogLevel: b.logLevel})
	s.Add(wire.KeyDescribeCluster, &handler.DescribeCluster{NodeID: b.config.NodeID, ClusterID: b.dirs.ClusterID, Image: image, Authorizer: authorizer})
	s.Add(wire.KeyDescribeTopicPartitions, &handler.DescribeTopicPartitions{Image: image, Authorizer: authorizer, MaxPartitions: b.config.MaxPartitionsPerRequest})
}

// offsetsTopic is what __consumer_offsets is created with. A replication factor that nobody
// chose follows the number of brokers.
func (b *broker) offsetsTopic() handler.OffsetsTopic {
	t := handler.OffsetsTopic{Partitions: b.config.OffsetsTopicPartitions, ReplicationFactor: -1, SegmentSizeBytes: b.config.OffsetsTopicSegmentBytes}
	if b.config.Explicit("offsets.topic.replication.factor") {
		t.ReplicationFactor = b.config.OffsetsTopicReplicationFactor
	}
	return t
}
