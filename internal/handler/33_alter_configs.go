package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/security"
)

// AlterConfigs has the controller replace all configs of resources (API key 33).
type AlterConfigs struct {
	NodeID     int32
	Authorizer security.Authorizer
	Controller peer.ControllerChannel
	// CheckOwn checks what a request alters of this broker's configs, in a place, by its properties.
	CheckOwn func(req kmsg.Request, place int) error
}

// Handle forwards what the client may alter and answers for the rest, in the request's order.
func (h *AlterConfigs) Handle(ctx context.Context, r *Request) Reply {
	req := r.Body.(*kmsg.AlterConfigsRequest)
	forwarded := *req
	forwarded.Resources = nil
	resp := kmsg.NewPtrAlterConfigsResponse()
	resources := make([]kafka.ConfigResource, len(req.Resources))
	for i := range req.Resources {
		resources[i] = kafka.ConfigResource{Type: kafka.ConfigResourceType(req.Resources[i].ResourceType), Name: req.Resources[i].ResourceName}
	}
	a := checkAlterations(h.Authorizer, r, h.NodeID, resources, func(i int) error { return h.CheckOwn(req, i) }, func(int) error {
		return kafka.Errorf(kafka.ErrInvalidRequest, "loggers are altered with IncrementalAlterConfigs only")
	})
	for _, place := range a.forwarded {
		forwarded.Resources = append(forwarded.Resources, req.Resources[place])
	}
	a.forward(ctx, h.Controller, r, &forwarded, func(response kmsg.Response, n int) (int16, *string) {
		answer := &response.(*kmsg.AlterConfigsResponse).Resources[n]
		return answer.ErrorCode, answer.ErrorMessage
	})
	for i := range req.Resources {
		answer := kmsg.NewAlterConfigsResponseResource()
		answer.ResourceType, answer.ResourceName = req.Resources[i].ResourceType, req.Resources[i].ResourceName
		answer.ErrorCode, answer.ErrorMessage = errorFields(a.errs[i])
		resp.Resources = append(resp.Resources, answer)
	}
	return Respond(resp)
}
