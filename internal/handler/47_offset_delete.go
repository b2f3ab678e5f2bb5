package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/security"
)

// OffsetDelete removes committed offsets of a group (API key 47).
type OffsetDelete struct {
	Groups     *coordinator.Groups
	Authorizer security.Authorizer
	Metadata   func() *metadata.Image
}

// Handle has the coordinator delete the offsets of partitions that exist. The answer has them
// after those that do not.
func (h *OffsetDelete) Handle(ctx context.Context, r *Request) Reply {
	req := r.Body.(*kmsg.OffsetDeleteRequest)
	resp := kmsg.NewPtrOffsetDeleteResponse()
	if !security.Allowed(h.Authorizer, r.Conn, security.OperationDelete, security.Group(req.Group)) {
		resp.ErrorCode = int16(kafka.ErrGroupAuthorizationFailed)
		return Respond(resp)
	}
	accepted := *req
	accepted.Topics = nil
	image := h.Metadata()
	for i := range req.Topics {
		kept, failed := h.check(r, image, &req.Topics[i])
		if len(kept.Partitions) > 0 {
			accepted.Topics = append(accepted.Topics, kept)
		}
		if len(failed.Partitions) > 0 {
			resp.Topics = append(resp.Topics, failed)
		}
	}
	deleted, err := h.Groups.DeleteOffsets(ctx, &accepted)
	if err != nil {
		return Reply{CloseConnection: true}
	}
	if resp.ErrorCode = deleted.ErrorCode; resp.ErrorCode != 0 {
		resp.Topics = nil
		return Respond(resp)
	}
	// A topic appears once in a response.
	index := make(map[string]int, len(resp.Topics))
	for i := range resp.Topics {
		index[resp.Topics[i].Topic] = i
	}
	for _, topic := range deleted.Topics {
		if i, ok := index[topic.Topic]; ok {
			resp.Topics[i].Partitions = append(resp.Topics[i].Partitions, topic.Partitions...)
			continue
		}
		index[topic.Topic] = len(resp.Topics)
		resp.Topics = append(resp.Topics, topic)
	}
	return Respond(resp)
}

func (h *OffsetDelete) check(r *Request, image *metadata.Image, given *kmsg.OffsetDeleteRequestTopic) (kept kmsg.OffsetDeleteRequestTopic, failed kmsg.OffsetDeleteResponseTopic) {
	kept.Topic, failed.Topic = given.Topic, given.Topic
	topic := image.TopicByName(given.Topic)
	allowed := security.Allowed(h.Authorizer, r.Conn, security.OperationRead, security.Topic(given.Topic))
	for _, p := range given.Partitions {
		code := kafka.ErrNone
		switch {
		case !allowed:
			code = kafka.ErrTopicAuthorizationFailed
		case topic == nil || topic.Partition(p.Partition) == nil:
			code = kafka.ErrUnknownTopicOrPartition
		}
		if code == kafka.ErrNone {
			kept.Partitions = append(kept.Partitions, p)
			continue
		}
		failed.Partitions = append(failed.Partitions, kmsg.OffsetDeleteResponseTopicPartition{Partition: p.Partition, ErrorCode: int16(code)})
	}
	return kept, failed
}
