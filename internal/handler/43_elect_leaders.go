package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/security"
)

// ElectLeaders has the controller elect preferred or unclean leaders (API key 43).
type ElectLeaders struct {
	Authorizer security.Authorizer
	Controller peer.ControllerChannel
}

// Handle forwards the request of a client that may alter the cluster.
func (h *ElectLeaders) Handle(ctx context.Context, r *Request) Reply {
	req := r.Body.(*kmsg.ElectLeadersRequest)
	response, err := forwardChange(ctx, h.Authorizer, h.Controller, r, milliseconds(req.TimeoutMillis))
	if err == nil {
		return Respond(response)
	}
	resp := kmsg.NewPtrElectLeadersResponse()
	resp.ErrorCode = int16(kafka.CodeOf(err))
	for i := range req.Topics {
		topic := kmsg.NewElectLeadersResponseTopic()
		topic.Topic = req.Topics[i].Topic
		for _, id := range req.Topics[i].Partitions {
			partition := kmsg.NewElectLeadersResponseTopicPartition()
			partition.Partition = id
			partition.ErrorCode, partition.ErrorMessage = errorFields(err)
			topic.Partitions = append(topic.Partitions, partition)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return Respond(resp)
}
