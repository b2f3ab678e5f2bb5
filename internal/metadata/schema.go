package metadata

import "github.com/moldau/moldau/internal/kafka"

// visitor meets the fields of a record in schema order. One walk per record type serves the
// encoder, the decoder and the JSON form of Kafka's dump tool, so they cannot disagree.
type visitor interface {
	boolean(name string, v *bool)
	int8(name string, v *int8)
	int16(name string, v *int16)
	uint16(name string, v *uint16)
	int32(name string, v *int32)
	int64(name string, v *int64)
	float64(name string, v *float64)
	uuid(name string, v *kafka.UUID)
	str(name string, v *string)
	nullableStr(name string, v **string)
	int32s(name string, v *[]int32, nullable bool)
	uuids(name string, v *[]kafka.UUID, nullable bool)
	// beginArray announces an array of n structs (n is what the record holds; a decoder
	// returns the number on disk). more is asked before each element.
	beginArray(name string, n int) int
	beginElement() bool
	endElement()
	endArray()
	// tags closes a struct: its tagged fields, ascending by tag.
	tags(fields ...taggedField)
}

// balancingTag is far from the tags that Kafka may use; Kafka's tools skip what they do not know.
const balancingTag = 20000

// taggedField is an optional field: written only where it differs from its default.
type taggedField struct {
	tag   uint64
	isSet bool
	visit func(v visitor)
}

func visitStructs[T any](v visitor, name string, s *[]T, f func(v visitor, e *T)) {
	n := v.beginArray(name, len(*s))
	for i := range n {
		if i == len(*s) { // decoding: grow by what was really there
			*s = append(*s, *new(T))
		}
		if !v.beginElement() {
			break
		}
		f(v, &(*s)[i])
		v.tags()
		v.endElement()
	}
	v.endArray()
}

func visitEndpoint(v visitor, e *Endpoint) {
	v.str("name", &e.Name)
	v.str("host", &e.Host)
	v.uint16("port", &e.Port)
	v.int16("securityProtocol", &e.SecurityProtocol)
}

func visitFeature(v visitor, f *SupportedFeature) {
	v.str("name", &f.Name)
	v.int16("minSupportedVersion", &f.MinVersion)
	v.int16("maxSupportedVersion", &f.MaxVersion)
}

func (r *RegisterBrokerRecord) visit(v visitor, version int16) {
	v.int32("brokerId", &r.BrokerID)
	if version >= 2 {
		v.boolean("isMigratingZkBroker", &r.IsMigratingZkBroker)
	}
	v.uuid("incarnationId", &r.IncarnationID)
	v.int64("brokerEpoch", &r.BrokerEpoch)
	visitStructs(v, "endPoints", &r.Endpoints, visitEndpoint)
	visitStructs(v, "features", &r.Features, visitFeature)
	v.nullableStr("rack", &r.Rack)
	v.boolean("fenced", &r.Fenced)
	if version >= 1 {
		v.boolean("inControlledShutdown", &r.InControlledShutdown)
	}
	var tagged []taggedField
	if version >= 3 {
		tagged = append(tagged, taggedField{0, len(r.LogDirs) > 0, func(v visitor) { v.uuids("logDirs", &r.LogDirs, false) }})
	}
	if version >= 4 {
		tagged = append(tagged, taggedField{1, r.CordonedLogDirs != nil, func(v visitor) { v.uuids("cordonedLogDirs", &r.CordonedLogDirs, true) }})
	}
	v.tags(tagged...)
}

func (r *UnregisterBrokerRecord) visit(v visitor, _ int16) {
	v.int32("brokerId", &r.BrokerID)
	v.int64("brokerEpoch", &r.BrokerEpoch)
	v.tags()
}

func (r *TopicRecord) visit(v visitor, _ int16) {
	v.str("name", &r.Name)
	v.uuid("topicId", &r.TopicID)
	v.tags()
}

func (r *PartitionRecord) visit(v visitor, version int16) {
	v.int32("partitionId", &r.PartitionID)
	v.uuid("topicId", &r.TopicID)
	v.int32s("replicas", &r.Replicas, false)
	v.int32s("isr", &r.ISR, false)
	v.int32s("removingReplicas", &r.RemovingReplicas, false)
	v.int32s("addingReplicas", &r.AddingReplicas, false)
	v.int32("leader", &r.Leader)
	v.int32("leaderEpoch", &r.LeaderEpoch)
	v.int32("partitionEpoch", &r.PartitionEpoch)
	if version >= 1 {
		v.uuids("directories", &r.Directories, false)
	}
	tagged := []taggedField{{0, r.LeaderRecoveryState != RecoveredLeader, func(v visitor) { v.int8("leaderRecoveryState", &r.LeaderRecoveryState) }}}
	if version >= 2 {
		tagged = append(tagged,
			taggedField{1, r.EligibleLeaderReplicas != nil, func(v visitor) { v.int32s("eligibleLeaderReplicas", &r.EligibleLeaderReplicas, true) }},
			taggedField{2, r.LastKnownELR != nil, func(v visitor) { v.int32s("lastKnownElr", &r.LastKnownELR, true) }})
	}
	tagged = append(tagged, taggedField{balancingTag, r.Balancing, func(v visitor) { v.boolean("balancing", &r.Balancing) }})
	v.tags(tagged...)
}

