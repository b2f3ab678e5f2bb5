package handler

import (
	"context"
	"iter"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/security"
)

// DescribeTopicPartitions answers topics in order of their names, page by page (API key 75).
type DescribeTopicPartitions struct {
	Image      func() *metadata.Image
	Authorizer security.Authorizer
	// MaxPartitions is max.request.partition.size.limit.
	MaxPartitions int32
}

// topicPage is the work on one request.
type topicPage struct {
	*DescribeTopicPartitions
	r         *Request
	image     *metadata.Image
	live      map[int32]bool
	remaining int32
	resp      *kmsg.DescribeTopicPartitionsResponse
}

// Handle answers one page, which begins at the request's cursor.
func (h *DescribeTopicPartitions) Handle(_ context.Context, r *Request) Reply {
	req := r.Body.(*kmsg.DescribeTopicPartitionsRequest)
	if code := checkCursor(req); code != kafka.ErrNone {
		return Respond(failedDescription(req, code))
	}
	p := &topicPage{
		DescribeTopicPartitions: h, r: r, image: h.Image(), resp: kmsg.NewPtrDescribeTopicPartitionsResponse(),
		remaining: max(min(h.MaxPartitions, req.ResponsePartitionLimit), 1),
	}
	p.live = liveBrokers(p.image, r.Conn.Listener)
	from, index := "", int32(0)
	if req.Cursor != nil {
		from, index = req.Cursor.Topic, req.Cursor.Partition
	}
	if len(req.Topics) == 0 {
		p.addTopics(p.allNames(from), from, index, true)
		return Respond(p.resp)
	}
	names, denied := p.requestedNames(req, from)
	p.addTopics(slices.Values(names), from, index, false)
	for _, name := range denied {
		p.resp.Topics = append(p.resp.Topics, failedTopicDescription(name, kafka.ErrTopicAuthorizationFailed))
	}
	return Respond(p.resp)
}

func checkCursor(req *kmsg.DescribeTopicPartitionsRequest) kafka.ErrorCode {
	if req.Cursor == nil {
		return kafka.ErrNone
	}
	named := len(req.Topics) == 0
	for i := range req.Topics {
		named = named || req.Topics[i].Topic == req.Cursor.Topic
	}
	if !named || req.Cursor.Partition < 0 {
		return kafka.ErrInvalidRequest
	}
	return kafka.ErrNone
}

func failedDescription(req *kmsg.DescribeTopicPartitionsRequest, code kafka.ErrorCode) *kmsg.DescribeTopicPartitionsResponse {
	resp := kmsg.NewPtrDescribeTopicPartitionsResponse()
	for i := range req.Topics {
		resp.Topics = append(resp.Topics, failedTopicDescription(req.Topics[i].Topic, code))
	}
	return resp
}

func failedTopicDescription(name string, code kafka.ErrorCode) kmsg.DescribeTopicPartitionsResponseTopic {
	topic := kmsg.NewDescribeTopicPartitionsResponseTopic()
	topic.Topic, topic.ErrorCode = &name, int16(code)
	return topic
}

func (p *topicPage) allowed(topic string) bool {
	return security.Allowed(p.Authorizer, p.r.Conn, security.OperationDescribe, security.Topic(topic))
}

// allNames yields the topics from the given one on that the client may see.
func (p *topicPage) allNames(from string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for topic := range p.image.TopicsFrom(from) {
			if p.allowed(topic.Name) && !yield(topic.Name) {
				return
			}
		}
	}
}

// requestedNames returns the names of the request from the given one on, sorted, each once.
func (p *topicPage) requestedNames(req *kmsg.DescribeTopicPartitionsRequest, from string) (names, denied []string) {
	for i := range req.Topics {
		if name := req.Topics[i].Topic; name >= from {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	names = slices.DeleteFunc(names, func(name string) bool {
		if p.allowed(name) {
			return false
		}
		denied = append(denied, name)
		return true
	})
	return names, denied
}

// addTopics adds topics until the page is full, and then says where the next one begins.
func (p *topicPage) addTopics(names iter.Seq[string], from string, index int32, onlyExisting bool) {
	for name := range names {
		if p.remaining == 0 {
			p.setCursor(name, 0)
			return
		}
		topic := p.image.TopicByName(name)
		if topic == nil {
			if !onlyExisting {
				p.addUnknown(name)
			}
			continue
		}
		first := int32(0)
		if name == from {
			first = index
		}
		if next := p.addTopic(topic, first); next < int32(len(topic.Partitions)) {
			p.setCursor(name, next)
			return
		}
	}
}

func (p *topicPage) setCursor(topic string, partition int32) {
	cursor := kmsg.NewDescribeTopicPartitionsResponseNextCursor()
	cursor.Topic, cursor.Partition = topic, partition
	p.resp.NextCursor = &cursor
}

func (p *topicPage) addUnknown(name string) {
	code := kafka.ErrUnknownTopicOrPartition
	if kafka.ValidateTopicName(name) != nil {
		code = kafka.ErrInvalidTopicException
	}
	topic := failedTopicDescription(name, code)
	topic.IsInternal = kafka.IsInternalTopic(name)
	topic.AuthorizedOperations = security.AuthorizedOperations(p.Authorizer, p.r.Conn, security.Topic(name))
	p.resp.Topics = append(p.resp.Topics, topic)
}

// addTopic adds the partitions from first on that still fit and returns the first that does not.
func (p *topicPage) addTopic(topic *metadata.Topic, first int32) int32 {
	answer := kmsg.NewDescribeTopicPartitionsResponseTopic()
	answer.Topic, answer.TopicID, answer.IsInternal = &topic.Name, topic.ID, kafka.IsInternalTopic(topic.Name)
	answer.AuthorizedOperations = security.AuthorizedOperations(p.Authorizer, p.r.Conn, security.Topic(topic.Name))
	count := int32(len(topic.Partitions))
	first = min(first, count)
	next := first + min(p.remaining, count-first)
	for i := first; i < next; i++ {
		partition := topic.Partitions[i]
		view := viewPartition(p.image, partition, p.live, p.r.Conn.Listener)
		described := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
		described.Partition, described.LeaderID, described.LeaderEpoch = partition.ID, view.leader, partition.LeaderEpoch
		described.Replicas, described.ISR, described.OfflineReplicas = partition.Replicas, partition.ISR, view.offline
		described.EligibleLeaderReplicas, described.LastKnownELR = notNull(partition.ELR), notNull(partition.LastKnownELR)
		answer.Partitions = append(answer.Partitions, described)
	}
	p.remaining -= int32(len(answer.Partitions))
	p.resp.Topics = append(p.resp.Topics, answer)
	return next
}

func notNull(ids []int32) []int32 {
	if ids == nil {
		return []int32{}
	}
	return ids
}
