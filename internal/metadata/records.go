package metadata

import "github.com/moldau/moldau/internal/kafka"

// Record is one metadata record. The set of implementations is closed: it is this package's
// table of record types, and records are always used through pointers.
type Record interface {
	// Type is the API key under which the record is stored.
	Type() RecordType
	// visit walks the fields of one schema version in their order on disk.
	visit(v visitor, version int16)
}

// Values of optional fields in change records that mean "as before".
const (
	NoLeaderChange              int32 = -2
	NoLeaderRecoveryStateChange int8  = -1
)

// Leader recovery states: RecoveringLeader marks a leader that was elected uncleanly.
const (
	RecoveredLeader  int8 = 0
	RecoveringLeader int8 = 1
	// DamagedReplica is none: in AlterPartition it says that the broker asks for another leader epoch, in which it
	// will cut off damaged data. Moldau's own.
	DamagedReplica int8 = 2
)

// Endpoint is one listener of a broker or controller as it is registered.
type Endpoint struct {
	Name             string
	Host             string
	Port             uint16
	SecurityProtocol int16
}

// SupportedFeature is a range of levels of one feature that a node supports.
type SupportedFeature struct {
	Name       string
	MinVersion int16
	MaxVersion int16
}

// RegisterBrokerRecord registers one incarnation of a broker.
type RegisterBrokerRecord struct {
	BrokerID             int32
	IsMigratingZkBroker  bool
	IncarnationID        kafka.UUID
	BrokerEpoch          int64
	Endpoints            []Endpoint
	Features             []SupportedFeature
	Rack                 *string
	Fenced               bool
	InControlledShutdown bool
	LogDirs              []kafka.UUID
	CordonedLogDirs      []kafka.UUID // nil: the broker has not said yet
}

// UnregisterBrokerRecord removes a broker.
type UnregisterBrokerRecord struct {
	BrokerID    int32
	BrokerEpoch int64
}

// TopicRecord creates a topic; its partitions follow as PartitionRecords.
type TopicRecord struct {
	Name    string
	TopicID kafka.UUID
}

// PartitionRecord creates a partition, or states it anew.
type PartitionRecord struct {
	PartitionID            int32
	TopicID                kafka.UUID
	Replicas               []int32
	ISR                    []int32
	RemovingReplicas       []int32
	AddingReplicas         []int32
	Leader                 int32
	LeaderRecoveryState    int8
	LeaderEpoch            int32
	PartitionEpoch         int32
	Directories            []kafka.UUID
	EligibleLeaderReplicas []int32 // nil when there are none
	LastKnownELR           []int32 // nil when there are none
	// Balancing says that the balancer has begun the reassignment: a field of Moldau's own.
	Balancing bool
}

// ConfigRecord sets one config of a resource, or removes it where Value is nil.
type ConfigRecord struct {
	ResourceType kafka.ConfigResourceType
	ResourceName string
	Name         string
	Value        *string
}

// PartitionChangeRecord changes a partition: nil lists, NoLeaderChange and
// NoLeaderRecoveryStateChange leave things as they are. Make one with NewPartitionChangeRecord.
type PartitionChangeRecord struct {
	PartitionID            int32
	TopicID                kafka.UUID
	ISR                    []int32
	Leader                 int32
	Replicas               []int32
	RemovingReplicas       []int32
	AddingReplicas         []int32
	LeaderRecoveryState    int8
	Directories            []kafka.UUID
	EligibleLeaderReplicas []int32
	LastKnownELR           []int32
	// Balancing counts where a reassignment begins or ends: where AddingReplicas or RemovingReplicas is given.
	Balancing bool
}

// NewPartitionChangeRecord returns a record that changes nothing of the partition yet.
func NewPartitionChangeRecord(topicID kafka.UUID, partitionID int32) *PartitionChangeRecord {
	r := newPartitionChangeRecord()
	r.TopicID, r.PartitionID = topicID, partitionID
	return r
}

func newPartitionChangeRecord() *PartitionChangeRecord {
	return &PartitionChangeRecord{Leader: NoLeaderChange, LeaderRecoveryState: NoLeaderRecoveryStateChange}
}

// FenceBrokerRecord fences a broker (written by old metadata versions only).
type FenceBrokerRecord struct {
	ID    int32
	Epoch int64
}

// UnfenceBrokerRecord unfences a broker (written by old metadata versions only).
type UnfenceBrokerRecord struct {
	ID    int32
	Epoch int64
}

// RemoveTopicRecord removes a topic with its partitions and configs.
type RemoveTopicRecord struct {
	TopicID kafka.UUID
}

