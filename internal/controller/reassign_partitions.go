package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// alterPartitionAssignments answers AlterPartitionReassignments (API key 45) as far as it needs no
// copying: another order of the same replicas. Replicas do not move between brokers yet.
func (c *Controller) alterPartitionAssignments(in Input, req *kmsg.AlterPartitionAssignmentsRequest) Result {
	resp := kmsg.NewPtrAlterPartitionAssignmentsResponse()
	resp.Version = req.Version
	resp.AllowReplicationFactorChange = req.AllowReplicationFactorChange
	if len(req.Topics) == 0 {
		resp.ErrorMessage = kmsg.StringPtr("") // as in Kafka, where answers with topics have null
	}
	var records []metadata.Record
	for i := range req.Topics {
		topic := in.Image.TopicByName(req.Topics[i].Topic)
		answer := kmsg.NewAlterPartitionAssignmentsResponseTopic()
		answer.Topic = req.Topics[i].Topic
		for j := range req.Topics[i].Partitions {
			p := &req.Topics[i].Partitions[j]
			change, err := reassign(in.Image, topic, p.Partition, p.Replicas)
			if change != nil {
				records = append(records, change)
			}
			result := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
			result.Partition = p.Partition
			if err != nil {
				result.ErrorCode, result.ErrorMessage = int16(kafka.CodeOf(err)), errorText(err)
			}
			answer.Partitions = append(answer.Partitions, result)
		}
		resp.Topics = append(resp.Topics, answer)
	}
	return Result{Response: resp, Records: records}
}

// reassign returns the change that gives a partition the target replicas, nil where it has them;
// a nil target cancels a reassignment, and none is ever under way.
func reassign(image *metadata.Image, topic *metadata.Topic, partition int32, target []int32) (metadata.Record, error) {
	if topic == nil || partition < 0 || int(partition) >= len(topic.Partitions) {
		return nil, kafka.Errorf(kafka.ErrUnknownTopicOrPartition, "This server does not host this topic-partition.")
	}
	if target == nil {
		return nil, kafka.Errorf(kafka.ErrNoReassignmentInProgress, "No partition reassignment is in progress.")
	}
	if err := checkManual(image, partition, target, 0); err != nil {
		return nil, err
	}
	p := topic.Partitions[partition]
	if slices.Equal(target, p.Replicas) {
		return nil, nil
	}
	if !slices.Equal(slices.Sorted(slices.Values(target)), slices.Sorted(slices.Values(p.Replicas))) {
		return nil, kafka.Errorf(kafka.ErrInvalidReplicaAssignment, "Replicas cannot move to other brokers in this release.")
	}
	change := metadata.NewPartitionChangeRecord(topic.ID, p.ID)
	change.Replicas = target
	for _, id := range target {
		directory, _ := p.Directory(id)
		change.Directories = append(change.Directories, directory)
	}
	return change, nil
}
