package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/quota"
	"github.com/moldau/moldau/internal/security"
)

// CreateTopics has the controller create topics (API key 19).
type CreateTopics struct {
	Authorizer security.Authorizer
	Controller peer.ControllerChannel
	Quota      quota.Quota
}

// Handle forwards what the client may create and answers for the rest.
func (h *CreateTopics) Handle(ctx context.Context, r *Request) Reply {
	req := r.Body.(*kmsg.CreateTopicsRequest)
	forwarded := *req
	forwarded.Topics = nil
	resp := kmsg.NewPtrCreateTopicsResponse()
	mayCreateAny := security.Allowed(h.Authorizer, r.Conn, security.OperationCreate, security.Cluster)
	denied := map[string]bool{}
	for i := range req.Topics {
		name := req.Topics[i].Topic
		switch {
		case mayCreateAny || security.Allowed(h.Authorizer, r.Conn, security.OperationCreate, security.Topic(name)):
			forwarded.Topics = append(forwarded.Topics, req.Topics[i])
		case !denied[name]:
			denied[name] = true
			resp.Topics = append(resp.Topics, failedCreation(name, kafka.Errorf(kafka.ErrTopicAuthorizationFailed, "not authorized to create this topic")))
		}
	}
	if len(forwarded.Topics) == 0 {
		return Respond(resp)
	}
	chargeChanges(h.Quota, r, createTopicsStrictFrom)
	response, err := forward(ctx, h.Controller, r, milliseconds(req.TimeoutMillis), &forwarded)
	if err != nil {
		for i := range forwarded.Topics {
			resp.Topics = append(resp.Topics, failedCreation(forwarded.Topics[i].Topic, err))
		}
		return respondChanged(r, resp)
	}
	created := response.(*kmsg.CreateTopicsResponse).Topics
	for i := range created {
		h.hideConfigs(r, &created[i])
	}
	resp.Topics = append(created, resp.Topics...)
	return respondChanged(r, resp)
}

// hideConfigs takes what only those may see who may describe the topic's configs out of an answer.
func (h *CreateTopics) hideConfigs(r *Request, created *kmsg.CreateTopicsResponseTopic) {
	if created.ErrorCode != 0 || security.Allowed(h.Authorizer, r.Conn, security.OperationDescribeConfigs, security.Topic(created.Topic)) {
		return
	}
	created.ConfigErrorCode = int16(kafka.ErrTopicAuthorizationFailed)
	created.NumPartitions, created.ReplicationFactor = -1, -1
	created.Configs = nil
}

func failedCreation(name string, err error) kmsg.CreateTopicsResponseTopic {
	topic := kmsg.NewCreateTopicsResponseTopic()
	topic.Topic = name
	topic.ErrorCode, topic.ErrorMessage = errorFields(err)
	topic.Configs = []kmsg.CreateTopicsResponseTopicConfig{}
	return topic
}
