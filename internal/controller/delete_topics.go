package controller

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// deletion is one name or id of a DeleteTopics request.
type deletion struct {
	name  *string
	id    kafka.UUID
	topic *metadata.Topic
	err   error
}

func (c *Controller) deleteTopics(in Input, req *kmsg.DeleteTopicsRequest) Result {
	resp := kmsg.NewPtrDeleteTopicsResponse()
	resp.Version = req.Version
	deletions := requestedDeletions(req)
	switch {
	case !c.o.Broker.DeleteTopics && req.Version < 3:
		failAll(deletions, kafka.Errorf(kafka.ErrInvalidRequest, "This version does not support topic deletion."))
	case !c.o.Broker.DeleteTopics:
		failAll(deletions, kafka.Errorf(kafka.ErrTopicDeletionDisabled, "Topic deletion is disabled: delete.topic.enable is false."))
	default:
		resolveDeletions(in.Image, deletions)
	}
	var records []metadata.Record
	for _, d := range deletions {
		answer := kmsg.NewDeleteTopicsResponseTopic()
		answer.Topic, answer.TopicID = d.name, d.id
		if d.err == nil {
			answer.Topic, answer.TopicID = &d.topic.Name, d.topic.ID
			d.err = in.permit(len(d.topic.Partitions))
		}
		if d.err != nil {
			answer.ErrorCode, answer.ErrorMessage = int16(kafka.CodeOf(d.err)), errorText(d.err)
		} else {
			records = append(records, &metadata.RemoveTopicRecord{TopicID: d.topic.ID})
		}
		resp.Topics = append(resp.Topics, answer)
	}
	return Result{Response: resp, Records: records}
}

// requestedDeletions gathers what the request names, each once.
func requestedDeletions(req *kmsg.DeleteTopicsRequest) []*deletion {
	var all []*deletion
	byName, byID := map[string]*deletion{}, map[kafka.UUID]*deletion{}
	addName := func(name string) {
		if d := byName[name]; d != nil {
			d.err = kafka.Errorf(kafka.ErrInvalidRequest, "Duplicate topic name.")
			return
		}
		byName[name] = &deletion{name: &name}
		all = append(all, byName[name])
	}
	for _, name := range req.TopicNames {
		addName(name)
	}
	for i := range req.Topics {
		name, id := req.Topics[i].Topic, kafka.UUID(req.Topics[i].TopicID)
		switch {
		case name != nil && id.IsZero():
			addName(*name)
		case name != nil:
			all = append(all, &deletion{name: name, id: id, err: kafka.Errorf(kafka.ErrInvalidRequest, "You may not specify both topic name and topic id.")})
		case id.IsZero():
			all = append(all, &deletion{err: kafka.Errorf(kafka.ErrInvalidRequest, "Neither topic name nor id were specified.")})
		case byID[id] != nil:
			byID[id].err = kafka.Errorf(kafka.ErrInvalidRequest, "Duplicate topic id.")
		default:
			byID[id] = &deletion{id: id}
			all = append(all, byID[id])
		}
	}
	return all
}

func failAll(deletions []*deletion, err error) {
	for _, d := range deletions {
		d.err = err
	}
}

func resolveDeletions(image *metadata.Image, deletions []*deletion) {
	taken := map[kafka.UUID]*deletion{}
	for _, d := range deletions {
		switch {
		case d.err != nil:
			continue
		case d.name == nil:
			if d.topic = image.TopicByID(d.id); d.topic == nil {
				d.err = kafka.Errorf(kafka.ErrUnknownTopicID, "This server does not host this topic ID.")
				continue
			}
		default:
			if d.topic = image.TopicByName(*d.name); d.topic == nil {
				d.err = kafka.Errorf(kafka.ErrUnknownTopicOrPartition, "This server does not host this topic-partition.")
				continue
			}
		}
		if other := taken[d.topic.ID]; other != nil {
			d.err = kafka.Errorf(kafka.ErrInvalidRequest, "The provided topic name maps to an ID that was already supplied.")
			other.err = d.err
		}
		taken[d.topic.ID] = d
	}
}
