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
}

// Handle forwards what the client may alter and answers for the rest, in the request's order.
func (h *AlterConfigs) Handle(ctx context.Context, r *Request) Reply {
	req := r.Body.(*kmsg.AlterConfigsRequest)
	forwarded := *req
	forwarded.Resources = nil
	resp := kmsg.NewPtrAlterConfigsResponse()
	var places []int
	resources := make([]kafka.ConfigResource, len(req.Resources))
	for i := range req.Resources {
		resources[i] = kafka.ConfigResource{Type: kafka.ConfigResourceType(req.Resources[i].ResourceType), Name: req.Resources[i].ResourceName}
	}
	errs := checkAlterations(h.Authorizer, r, h.NodeID, resources)
	for i := range req.Resources {
		if errs[i] == nil && resources[i].Type == kafka.ConfigResourceBrokerLogger {
			errs[i] = kafka.Errorf(kafka.ErrInvalidRequest, "loggers are altered with IncrementalAlterConfigs only")
		}
		if errs[i] == nil {
			forwarded.Resources = append(forwarded.Resources, req.Resources[i])
			places = append(places, i)
		}
	}
	if len(places) > 0 {
		response, err := forward(ctx, h.Controller, r, defaultForwardWait, &forwarded)
		for n, place := range places {
			errs[place] = err
			if err == nil {
				answer := response.(*kmsg.AlterConfigsResponse).Resources[n]
				errs[place] = answeredError(answer.ErrorCode, answer.ErrorMessage)
			}
		}
	}
	for i := range req.Resources {
		answer := kmsg.NewAlterConfigsResponseResource()
		answer.ResourceType, answer.ResourceName = req.Resources[i].ResourceType, req.Resources[i].ResourceName
		answer.ErrorCode, answer.ErrorMessage = errorFields(errs[i])
		resp.Resources = append(resp.Resources, answer)
	}
	return Respond(resp)
}

// checkAlterations finds what must not go on to the controller: resources named twice, of types
// that nobody knows, of other brokers, and those that the client may not alter.
func checkAlterations(a security.Authorizer, r *Request, nodeID int32, resources []kafka.ConfigResource) []error {
	count := map[kafka.ConfigResource]int{}
	for _, resource := range resources {
		count[resource]++
	}
	errs := make([]error, len(resources))
	for i, resource := range resources {
		_, known := configResources[resource.Type]
		switch {
		case count[resource] > 1:
			errs[i] = kafka.Errorf(kafka.ErrInvalidRequest, "each resource must appear at most once")
		case !known:
			errs[i] = kafka.Errorf(kafka.ErrInvalidRequest, "unknown resource type %d", resource.Type)
		default:
			errs[i] = authorizeConfigs(a, r, security.OperationAlterConfigs, resource)
		}
		if errs[i] == nil && (resource.Type == kafka.ConfigResourceBroker && resource.Name != "" || resource.Type == kafka.ConfigResourceBrokerLogger) {
			errs[i] = checkNodeName(resource.Name, nodeID)
		}
	}
	return errs
}

// answeredError is the error that the controller's answer states, or nil.
func answeredError(code int16, message *string) error {
	switch {
	case code == 0:
		return nil
	case message == nil:
		return kafka.ErrorCode(code)
	default:
		return &kafka.Error{Code: kafka.ErrorCode(code), Message: *message}
	}
}
