package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/quota"
	"github.com/moldau/moldau/internal/security"
)

// CreatePartitions has the controller add partitions to topics (API key 37).
type CreatePartitions struct {
	Authorizer security.Authorizer
	Controller peer.ControllerChannel
	Quota      quota.Quota
}

// Handle forwards what the client may alter and answers for the rest.
func (h *CreatePartitions) Handle(ctx context.Context, r *Request) Reply {
	req := r.Body.(*kmsg.CreatePartitionsRequest)
	forwarded := *req
	forwarded.Topics = nil
	resp := kmsg.NewPtrCreatePartitionsResponse()
	for i := range req.Topics {
		if security.Allowed(h.Authorizer, r.Conn, security.OperationAlter, security.Topic(req.Topics[i].Topic)) {
			forwarded.Topics = append(forwarded.Topics, req.Topics[i])
			continue
		}
		err := kafka.Errorf(kafka.ErrTopicAuthorizationFailed, "not authorized to alter this topic")
		resp.Topics = append(resp.Topics, failedPartitions(req.Topics[i].Topic, err))
	}
	if len(forwarded.Topics) == 0 {
		return Respond(resp)
	}
	chargeChanges(h.Quota, r, createPartitionsStrictFrom)
	response, err := forward(ctx, h.Controller, r, milliseconds(req.TimeoutMillis), &forwarded)
	if err == nil {
		resp.Topics = append(response.(*kmsg.CreatePartitionsResponse).Topics, resp.Topics...)
		return respondChanged(r, resp)
	}
	for i := range forwarded.Topics {
		resp.Topics = append(resp.Topics, failedPartitions(forwarded.Topics[i].Topic, err))
	}
	return respondChanged(r, resp)
}

func failedPartitions(name string, err error) kmsg.CreatePartitionsResponseTopic {
	topic := kmsg.NewCreatePartitionsResponseTopic()
	topic.Topic = name
	topic.ErrorCode, topic.ErrorMessage = errorFields(err)
	return topic
}
