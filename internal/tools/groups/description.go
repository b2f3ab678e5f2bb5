package groups

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/client"
)

// description is a group as its coordinator describes it.
type description struct {
	id, state, assignor string
	coordinator         kgo.BrokerMetadata
	members             []groupMember
	// Only groups of the consumer protocol (KIP-848) have these.
	epoch, targetEpoch *int32
}

type groupMember struct {
	id, instanceID, clientID, host string
	assignment, target             []kafka.TopicPartition
	epoch                          *int32
	upgraded                       *bool
}

// described asks the coordinators. A group that is not there is an error that carries
// GROUP_ID_NOT_FOUND.
func (t *tool) described(ctx context.Context, id string) (*description, error) {
	ctx, cancel := t.client.Context(ctx)
	defer cancel()
	d, err := t.describeConsumer(ctx, id)
	if err == nil || ctx.Err() != nil {
		return d, client.Convert(err, "describeConsumerGroups")
	}
	// The group is a classic one, or the broker does not serve the newer request.
	return t.describeClassic(ctx, id)
}

var errNoAnswer = errors.New("the coordinator did not answer for the group")

func (t *tool) describeConsumer(ctx context.Context, id string) (*description, error) {
	req := kmsg.NewPtrConsumerGroupDescribeRequest()
	req.Groups = []string{id}
	for _, shard := range t.client.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return nil, shard.Err
		}
		resp, ok := shard.Resp.(*kmsg.ConsumerGroupDescribeResponse)
		if !ok || len(resp.Groups) != 1 {
			continue
		}
		g := &resp.Groups[0]
		if err := client.FromCode(g.ErrorCode, g.ErrorMessage); err != nil {
			return nil, err
		}
		d := &description{id: id, state: g.State, assignor: g.AssignorName, coordinator: shard.Meta, epoch: &g.Epoch, targetEpoch: &g.AssignmentEpoch}
		for _, m := range g.Members {
			member := groupMember{id: m.MemberID, clientID: m.ClientID, host: m.ClientHost, epoch: &m.MemberEpoch}
			if m.InstanceID != nil {
				member.instanceID = *m.InstanceID
			}
			// Member type 0 speaks the classic protocol, 1 the new one.
			if m.MemberType >= 0 {
				upgraded := m.MemberType == 1
				member.upgraded = &upgraded
			}
			for _, topic := range m.Assignment.TopicPartitions {
				member.assignment = appendPartitions(member.assignment, topic.Topic, topic.Partitions)
			}
			for _, topic := range m.TargetAssignment.TopicPartitions {
				member.target = appendPartitions(member.target, topic.Topic, topic.Partitions)
			}
			d.members = append(d.members, member)
		}
		return d, nil
	}
	return nil, errNoAnswer
}

func (t *tool) describeClassic(ctx context.Context, id string) (*description, error) {
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = []string{id}
	for _, shard := range t.client.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return nil, client.Convert(shard.Err, "describeConsumerGroups")
		}
		resp, ok := shard.Resp.(*kmsg.DescribeGroupsResponse)
		if !ok || len(resp.Groups) != 1 {
			continue
		}
		g := &resp.Groups[0]
		if err := client.FromCode(g.ErrorCode, g.ErrorMessage); err != nil {
			return nil, err
		}
		if g.ProtocolType != "" && g.ProtocolType != "consumer" {
			return nil, usageErrorf("GroupId %s is not a consumer group (%s).", id, g.ProtocolType)
		}
		d := &description{id: id, state: g.State, assignor: g.Protocol, coordinator: shard.Meta}
		for _, m := range g.Members {
			member := groupMember{id: m.MemberID, clientID: m.ClientID, host: m.ClientHost}
			if m.InstanceID != nil {
				member.instanceID = *m.InstanceID
			}
			var err error
			if member.assignment, err = classicAssignment(m.MemberAssignment); err != nil {
				return nil, fmt.Errorf("the assignment of member %s of group %s: %w", m.MemberID, id, err)
			}
			d.members = append(d.members, member)
		}
		return d, nil
	}
	return nil, errNoAnswer
}

// classicAssignment reads what the group's leader, another client, has assigned to a member.
func classicAssignment(data []byte) ([]kafka.TopicPartition, error) {
	if len(data) == 0 {
		return nil, nil
	}
	var assignment kmsg.ConsumerMemberAssignment
	if err := assignment.ReadFrom(data); err != nil {
		return nil, err
	}
	var partitions []kafka.TopicPartition
	for _, topic := range assignment.Topics {
		partitions = appendPartitions(partitions, topic.Topic, topic.Partitions)
	}
	return partitions, nil
}

func appendPartitions(to []kafka.TopicPartition, topic string, partitions []int32) []kafka.TopicPartition {
	for _, p := range partitions {
		to = append(to, kafka.TopicPartition{Topic: topic, Partition: p})
	}
	return to
}
