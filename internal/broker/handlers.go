package broker

import (
	"time"

	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/coordinator"
	"github.com/moldau/moldau/internal/handler"
	"github.com/moldau/moldau/internal/replica/fetchsession"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/wire"
)

// fillHandlers fills the table that the server was made with, before it starts.
func (b *broker) fillHandlers() {
	s := b.handlers
	if b.config.IsBroker {
		enlister := b.enlister()
		b.addDataHandlers(s, enlister)
		b.addGroupHandlers(s)
		b.addTransactionHandlers(s, enlister)
	}
	b.addAdminHandlers(s)
}

// authorizer allows everything until there is security.
var authorizer = security.AllowAll{}

func (b *broker) addDataHandlers(s *handler.Set, enlister *handler.Enlister) {
	image, data := b.loader.Current, handler.NewDataMetrics(b.metrics)
	s.Add(wire.KeyProduce, &handler.Produce{Replicas: b.replicas, Metadata: image, Authorizer: authorizer, Clock: b.clock, Metrics: data, Enlister: enlister})
	s.Add(wire.KeyFetch, &handler.Fetch{
		Replicas: b.replicas, Sessions: fetchsession.New(int(b.config.FetchSessionSlots), b.random, b.metrics), Metadata: image,
		Authorizer: authorizer, Clock: b.clock, Metrics: data, MaxBytes: int(b.config.FetchMaxBytes), Quota: b.quotas,
	})
	s.Add(wire.KeyListOffsets, &handler.ListOffsets{Replicas: b.replicas, Metadata: image, Authorizer: authorizer, Clock: b.clock})
	s.Add(wire.KeyOffsetForLeaderEpoch, &handler.OffsetForLeaderEpoch{Replicas: b.replicas, Metadata: image, Authorizer: authorizer})
	s.Add(wire.KeyDeleteRecords, &handler.DeleteRecords{Replicas: b.replicas, Metadata: image, Authorizer: authorizer})
}

func (b *broker) addTransactionHandlers(s *handler.Set, enlister *handler.Enlister) {
	image := b.loader.Current
	s.Add(wire.KeyInitProducerID, &handler.InitProducerID{Authorizer: authorizer, IDs: b.producerIDs, Transactions: b.transactions})
	s.Add(wire.KeyAddPartitionsToTxn, &handler.AddPartitionsToTxn{Transactions: b.transactions, Authorizer: authorizer, Metadata: image})
	s.Add(wire.KeyAddOffsetsToTxn, &handler.AddOffsetsToTxn{Transactions: b.transactions, Groups: b.groups, Authorizer: authorizer})
	s.Add(wire.KeyEndTxn, &handler.EndTxn{Transactions: b.transactions, Authorizer: authorizer})
	s.Add(wire.KeyWriteTxnMarkers, &handler.WriteTxnMarkers{Markers: b.markers, Authorizer: authorizer})
	s.Add(wire.KeyTxnOffsetCommit, &handler.TxnOffsetCommit{Groups: b.groups, Enlister: enlister, Authorizer: authorizer, Metadata: image})
	s.Add(wire.KeyDescribeProducers, &handler.DescribeProducers{Replicas: b.replicas, Metadata: image, Authorizer: authorizer})
	s.Add(wire.KeyDescribeTransactions, &handler.DescribeTransactions{Transactions: b.transactions, Authorizer: authorizer})
	s.Add(wire.KeyListTransactions, &handler.ListTransactions{Transactions: b.transactions, Authorizer: authorizer})
}

