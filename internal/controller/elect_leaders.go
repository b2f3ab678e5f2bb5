package controller

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// Election types of ElectLeaders (KIP-460).
const (
	electionTypePreferred int8 = 0
	electionTypeUnclean   int8 = 1
)

// electLeaders answers ElectLeaders (API key 43). Version 0 knows preferred leaders only.
func (c *Controller) electLeaders(in Input, req *kmsg.ElectLeadersRequest) Result {
	resp := kmsg.NewPtrElectLeadersResponse()
	resp.Version = req.Version
	if req.ElectionType != electionTypePreferred && req.ElectionType != electionTypeUnclean {
		return Result{Response: failedElections(resp, req)}
	}
	changes := c.changePartitions(in.Image)
	elect := func(answer *kmsg.ElectLeadersResponseTopic, topic *metadata.Topic, partition int32, all bool) {
		err := electLeader(changes, answer.Topic, topic, partition, req.ElectionType)
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
	return Result{Response: resp, Records: changes.records, Divisible: true}
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

// electLeader makes the preferred replica the leader or, in an unclean election, gives a partition
// without leader one: a clean one if that is possible.
func electLeader(changes *partitionChanges, name string, topic *metadata.Topic, partition int32, kind int8) error {
	switch {
	case topic == nil:
		return kafka.Errorf(kafka.ErrUnknownTopicOrPartition, "No such topic as %s", name)
	case partition < 0 || int(partition) >= len(topic.Partitions):
		return kafka.Errorf(kafka.ErrUnknownTopicOrPartition, "No such partition as %s-%d", name, partition)
	}
	c := changes.begin(topic, topic.Partitions[partition])
	if kind == electionTypePreferred && c.from.Leader == c.from.Replicas[0] || kind == electionTypeUnclean && c.from.Leader != kafka.NoLeader {
		return kafka.Errorf(kafka.ErrElectionNotNeeded, "Leader election not needed for topic partition.")
	}
	if c.election = electPreferred; kind == electionTypeUnclean {
		c.election = electUnclean
	}
	if _, changed := changes.add(c); changed {
		return nil
	}
	if kind == electionTypePreferred {
		return kafka.Errorf(kafka.ErrPreferredLeaderNotAvailable, "The preferred leader was not available.")
	}
	return kafka.Errorf(kafka.ErrEligibleLeadersNotAvailable, "Eligible topic partition leaders are not available.")
}
