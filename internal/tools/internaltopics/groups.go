package internaltopics

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
)

// Types of the records of __consumer_offsets that are known.
const (
	LegacyOffsetCommit int16 = 0
	OffsetCommit       int16 = 1
	GroupMetadata      int16 = 2
)

// Newest versions of the values.
const (
	maxOffsetCommitVersion  = 4
	maxGroupMetadataVersion = 4
)

// DecodeGroupRecord reads a record of __consumer_offsets.
func DecodeGroupRecord(key, value []byte) (Record, error) {
	kind, err := kindOf(key)
	if err != nil {
		return Record{}, err
	}
	r := Record{Kind: kind, IsTombstone: value == nil}
	switch kind {
	case LegacyOffsetCommit, OffsetCommit:
		err = r.decodeOffsetCommit(key, value)
	case GroupMetadata:
		err = r.decodeGroupMetadata(key, value)
	default:
		err = &UnknownKindError{Kind: kind}
	}
	return r, err
}

func (r *Record) decodeOffsetCommit(keyBytes, valueBytes []byte) error {
	var key kmsg.OffsetCommitKey
	if err := key.ReadFrom(keyBytes); err != nil {
		return fmt.Errorf("key: %w", err)
	}
	r.Key = Object{{"group", key.Group}, {"topic", key.Topic}, {"partition", key.Partition}}
	if r.IsTombstone {
		return nil
	}
	value := kmsg.NewOffsetCommitValue()
	if err := readValue(valueBytes, maxOffsetCommitVersion, &value); err != nil {
		return err
	}
	r.Version, r.Value = value.Version, Object{{"offset", value.Offset}}
	if value.Version >= 3 {
		r.Value = append(r.Value, Member{"leaderEpoch", value.LeaderEpoch})
	}
	r.Value = append(r.Value, Member{"metadata", value.Metadata}, Member{"commitTimestamp", value.CommitTimestamp})
	if value.Version == 1 {
		r.Value = append(r.Value, Member{"expireTimestamp", value.ExpireTimestamp})
	}
	if id := kafka.UUID(value.TopicID); value.Version >= 4 && !id.IsZero() {
		r.Value = append(r.Value, Member{"topicId", id.String()})
	}
	return nil
}

func (r *Record) decodeGroupMetadata(keyBytes, valueBytes []byte) error {
	var key kmsg.GroupMetadataKey
	if err := key.ReadFrom(keyBytes); err != nil {
		return fmt.Errorf("key: %w", err)
	}
	r.Key = Object{{"group", key.Group}}
	if r.IsTombstone {
		return nil
	}
	value := kmsg.NewGroupMetadataValue()
	if err := readValue(valueBytes, maxGroupMetadataVersion, &value); err != nil {
		return err
	}
	r.Version, r.Value = value.Version, Object{
		{"protocolType", value.ProtocolType}, {"generation", value.Generation},
		{"protocol", value.Protocol}, {"leader", value.Leader},
	}
	if value.Version >= 2 {
		r.Value = append(r.Value, Member{"currentStateTimestamp", value.CurrentStateTimestamp})
	}
	members := make([]Object, 0, len(value.Members))
	for _, m := range value.Members {
		printed := Object{{"memberId", m.MemberID}}
		if value.Version >= 3 {
			printed = append(printed, Member{"groupInstanceId", m.InstanceID})
		}
		printed = append(printed, Member{"clientId", m.ClientID}, Member{"clientHost", m.ClientHost})
		if value.Version >= 1 {
			printed = append(printed, Member{"rebalanceTimeout", m.RebalanceTimeoutMillis})
		}
		printed = append(printed, Member{"sessionTimeout", m.SessionTimeoutMillis},
			Member{subscriptionMember, m.Subscription}, Member{assignmentMember, m.Assignment})
		members = append(members, printed)
	}
	r.Value = append(r.Value, Member{"members", members})
	r.isConsumerGroup = value.ProtocolType == "consumer"
	return nil
}

const (
	subscriptionMember = "subscription"
	assignmentMember   = "assignment"
)

// OpenMembers replaces what the members of a consumer group subscribe to and have been assigned, which
// stands in a group's record as bytes, by what it says. Bytes that say nothing readable stay.
func (r *Record) OpenMembers() {
	if !r.isConsumerGroup {
		return
	}
	for _, m := range r.Value {
		members, _ := m.Value.([]Object)
		for _, member := range members {
			for i, field := range member {
				data, _ := field.Value.([]byte)
				var opened Object
				switch field.Name {
				case subscriptionMember:
					opened = subscription(data)
				case assignmentMember:
					opened = assignment(data)
				}
				if opened != nil {
					member[i].Value = opened
				}
			}
		}
	}
}

func subscription(data []byte) Object {
	s := kmsg.NewConsumerMemberMetadata()
	if len(data) < 2 || s.ReadFrom(data) != nil {
		return nil
	}
	o := Object{{"topics", s.Topics}, {"userData", nullable(s.UserData)}}
	if s.Version >= 1 {
		owned := make([]Object, 0, len(s.OwnedPartitions))
		for _, p := range s.OwnedPartitions {
			owned = append(owned, Object{{"topic", p.Topic}, {"partitions", p.Partitions}})
		}
		o = append(o, Member{"ownedPartitions", owned})
	}
	if s.Version >= 2 {
		o = append(o, Member{"generationId", s.Generation})
	}
	if s.Version >= 3 {
		o = append(o, Member{"rackId", s.Rack})
	}
	return o
}

func assignment(data []byte) Object {
	a := kmsg.NewConsumerMemberAssignment()
	if len(data) < 2 || a.ReadFrom(data) != nil {
		return nil
	}
	assigned := make([]Object, 0, len(a.Topics))
	for _, t := range a.Topics {
		assigned = append(assigned, Object{{"topic", t.Topic}, {"partitions", t.Partitions}})
	}
	return Object{{"assignedPartitions", assigned}, {"userData", nullable(a.UserData)}}
}