func (r *ConfigRecord) visit(v visitor, _ int16) {
	resourceType := int8(r.ResourceType)
	v.int8("resourceType", &resourceType)
	r.ResourceType = kafka.ConfigResourceType(resourceType)
	v.str("resourceName", &r.ResourceName)
	v.str("name", &r.Name)
	v.nullableStr("value", &r.Value)
	v.tags()
}

func (r *PartitionChangeRecord) visit(v visitor, version int16) {
	v.int32("partitionId", &r.PartitionID)
	v.uuid("topicId", &r.TopicID)
	tagged := []taggedField{
		{0, r.ISR != nil, func(v visitor) { v.int32s("isr", &r.ISR, true) }},
		{1, r.Leader != NoLeaderChange, func(v visitor) { v.int32("leader", &r.Leader) }},
		{2, r.Replicas != nil, func(v visitor) { v.int32s("replicas", &r.Replicas, true) }},
		{3, r.RemovingReplicas != nil, func(v visitor) { v.int32s("removingReplicas", &r.RemovingReplicas, true) }},
		{4, r.AddingReplicas != nil, func(v visitor) { v.int32s("addingReplicas", &r.AddingReplicas, true) }},
		{5, r.LeaderRecoveryState != NoLeaderRecoveryStateChange, func(v visitor) { v.int8("leaderRecoveryState", &r.LeaderRecoveryState) }},
	}
	if version >= 2 {
		tagged = append(tagged,
			taggedField{6, r.EligibleLeaderReplicas != nil, func(v visitor) { v.int32s("eligibleLeaderReplicas", &r.EligibleLeaderReplicas, true) }},
			taggedField{7, r.LastKnownELR != nil, func(v visitor) { v.int32s("lastKnownElr", &r.LastKnownELR, true) }})
	}
	if version >= 1 {
		tagged = append(tagged, taggedField{8, r.Directories != nil, func(v visitor) { v.uuids("directories", &r.Directories, true) }})
	}
	tagged = append(tagged, taggedField{balancingTag, r.Balancing, func(v visitor) { v.boolean("balancing", &r.Balancing) }})
	v.tags(tagged...)
}

func (r *FenceBrokerRecord) visit(v visitor, _ int16) {
	v.int32("id", &r.ID)
	v.int64("epoch", &r.Epoch)
	v.tags()
}

func (r *UnfenceBrokerRecord) visit(v visitor, _ int16) {
	v.int32("id", &r.ID)
	v.int64("epoch", &r.Epoch)
	v.tags()
}

func (r *RemoveTopicRecord) visit(v visitor, _ int16) {
	v.uuid("topicId", &r.TopicID)
	v.tags()
}

func (r *FeatureLevelRecord) visit(v visitor, _ int16) {
	v.str("name", &r.Name)
	v.int16("featureLevel", &r.FeatureLevel)
	v.tags()
}

func (r *ClientQuotaRecord) visit(v visitor, _ int16) {
	visitStructs(v, "entity", &r.Entity, func(v visitor, e *QuotaEntityPart) {
		v.str("entityType", &e.Type)
		v.nullableStr("entityName", &e.Name)
	})
	v.str("key", &r.Key)
	v.float64("value", &r.Value)
	v.boolean("remove", &r.Remove)
	v.tags()
}

func (r *ProducerIDsRecord) visit(v visitor, _ int16) {
	v.int32("brokerId", &r.BrokerID)
	v.int64("brokerEpoch", &r.BrokerEpoch)
	v.int64("nextProducerId", &r.NextProducerID)
	v.tags()
}

func (r *BrokerRegistrationChangeRecord) visit(v visitor, version int16) {
	v.int32("brokerId", &r.BrokerID)
	v.int64("brokerEpoch", &r.BrokerEpoch)
	tagged := []taggedField{{0, r.Fenced != 0, func(v visitor) { v.int8("fenced", &r.Fenced) }}}
	if version >= 1 {
		tagged = append(tagged, taggedField{1, r.InControlledShutdown != 0, func(v visitor) { v.int8("inControlledShutdown", &r.InControlledShutdown) }})
	}
	if version >= 2 {
		tagged = append(tagged, taggedField{2, len(r.LogDirs) > 0, func(v visitor) { v.uuids("logDirs", &r.LogDirs, false) }})
	}
	if version >= 3 {
		tagged = append(tagged, taggedField{3, r.CordonedLogDirs != nil, func(v visitor) { v.uuids("cordonedLogDirs", &r.CordonedLogDirs, true) }})
	}
	v.tags(tagged...)
}

func (*NoOpRecord) visit(v visitor, _ int16) { v.tags() }

func (r *BeginTransactionRecord) visit(v visitor, _ int16) {
	v.tags(taggedField{0, r.Name != nil, func(v visitor) { v.nullableStr("name", &r.Name) }})
}

func (*EndTransactionRecord) visit(v visitor, _ int16) { v.tags() }

func (r *AbortTransactionRecord) visit(v visitor, _ int16) {
	v.tags(taggedField{0, r.Reason != nil, func(v visitor) { v.nullableStr("reason", &r.Reason) }})
}

func (r *RegisterControllerRecord) visit(v visitor, _ int16) {
	v.int32("controllerId", &r.ControllerID)
	v.uuid("incarnationId", &r.IncarnationID)
	v.boolean("zkMigrationReady", &r.ZkMigrationReady)
	visitStructs(v, "endPoints", &r.Endpoints, visitEndpoint)
	visitStructs(v, "features", &r.Features, visitFeature)
	v.tags()
}

func (r *ClearELRRecord) visit(v visitor, _ int16) {
	v.str("topicName", &r.TopicName)
	v.tags()
}
