package controller

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

func (c *Controller) createPartitions(in Input, req *kmsg.CreatePartitionsRequest) Result {
	resp := kmsg.NewPtrCreatePartitionsResponse()
	resp.Version = req.Version
	occurrences := make(map[string]int, len(req.Topics))
	for i := range req.Topics {
		occurrences[req.Topics[i].Topic]++
	}
	p := newPlacer(in.Image, in.Random, c.BalancerSettings(in.Image).Draining)
	var records []metadata.Record
	for i := range req.Topics {
		topic := &req.Topics[i]
		var added []metadata.Record
		var err error
		switch n := occurrences[topic.Topic]; {
		case n < 0:
			continue // answered already
		case n > 1:
			occurrences[topic.Topic] = -1
			err = kafka.Errorf(kafka.ErrInvalidRequest, "Duplicate topic name.")
		default:
			added, err = addPartitions(in, p, topic, maxPartitionsPerRequest-len(records))
		}
		answer := kmsg.NewCreatePartitionsResponseTopic()
		answer.Topic = topic.Topic
		if err != nil {
			answer.ErrorCode, answer.ErrorMessage = int16(kafka.CodeOf(err)), errorText(err)
		}
		records = append(records, added...)
		resp.Topics = append(resp.Topics, answer)
	}
	if req.ValidateOnly {
		records = nil
	}
	return Result{Response: resp, Records: records}
}

// addPartitions returns the records of the partitions that topic lacks to have the count asked
// for, at most limit.
func addPartitions(in Input, p *placer, req *kmsg.CreatePartitionsRequestTopic, limit int) ([]metadata.Record, error) {
	topic := in.Image.TopicByName(req.Topic)
	if topic == nil {
		return nil, kafka.Errorf(kafka.ErrUnknownTopicOrPartition, "This server does not host this topic-partition.")
	}
	existing := len(topic.Partitions)
	switch {
	case int(req.Count) == existing:
		return nil, kafka.Errorf(kafka.ErrInvalidPartitions, "Topic already has %d partition(s).", existing)
	case int(req.Count) < existing:
		return nil, kafka.Errorf(kafka.ErrInvalidPartitions,
			"The topic %s currently has %d partition(s); %d would not be an increase.", req.Topic, existing, req.Count)
	}
	additional := int(req.Count) - existing
	if req.Assignment != nil && len(req.Assignment) != additional {
		return nil, kafka.Errorf(kafka.ErrInvalidReplicaAssignment,
			"Attempted to add %d additional partition(s), but only %d assignment(s) were specified.", additional, len(req.Assignment))
	}
	if additional > limit {
		return nil, kafka.Errorf(kafka.ErrPolicyViolation,
			"Excessively large number of partitions per request: at most %d may be added.", maxPartitionsPerRequest)
	}
	if err := in.permit(additional); err != nil {
		return nil, err
	}
	// Kafka counts those that leave, too, but moves nothing by itself: the balancer would decide how many replicas these get for ever.
	replicationFactor := len(without(topic.Partitions[0].Replicas, topic.Partitions[0].RemovingReplicas...))
	if req.Assignment == nil {
		if err := p.check(int16(replicationFactor)); err != nil {
			return nil, err
		}
	}
	records := make([]metadata.Record, 0, additional)
	for i := range additional {
		id := int32(existing + i)
		var replicas []int32
		if req.Assignment == nil {
			replicas = p.place(existing+i, int16(replicationFactor))
		} else {
			replicas = req.Assignment[i].Replicas
			if err := checkManual(in.Image, id, replicas, replicationFactor); err != nil {
				return nil, err
			}
		}
		records = append(records, newPartition(in.Image, topic.ID, id, replicas))
	}
	return records, nil
}