func (b *broker) enlister() *handler.Enlister {
	coordinators := coordinator.NewEnlistments(b.transactions)
	return &handler.Enlister{
		StartVerification: b.replicas.StartVerification, AddPartitions: coordinators.AddPartitions, VerifyPartitions: coordinators.VerifyPartitions,
		NowMs:        func() int64 { return b.clock.Now().UnixMilli() },
		RetryBackoff: time.Duration(b.config.AddPartitionsRetryBackoffMs) * time.Millisecond,
		RetryFor:     time.Duration(b.config.AddPartitionsRetryBackoffMaxMs) * time.Millisecond,
		Verifies:     b.verifiesTransactions,
	}
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
	findCoordinator := &handler.FindCoordinator{Authorizer: authorizer, Metadata: image, Controller: b.channel, OffsetsTopic: b.offsetsTopic(), TransactionTopic: b.transactionTopic()}
	s.Add(wire.KeyFindCoordinator, findCoordinator)
	s.Add(wire.KeyMetadata, &handler.Metadata{
		NodeID: b.config.NodeID, ClusterID: b.dirs.ClusterID, Image: image, Authorizer: authorizer, Controller: b.channel,
		AutoCreateTopics: b.config.AutoCreateTopics, Coordinators: findCoordinator, Quota: b.quotas,
	})
	s.Add(wire.KeyAPIVersions, &handler.APIVersions{Set: s, Features: controller.Features(), Metadata: image})
	s.Add(wire.KeyCreateTopics, &handler.CreateTopics{Authorizer: authorizer, Controller: b.channel, Quota: b.quotas})
	s.Add(wire.KeyDeleteTopics, &handler.DeleteTopics{Image: image, Authorizer: authorizer, Controller: b.channel, Quota: b.quotas})
	s.Add(wire.KeyAlterReplicaLogDirs, &handler.AlterReplicaLogDirs{Replicas: b.replicas, Authorizer: authorizer})
	s.Add(wire.KeyDescribeLogDirs, &handler.DescribeLogDirs{Storage: b.storage, Authorizer: authorizer})
	s.Add(wire.KeyCreatePartitions, &handler.CreatePartitions{Authorizer: authorizer, Controller: b.channel, Quota: b.quotas})
	s.Add(wire.KeyDescribeConfigs, &handler.DescribeConfigs{NodeID: b.config.NodeID, Image: image, Authorizer: authorizer, Static: b.config, LogLevel: b.logLevel})
	s.Add(wire.KeyAlterConfigs, &handler.AlterConfigs{NodeID: b.config.NodeID, Authorizer: authorizer, Controller: b.channel, CheckOwn: b.checkOwnConfigs})
	s.Add(wire.KeyIncrementalAlterConfigs, &handler.IncrementalAlterConfigs{NodeID: b.config.NodeID, Authorizer: authorizer, Controller: b.channel, CheckOwn: b.checkOwnConfigs, LogLevel: b.logLevel})
	s.Add(wire.KeyDescribeCluster, &handler.DescribeCluster{NodeID: b.config.NodeID, ClusterID: b.dirs.ClusterID, Image: image, Authorizer: authorizer, Quorum: b.knownQuorum, Controller: b.channel})
	s.Add(wire.KeyElectLeaders, &handler.ElectLeaders{Authorizer: authorizer, Controller: b.channel})
	s.Add(wire.KeyAlterPartitionReassignments, &handler.AlterPartitionReassignments{Authorizer: authorizer, Controller: b.channel})
	s.Add(wire.KeyListPartitionReassignments, &handler.ListPartitionReassignments{Image: image, Authorizer: authorizer})
	s.Add(wire.KeyDescribeClientQuotas, &handler.DescribeClientQuotas{Image: image, Authorizer: authorizer})
	s.Add(wire.KeyAlterClientQuotas, &handler.AlterClientQuotas{Authorizer: authorizer, Controller: b.channel, Resolve: resolveHost})
	s.Add(wire.KeyDescribeQuorum, &handler.DescribeQuorum{Quorum: b.describeQuorum, Authorizer: authorizer})
	s.Add(wire.KeyUpdateFeatures, &handler.UpdateFeatures{Authorizer: authorizer, Controller: b.channel})
	if b.telemetry != nil {
		s.Add(wire.KeyGetTelemetrySubscriptions, &handler.GetTelemetrySubscriptions{Telemetry: b.telemetry, Clock: b.clock, Random: b.random})
		s.Add(wire.KeyPushTelemetry, &handler.PushTelemetry{Telemetry: b.telemetry, Clock: b.clock})
	}
	s.Add(wire.KeyAddRaftVoter, &handler.AddRaftVoter{Authorizer: authorizer, Controller: b.channel})
	s.Add(wire.KeyRemoveRaftVoter, &handler.RemoveRaftVoter{Authorizer: authorizer, Controller: b.channel})
	s.Add(wire.KeyUnregisterBroker, &handler.UnregisterBroker{Authorizer: authorizer, Controller: b.channel})
	s.Add(wire.KeyListConfigResources, &handler.ListConfigResources{Image: image, Authorizer: authorizer})
	s.Add(wire.KeyDescribeACLs, handler.DescribeACLs{})
	s.Add(wire.KeyCreateACLs, handler.CreateACLs{})
	s.Add(wire.KeyDeleteACLs, handler.DeleteACLs{})
	s.Add(wire.KeyCreateDelegationToken, handler.CreateDelegationToken{})
	s.Add(wire.KeyRenewDelegationToken, handler.RenewDelegationToken{})
	s.Add(wire.KeyExpireDelegationToken, handler.ExpireDelegationToken{})
	s.Add(wire.KeyDescribeDelegationToken, handler.DescribeDelegationToken{})
	s.Add(wire.KeyDescribeUserSCRAMCredentials, &handler.DescribeUserSCRAMCredentials{Authorizer: authorizer})
	s.Add(wire.KeyAlterUserSCRAMCredentials, handler.AlterUserSCRAMCredentials{})
	s.Add(wire.KeyDescribeTopicPartitions, &handler.DescribeTopicPartitions{Image: image, Authorizer: authorizer, MaxPartitions: b.config.MaxPartitionsPerRequest})
}

// offsetsTopic is what __consumer_offsets is created with. A replication factor that nobody
// chose follows the number of brokers.
func (b *broker) offsetsTopic() handler.CoordinatorTopic {
	replicas := int16(-1)
	if b.config.Explicit("offsets.topic.replication.factor") {
		replicas = b.config.OffsetsTopicReplicationFactor
	}
	return handler.NewOffsetsTopic(b.config.OffsetsTopicPartitions, replicas, b.config.OffsetsTopicSegmentBytes)
}

// transactionTopic is what __transaction_state is created with.
func (b *broker) transactionTopic() handler.CoordinatorTopic {
	replicas := int16(-1)
	if b.config.Explicit("transaction.state.log.replication.factor") {
		replicas = b.config.TransactionTopicReplicationFactor
	}
	return handler.NewTransactionTopic(b.config.TransactionTopicPartitions, replicas, b.config.TransactionTopicSegmentBytes, b.config.TransactionTopicMinInSyncReplicas)
}
