package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// alterPartitionAssignments answers AlterPartitionReassignments (API key 45): replicas are added at
// once, and those that go are removed when the new ones are in sync, which AlterPartition tells.
func (c *Controller) alterPartitionAssignments(in Input, req *kmsg.AlterPartitionAssignmentsRequest) Result {
	resp := kmsg.NewPtrAlterPartitionAssignmentsResponse()
	resp.Version = req.Version
	resp.AllowReplicationFactorChange = req.AllowReplicationFactorChange
	if len(req.Topics) == 0 {
		resp.ErrorMessage = kmsg.StringPtr("") // as in Kafka, where answers with topics have null
	}
	changes := c.changePartitions(in.Image)
	for i := range req.Topics {
		topic := in.Image.TopicByName(req.Topics[i].Topic)
		answer := kmsg.NewAlterPartitionAssignmentsResponseTopic()
		answer.Topic = req.Topics[i].Topic
		for j := range req.Topics[i].Partitions {
			p := &req.Topics[i].Partitions[j]
			// Before version 1 nobody could forbid it (KIP-860).
			err := changes.reassign(topic, p, req.AllowReplicationFactorChange || req.Version < 1)
			result := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
			result.Partition = p.Partition
			if err != nil {
				result.ErrorCode, result.ErrorMessage = int16(kafka.CodeOf(err)), errorText(err)
			}
			answer.Partitions = append(answer.Partitions, result)
		}
		resp.Topics = append(resp.Topics, answer)
	}
	return Result{Response: resp, Records: changes.records}
}

// reassign begins to give a partition the replicas asked for; null cancels a reassignment.
func (s *partitionChanges) reassign(topic *metadata.Topic, asked *kmsg.AlterPartitionAssignmentsRequestTopicPartition, mayChangeFactor bool) error {
	if topic == nil || asked.Partition < 0 || int(asked.Partition) >= len(topic.Partitions) {
		return kafka.Errorf(kafka.ErrUnknownTopicOrPartition, "This server does not host this topic-partition.")
	}
	c := s.begin(topic, topic.Partitions[asked.Partition])
	if asked.Replicas == nil {
		return c.cancelReassignment()
	}
	target := asked.Replicas
	c.to.Balancing = false
	if err := checkReplicas(s.image, target); err != nil {
		return err
	}
	if factor := len(without(c.from.Replicas, c.from.RemovingReplicas...)); len(target) != factor && !mayChangeFactor {
		return kafka.Errorf(kafka.ErrInvalidReplicationFactor, "The replication factor is changed from %d to %d", factor, len(target))
	}
	c.reassignTo(target)
	s.add(c)
	return nil
}

// reassignTo adds what the partition lacks of the target, and removes what is not in it once that is in sync.
func (c *partitionChange) reassignTo(target []int32) {
	// What an earlier reassignment was adding is not there yet, whatever the list of replicas says.
	c.to.AddingReplicas = without(target, without(c.from.Replicas, c.from.AddingReplicas...)...)
	c.to.RemovingReplicas = without(c.from.Replicas, target...)
	slices.Sort(c.to.AddingReplicas)
	slices.Sort(c.to.RemovingReplicas)
	c.to.Replicas = slices.Concat(target, c.to.RemovingReplicas)
}

// cancelReassignment takes back what was being added. If nobody else who is there has the data, that takes
// an unclean election.
func (c *partitionChange) cancelReassignment() error {
	if !c.from.IsReassigning() {
		return kafka.Errorf(kafka.ErrNoReassignmentInProgress, "No partition reassignment is in progress.")
	}
	c.to.Replicas, c.to.ISR = without(c.from.Replicas, c.from.AddingReplicas...), without(c.from.ISR, c.from.AddingReplicas...)
	c.to.ELR = only(c.from.ELR, c.to.Replicas)
	hasData := len(c.to.ISR)+len(c.to.ELR) > 0
	staysOnline := c.from.Leader == kafka.NoLeader || slices.ContainsFunc(c.to.Replicas, c.mayLeadCleanly)
	if c.election != electUnclean && !(hasData && staysOnline) {
		return kafka.Errorf(kafka.ErrInvalidReplicaAssignment,
			"Unable to revert partition assignment for %s:%d because it would require an unclean leader election.", c.topic.Name, c.from.ID)
	}
	c.to.AddingReplicas, c.to.RemovingReplicas = nil, nil
	c.changes.add(c)
	return nil
}
