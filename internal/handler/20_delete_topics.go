package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/quota"
	"github.com/moldau/moldau/internal/security"
)

// DeleteTopics has the controller delete topics, named by name or by id (API key 20).
type DeleteTopics struct {
	Image      func() *metadata.Image
	Authorizer security.Authorizer
	Controller peer.ControllerChannel
	Quota      quota.Quota
}

// Handle forwards what the client may delete and answers for the rest.
func (h *DeleteTopics) Handle(ctx context.Context, r *Request) Reply {
	req := r.Body.(*kmsg.DeleteTopicsRequest)
	forwarded := *req
	forwarded.Topics, forwarded.TopicNames = nil, nil
	resp := kmsg.NewPtrDeleteTopicsResponse()
	for _, name := range req.TopicNames {
		if h.allowed(r, security.OperationDelete, name) {
			forwarded.TopicNames = append(forwarded.TopicNames, name)
			continue
		}
		resp.Topics = append(resp.Topics, failedDeletion(&name, kafka.ZeroUUID, errDeleteDenied))
	}
	image := h.Image()
	for _, topic := range req.Topics {
		name := topic.Topic
		if byID := image.TopicByID(topic.TopicID); name == nil && byID != nil {
			name = &byID.Name
		}
		switch {
		case name == nil || h.allowed(r, security.OperationDelete, *name):
			forwarded.Topics = append(forwarded.Topics, topic)
		case topic.Topic == nil && !h.allowed(r, security.OperationDescribe, *name):
			resp.Topics = append(resp.Topics, failedDeletion(nil, topic.TopicID, errDeleteDenied))
		default:
			resp.Topics = append(resp.Topics, failedDeletion(name, topic.TopicID, errDeleteDenied))
		}
	}
	if len(forwarded.Topics)+len(forwarded.TopicNames) == 0 {
		return Respond(resp)
	}
	chargeChanges(h.Quota, r, deleteTopicsStrictFrom)
	response, err := forward(ctx, h.Controller, r, milliseconds(req.TimeoutMillis), &forwarded)
	if err == nil {
		resp.Topics = append(response.(*kmsg.DeleteTopicsResponse).Topics, resp.Topics...)
		return respondChanged(r, resp)
	}
	for _, name := range forwarded.TopicNames {
		resp.Topics = append(resp.Topics, failedDeletion(&name, kafka.ZeroUUID, err))
	}
	for _, topic := range forwarded.Topics {
		resp.Topics = append(resp.Topics, failedDeletion(topic.Topic, topic.TopicID, err))
	}
	return respondChanged(r, resp)
}

var errDeleteDenied = kafka.Errorf(kafka.ErrTopicAuthorizationFailed, "not authorized to delete this topic")

func (h *DeleteTopics) allowed(r *Request, op security.Operation, topic string) bool {
	return security.Allowed(h.Authorizer, r.Conn, security.OperationDelete, security.Cluster) ||
		security.Allowed(h.Authorizer, r.Conn, op, security.Topic(topic))
}

func failedDeletion(name *string, id [16]byte, err error) kmsg.DeleteTopicsResponseTopic {
	topic := kmsg.NewDeleteTopicsResponseTopic()
	topic.Topic, topic.TopicID = name, id
	topic.ErrorCode, topic.ErrorMessage = errorFields(err)
	return topic
}