// FeatureLevelRecord finalizes the level of a feature; level 0 removes it.
type FeatureLevelRecord struct {
	Name         string
	FeatureLevel int16
}

// ClientQuotaRecord sets or removes one limit of an entity.
type ClientQuotaRecord struct {
	Entity []QuotaEntityPart
	Key    string
	Value  float64 // of no meaning where Remove is set
	Remove bool
}

// ProducerIDsRecord hands a block of producer ids to a broker: NextProducerID is the first
// id of the next block.
type ProducerIDsRecord struct {
	BrokerID       int32
	BrokerEpoch    int64
	NextProducerID int64
}

// Changes that a BrokerRegistrationChangeRecord's Fenced field can ask for.
const (
	FencingUnfence  int8 = -1
	FencingNoChange int8 = 0
	FencingFence    int8 = 1
)

// BrokerRegistrationChangeRecord changes a registered broker. Zero values, an empty LogDirs
// and a nil CordonedLogDirs mean no change.
type BrokerRegistrationChangeRecord struct {
	BrokerID             int32
	BrokerEpoch          int64
	Fenced               int8
	InControlledShutdown int8
	LogDirs              []kafka.UUID
	CordonedLogDirs      []kafka.UUID
}

// NoOpRecord changes nothing; it only moves the log's end.
type NoOpRecord struct{}

// BeginTransactionRecord opens a metadata transaction. Apache Kafka brackets its bootstrap
// records so; Moldau writes whole batches instead.
type BeginTransactionRecord struct {
	Name *string
}

// EndTransactionRecord makes the records since BeginTransactionRecord valid.
type EndTransactionRecord struct{}

// AbortTransactionRecord drops the records since BeginTransactionRecord.
type AbortTransactionRecord struct {
	Reason *string
}

// RegisterControllerRecord registers one incarnation of a controller.
type RegisterControllerRecord struct {
	ControllerID     int32
	IncarnationID    kafka.UUID
	ZkMigrationReady bool
	Endpoints        []Endpoint
	Features         []SupportedFeature
}

// ClearELRRecord empties the eligible leader replicas (KIP-966) of one topic, or of all
// topics where the name is empty.
type ClearELRRecord struct {
	TopicName string
}

// Type returns TypeRegisterBroker.
func (*RegisterBrokerRecord) Type() RecordType { return TypeRegisterBroker }

// Type returns TypeUnregisterBroker.
func (*UnregisterBrokerRecord) Type() RecordType { return TypeUnregisterBroker }

// Type returns TypeTopic.
func (*TopicRecord) Type() RecordType { return TypeTopic }

// Type returns TypePartition.
func (*PartitionRecord) Type() RecordType { return TypePartition }

// Type returns TypeConfig.
func (*ConfigRecord) Type() RecordType { return TypeConfig }

// Type returns TypePartitionChange.
func (*PartitionChangeRecord) Type() RecordType { return TypePartitionChange }

// Type returns TypeFenceBroker.
func (*FenceBrokerRecord) Type() RecordType { return TypeFenceBroker }

// Type returns TypeUnfenceBroker.
func (*UnfenceBrokerRecord) Type() RecordType { return TypeUnfenceBroker }

// Type returns TypeRemoveTopic.
func (*RemoveTopicRecord) Type() RecordType { return TypeRemoveTopic }

// Type returns TypeFeatureLevel.
func (*FeatureLevelRecord) Type() RecordType { return TypeFeatureLevel }

// Type returns TypeClientQuota.
func (*ClientQuotaRecord) Type() RecordType { return TypeClientQuota }

// Type returns TypeProducerIDs.
func (*ProducerIDsRecord) Type() RecordType { return TypeProducerIDs }

// Type returns TypeBrokerRegistrationChange.
func (*BrokerRegistrationChangeRecord) Type() RecordType { return TypeBrokerRegistrationChange }

// Type returns TypeNoOp.
func (*NoOpRecord) Type() RecordType { return TypeNoOp }

// Type returns TypeBeginTransaction.
func (*BeginTransactionRecord) Type() RecordType { return TypeBeginTransaction }

// Type returns TypeEndTransaction.
func (*EndTransactionRecord) Type() RecordType { return TypeEndTransaction }

// Type returns TypeAbortTransaction.
func (*AbortTransactionRecord) Type() RecordType { return TypeAbortTransaction }

// Type returns TypeRegisterController.
func (*RegisterControllerRecord) Type() RecordType { return TypeRegisterController }

// Type returns TypeClearELR.
func (*ClearELRRecord) Type() RecordType { return TypeClearELR }
