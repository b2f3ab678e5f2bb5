package metadata

import "strconv"

// RecordType is the API key of a metadata record. Kafka's own types stay below 20000, where
// Moldau's would begin.
type RecordType int16

// The record types of Kafka 4.3 that Moldau writes or meets in its log.
const (
	TypeRegisterBroker           RecordType = 0
	TypeUnregisterBroker         RecordType = 1
	TypeTopic                    RecordType = 2
	TypePartition                RecordType = 3
	TypeConfig                   RecordType = 4
	TypePartitionChange          RecordType = 5
	TypeFenceBroker              RecordType = 7
	TypeUnfenceBroker            RecordType = 8
	TypeRemoveTopic              RecordType = 9
	TypeFeatureLevel             RecordType = 12
	TypeClientQuota              RecordType = 14
	TypeProducerIDs              RecordType = 15
	TypeBrokerRegistrationChange RecordType = 17
	TypeNoOp                     RecordType = 20
	TypeBeginTransaction         RecordType = 23
	TypeEndTransaction           RecordType = 24
	TypeAbortTransaction         RecordType = 25
	TypeRegisterController       RecordType = 27
	TypeClearELR                 RecordType = 28
)

// recordSpec says how one record type is named and up to which version its schema is known.
type recordSpec struct {
	name       string
	maxVersion int16
	create     func() Record
}

var recordSpecs = map[RecordType]recordSpec{
	TypeRegisterBroker:           {"REGISTER_BROKER_RECORD", 4, func() Record { return &RegisterBrokerRecord{} }},
	TypeUnregisterBroker:         {"UNREGISTER_BROKER_RECORD", 0, func() Record { return &UnregisterBrokerRecord{} }},
	TypeTopic:                    {"TOPIC_RECORD", 0, func() Record { return &TopicRecord{} }},
	TypePartition:                {"PARTITION_RECORD", 2, func() Record { return &PartitionRecord{} }},
	TypeConfig:                   {"CONFIG_RECORD", 0, func() Record { return &ConfigRecord{} }},
	TypePartitionChange:          {"PARTITION_CHANGE_RECORD", 2, func() Record { return newPartitionChangeRecord() }},
	TypeFenceBroker:              {"FENCE_BROKER_RECORD", 0, func() Record { return &FenceBrokerRecord{} }},
	TypeUnfenceBroker:            {"UNFENCE_BROKER_RECORD", 0, func() Record { return &UnfenceBrokerRecord{} }},
	TypeRemoveTopic:              {"REMOVE_TOPIC_RECORD", 0, func() Record { return &RemoveTopicRecord{} }},
	TypeFeatureLevel:             {"FEATURE_LEVEL_RECORD", 0, func() Record { return &FeatureLevelRecord{} }},
	TypeClientQuota:              {"CLIENT_QUOTA_RECORD", 0, func() Record { return &ClientQuotaRecord{} }},
	TypeProducerIDs:              {"PRODUCER_IDS_RECORD", 0, func() Record { return &ProducerIDsRecord{} }},
	TypeBrokerRegistrationChange: {"BROKER_REGISTRATION_CHANGE_RECORD", 3, func() Record { return &BrokerRegistrationChangeRecord{} }},
	TypeNoOp:                     {"NO_OP_RECORD", 0, func() Record { return &NoOpRecord{} }},
	TypeBeginTransaction:         {"BEGIN_TRANSACTION_RECORD", 0, func() Record { return &BeginTransactionRecord{} }},
	TypeEndTransaction:           {"END_TRANSACTION_RECORD", 0, func() Record { return &EndTransactionRecord{} }},
	TypeAbortTransaction:         {"ABORT_TRANSACTION_RECORD", 0, func() Record { return &AbortTransactionRecord{} }},
	TypeRegisterController:       {"REGISTER_CONTROLLER_RECORD", 0, func() Record { return &RegisterControllerRecord{} }},
	TypeClearELR:                 {"CLEAR_ELR_RECORD", 0, func() Record { return &ClearELRRecord{} }},
}

// String returns Kafka's name of the type, such as "TOPIC_RECORD".
func (t RecordType) String() string {
	if spec, ok := recordSpecs[t]; ok {
		return spec.name
	}
	return "RECORD_TYPE_" + strconv.Itoa(int(t))
}
