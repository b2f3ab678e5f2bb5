package wire

import "github.com/twmb/franz-go/pkg/kmsg"

// Keys of the APIs that Moldau serves.
const (
	KeyProduce                      int16 = 0
	KeyFetch                        int16 = 1
	KeyListOffsets                  int16 = 2
	KeyMetadata                     int16 = 3
	KeyOffsetCommit                 int16 = 8
	KeyOffsetFetch                  int16 = 9
	KeyFindCoordinator              int16 = 10
	KeyJoinGroup                    int16 = 11
	KeyHeartbeat                    int16 = 12
	KeyLeaveGroup                   int16 = 13
	KeySyncGroup                    int16 = 14
	KeyDescribeGroups               int16 = 15
	KeyListGroups                   int16 = 16
	KeyAPIVersions                  int16 = 18
	KeyCreateTopics                 int16 = 19
	KeyDeleteTopics                 int16 = 20
	KeyDeleteRecords                int16 = 21
	KeyInitProducerID               int16 = 22
	KeyOffsetForLeaderEpoch         int16 = 23
	KeyAddPartitionsToTxn           int16 = 24
	KeyAddOffsetsToTxn              int16 = 25
	KeyEndTxn                       int16 = 26
	KeyWriteTxnMarkers              int16 = 27
	KeyTxnOffsetCommit              int16 = 28
	KeyDescribeACLs                 int16 = 29
	KeyCreateACLs                   int16 = 30
	KeyDeleteACLs                   int16 = 31
	KeyDescribeConfigs              int16 = 32
	KeyAlterConfigs                 int16 = 33
	KeyAlterReplicaLogDirs          int16 = 34
	KeyDescribeLogDirs              int16 = 35
	KeyCreatePartitions             int16 = 37
	KeyCreateDelegationToken        int16 = 38
	KeyRenewDelegationToken         int16 = 39
	KeyExpireDelegationToken        int16 = 40
	KeyDescribeDelegationToken      int16 = 41
	KeyDeleteGroups                 int16 = 42
	KeyElectLeaders                 int16 = 43
	KeyIncrementalAlterConfigs      int16 = 44
	KeyAlterPartitionReassignments  int16 = 45
	KeyListPartitionReassignments   int16 = 46
	KeyOffsetDelete                 int16 = 47
	KeyDescribeClientQuotas         int16 = 48
	KeyAlterClientQuotas            int16 = 49
	KeyDescribeUserSCRAMCredentials int16 = 50
	KeyAlterUserSCRAMCredentials    int16 = 51
	KeyDescribeQuorum               int16 = 55
	KeyUpdateFeatures               int16 = 57
	KeyDescribeCluster              int16 = 60
	KeyDescribeProducers            int16 = 61
	KeyUnregisterBroker             int16 = 64
	KeyDescribeTransactions         int16 = 65
	KeyListTransactions             int16 = 66
	KeyGetTelemetrySubscriptions    int16 = 71
	KeyPushTelemetry                int16 = 72
	KeyListConfigResources          int16 = 74
	KeyDescribeTopicPartitions      int16 = 75
	KeyAddRaftVoter                 int16 = 80
	KeyRemoveRaftVoter              int16 = 81
)

// ListenerKind says which listeners serve an API.
type ListenerKind uint8

// The kinds of listeners; a row may name both. PeersOnly is no listener: with it an API is served only to
// nodes of the same cluster, which have said who they are (PeerHello), on listeners for them (CVE-2018-1288).
const (
	BrokerListener ListenerKind = 1 << iota
	ControllerListener
	PeersOnly
)

// NeverFlexible is the FlexibleFrom of an API without tagged fields in any version.
const NeverFlexible int16 = 1<<15 - 1

