package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// Election types of ElectLeaders (KIP-460).
const (
	electPreferred int8 = 0
	electUnclean   int8 = 1
)

// recoveringLeader is the LeaderRecoveryState of a leader that was not in sync when elected.
const recoveringLeader int8 = 1

// electLeaders answers ElectLeaders (API key 43). Version 0 knows preferred leaders only.
func (c *Controller) electLeaders(in Input, req *kmsg.ElectLeadersRequest) Result {
	resp := kmsg.NewPtrElectLeadersResponse()
	resp.Version = req.Version
	if req.ElectionType != electPreferred && req.ElectionType != electUnclean {
		return Result{Response: failedElections(resp, req)}
	}
	var records []metadata.Record
	elect := func(answer *kmsg.ElectLeadersResponseTopic, topic *metadata.Topic, partition int32, all bool) {
		change, err := electLeader(in.Image, topic, partition, req.ElectionType)
		if change != nil {
			records = append(records, change)
		}
		if all && kafka.CodeOf(err) == kafka.ErrElectionNotNeeded {
			return // who asks for all partitions hears of those only that needed one
		}
		result := kmsg.NewElectLeadersResponseTopicPartition()
		result.Partition = partition
		if err != nil {
			result.ErrorCode, result.ErrorMessage = int16(kafka.CodeOf(err)), errorText(err)
		}
		answer.Partitions = append(answer.Partitions, result)
	}
	if req.Topics == nil {
		for topic := range in.Image.Topics() {
			answer := kmsg.NewElectLeadersResponseTopic()
			answer.Topic = topic.Name
			for _, p := range topic.Partitions {
				elect(&answer, topic, p.ID, true)
			}
			resp.Topics = append(resp.Topics, answer)
		}
	}
	for i := range req.Topics {
		answer := kmsg.NewElectLeadersResponseTopic()
		answer.Topic = req.Topics[i].Topic
		for _, partition := range req.Topics[i].Partitions {
			elect(&answer, in.Image.TopicByName(answer.Topic), partition, false)
		}
		resp.Topics = append(resp.Topics, answer)
	}
	return Result{Response: resp, Records: records, Divisible: true}
}

func failedElections(resp *kmsg.ElectLeadersResponse, req *kmsg.ElectLeadersRequest) *kmsg.ElectLeadersResponse {
	err := kafka.Errorf(kafka.ErrInvalidRequest, "Unknown election type %d: 0 elects the preferred leader, 1 any replica.", req.ElectionType)
	resp.ErrorCode = int16(kafka.CodeOf(err))
	for i := range req.Topics {
		answer := kmsg.NewElectLeadersResponseTopic()
		answer.Topic = req.Topics[i].Topic
		for _, partition := range req.Topics[i].Partitions {
			result := kmsg.NewElectLeadersResponseTopicPartition()
			result.Partition, result.ErrorCode, result.ErrorMessage = partition, resp.ErrorCode, errorText(err)
			answer.Partitions = append(answer.Partitions, result)
		}
		resp.Topics = append(resp.Topics, answer)
	}
	return resp
}

// electLeader returns the change that makes the preferred replica the leader or, in an unclean
// election, that gives a partition without leader one: of the ISR if that is possible.
func electLeader(image *metadata.Image, topic *metadata.Topic, partition int32, kind int8) (metadata.Record, error) {
	if topic == nil || partition < 0 || int(partition) >= len(topic.Partitions) {
		return nil, kafka.Errorf(kafka.ErrUnknownTopicOrPartition, "This server does not host this topic-partition.")
	}
	p := topic.Partitions[partition]
	if kind == electPreferred && p.Leader == p.Replicas[0] || kind == electUnclean && p.Leader != kafka.NoLeader {
		return nil, kafka.Errorf(kafka.ErrElectionNotNeeded, "Leader election not needed for topic partition.")
	}
	isActive := func(id int32) bool {
		b := image.Broker(id)
		return b != nil && b.Active()
	}
	change := metadata.NewPartitionChangeRecord(topic.ID, p.ID)
	if kind == electPreferred {
		preferred := p.Replicas[0]
		if !isActive(preferred) || !slices.Contains(p.ISR, preferred) {
			return nil, kafka.Errorf(kafka.ErrPreferredLeaderNotAvailable, "The preferred leader %d is not in sync or not alive.", preferred)
		}
		change.Leader = preferred
		return change, nil
	}
	for _, id := range p.Replicas {
		if isActive(id) && slices.Contains(p.ISR, id) {
			change.Leader = id
			return change, nil
		}
	}
	for _, id := range p.Replicas {
		if isActive(id) {
			change.Leader, change.ISR, change.LeaderRecoveryState = id, []int32{id}, recoveringLeader
			return change, nil
		}
	}
	return nil, kafka.Errorf(kafka.ErrEligibleLeadersNotAvailable, "No replica of the partition is alive.")
}