// API is one row of the version table. The ranges are Apache Kafka 4.3's.
type API struct {
	Key  int16
	Name string
	// MinAdvertised to MaxAdvertised is what ApiVersions answers (PeersOnly: what is served).
	MinAdvertised int16
	MaxAdvertised int16
	// MinServed is the lowest version answered. It is above MinAdvertised for Produce only:
	// librdkafka takes a broker without Produce 0 for one without compression (KAFKA-18659).
	MinServed int16
	// FlexibleFrom is the first version with tagged fields and header version 2.
	FlexibleFrom int16
	Listeners    ListenerKind
}

const both = BrokerListener | ControllerListener

// apis is sorted by key. Do not add a row before its semantics are there: clients switch
// features on by a key's or version's presence.
var apis = []API{
	{KeyProduce, "Produce", 0, 13, 3, 9, BrokerListener},
	// Kafka's controllers serve their log's records to each other; there is nobody else here.
	{KeyFetch, "Fetch", 4, 18, 4, 12, BrokerListener},
	{KeyListOffsets, "ListOffsets", 1, 11, 1, 6, BrokerListener},
	{KeyMetadata, "Metadata", 0, 13, 0, 9, BrokerListener},
	{KeyOffsetCommit, "OffsetCommit", 2, 10, 2, 8, BrokerListener},
	{KeyOffsetFetch, "OffsetFetch", 1, 10, 1, 6, BrokerListener},
	{KeyFindCoordinator, "FindCoordinator", 0, 6, 0, 3, BrokerListener},
	{KeyJoinGroup, "JoinGroup", 0, 9, 0, 6, BrokerListener},
	{KeyHeartbeat, "Heartbeat", 0, 4, 0, 4, BrokerListener},
	{KeyLeaveGroup, "LeaveGroup", 0, 5, 0, 4, BrokerListener},
	{KeySyncGroup, "SyncGroup", 0, 5, 0, 4, BrokerListener},
	{KeyDescribeGroups, "DescribeGroups", 0, 6, 0, 5, BrokerListener},
	{KeyListGroups, "ListGroups", 0, 5, 0, 3, BrokerListener},
	{KeyAPIVersions, "ApiVersions", 0, 4, 0, 3, both},
	{KeyCreateTopics, "CreateTopics", 2, 7, 2, 5, both},
	{KeyDeleteTopics, "DeleteTopics", 1, 6, 1, 4, both},
	{KeyDeleteRecords, "DeleteRecords", 0, 2, 0, 2, BrokerListener},
	// Version 6 (two-phase commit) is unstable in 4.3 and not advertised there either.
	{KeyInitProducerID, "InitProducerId", 0, 5, 0, 2, BrokerListener},
	{KeyOffsetForLeaderEpoch, "OffsetForLeaderEpoch", 2, 4, 2, 4, BrokerListener},
	{KeyAddPartitionsToTxn, "AddPartitionsToTxn", 0, 5, 0, 3, BrokerListener},
	{KeyAddOffsetsToTxn, "AddOffsetsToTxn", 0, 4, 0, 3, BrokerListener},
	{KeyEndTxn, "EndTxn", 0, 5, 0, 3, BrokerListener},
	{KeyWriteTxnMarkers, "WriteTxnMarkers", 1, 2, 1, 1, BrokerListener},
	{KeyTxnOffsetCommit, "TxnOffsetCommit", 0, 5, 0, 3, BrokerListener},
	{KeyDescribeACLs, "DescribeAcls", 1, 3, 1, 2, both},
	{KeyCreateACLs, "CreateAcls", 1, 3, 1, 2, both},
	{KeyDeleteACLs, "DeleteAcls", 1, 3, 1, 2, both},
	{KeyDescribeConfigs, "DescribeConfigs", 1, 4, 1, 4, both},
	{KeyAlterConfigs, "AlterConfigs", 0, 2, 0, 2, both},
	{KeyAlterReplicaLogDirs, "AlterReplicaLogDirs", 1, 2, 1, 2, BrokerListener},
	{KeyDescribeLogDirs, "DescribeLogDirs", 1, 5, 1, 2, BrokerListener},
	{KeyCreatePartitions, "CreatePartitions", 0, 3, 0, 2, both},
	{KeyCreateDelegationToken, "CreateDelegationToken", 1, 3, 1, 2, both},
	{KeyRenewDelegationToken, "RenewDelegationToken", 1, 2, 1, 2, both},
	{KeyExpireDelegationToken, "ExpireDelegationToken", 1, 2, 1, 2, both},
	{KeyDescribeDelegationToken, "DescribeDelegationToken", 1, 3, 1, 2, both},
	{KeyDeleteGroups, "DeleteGroups", 0, 2, 0, 2, BrokerListener},
	{KeyElectLeaders, "ElectLeaders", 0, 2, 0, 2, both},
	{KeyIncrementalAlterConfigs, "IncrementalAlterConfigs", 0, 1, 0, 1, both},
	{KeyAlterPartitionReassignments, "AlterPartitionReassignments", 0, 1, 0, 0, both},
	{KeyListPartitionReassignments, "ListPartitionReassignments", 0, 0, 0, 0, both},
	{KeyOffsetDelete, "OffsetDelete", 0, 0, 0, NeverFlexible, BrokerListener},
	{KeyDescribeClientQuotas, "DescribeClientQuotas", 0, 1, 0, 1, BrokerListener},
	{KeyAlterClientQuotas, "AlterClientQuotas", 0, 1, 0, 1, both},
	{KeyDescribeUserSCRAMCredentials, "DescribeUserScramCredentials", 0, 0, 0, 0, both},
	{KeyAlterUserSCRAMCredentials, "AlterUserScramCredentials", 0, 0, 0, 0, both},
	{KeyDescribeQuorum, "DescribeQuorum", 0, 2, 0, 0, both},
	{KeyUpdateFeatures, "UpdateFeatures", 0, 2, 0, 0, both},
	{KeyDescribeCluster, "DescribeCluster", 0, 2, 0, 0, both},
	{KeyDescribeProducers, "DescribeProducers", 0, 0, 0, 0, BrokerListener},
	{KeyUnregisterBroker, "UnregisterBroker", 0, 0, 0, 0, both},
	{KeyDescribeTransactions, "DescribeTransactions", 0, 0, 0, 0, BrokerListener},
	{KeyListTransactions, "ListTransactions", 0, 2, 0, 0, BrokerListener},
	// The next two have handlers, and so are advertised, only where clients' metrics are received.
	{KeyGetTelemetrySubscriptions, "GetTelemetrySubscriptions", 0, 0, 0, 0, BrokerListener},
	{KeyPushTelemetry, "PushTelemetry", 0, 0, 0, 0, BrokerListener},
	{KeyListConfigResources, "ListConfigResources", 0, 1, 0, 0, BrokerListener},
	{KeyDescribeTopicPartitions, "DescribeTopicPartitions", 0, 0, 0, 0, BrokerListener},
	{KeyAddRaftVoter, "AddRaftVoter", 0, 1, 0, 0, both},
	{KeyRemoveRaftVoter, "RemoveRaftVoter", 0, 0, 0, 0, both},
}

// APIs returns the version table, sorted by key. The caller must not change it.
func APIs() []API { return apis }

// LookupAPI returns the row of a key that clients may send.
func LookupAPI(key int16) (*API, bool) { return lookup(apis, key) }

// Serves reports whether version is answered.
func (a *API) Serves(version int16) bool {
	return version >= a.MinServed && version <= a.MaxAdvertised
}

// IsFlexible reports whether version has tagged fields.
func (a *API) IsFlexible(version int16) bool { return version >= a.FlexibleFrom }

// NewRequest returns an empty request of the row's key in version.
func (a *API) NewRequest(version int16) kmsg.Request {
	request := newRequest(a.Key)
	request.SetVersion(version)
	return request
}
