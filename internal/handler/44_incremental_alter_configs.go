package handler

import (
	"context"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/security"
)

// IncrementalAlterConfigs has the controller change single configs of resources, and sets the
// level of the broker's logger itself (API key 44).
type IncrementalAlterConfigs struct {
	NodeID     int32
	Authorizer security.Authorizer
	Controller peer.ControllerChannel
	LogLevel   *slog.LevelVar
}

// Handle forwards what the client may alter and answers for the rest, in the request's order.
func (h *IncrementalAlterConfigs) Handle(ctx context.Context, r *Request) Reply {
	req := r.Body.(*kmsg.IncrementalAlterConfigsRequest)
	forwarded := *req
	forwarded.Resources = nil
	resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
	var places []int
	resources := make([]kafka.ConfigResource, len(req.Resources))
	for i := range req.Resources {
		resources[i] = kafka.ConfigResource{Type: kafka.ConfigResourceType(req.Resources[i].ResourceType), Name: req.Resources[i].ResourceName}
	}
	errs := checkAlterations(h.Authorizer, r, h.NodeID, resources)
	for i := range req.Resources {
		switch {
		case errs[i] != nil:
		case resources[i].Type == kafka.ConfigResourceBrokerLogger:
			if errs[i] = checkKeys(req.Resources[i].Configs); errs[i] == nil {
				errs[i] = alterLogger(h.LogLevel, req.Resources[i].Configs, req.ValidateOnly)
			}
		default:
			forwarded.Resources = append(forwarded.Resources, req.Resources[i])
			places = append(places, i)
		}
	}
	if len(places) > 0 {
		response, err := forward(ctx, h.Controller, r, defaultForwardWait, &forwarded)
		for n, place := range places {
			errs[place] = err
			if err == nil {
				answer := response.(*kmsg.IncrementalAlterConfigsResponse).Resources[n]
				errs[place] = answeredError(answer.ErrorCode, answer.ErrorMessage)
			}
		}
	}
	for i := range req.Resources {
		answer := kmsg.NewIncrementalAlterConfigsResponseResource()
		answer.ResourceType, answer.ResourceName = req.Resources[i].ResourceType, req.Resources[i].ResourceName
		answer.ErrorCode, answer.ErrorMessage = errorFields(errs[i])
		resp.Resources = append(resp.Resources, answer)
	}
	return Respond(resp)
}

// checkKeys refuses keys named twice and null values; for what is forwarded the controller does.
func checkKeys(configs []kmsg.IncrementalAlterConfigsRequestResourceConfig) error {
	seen := map[string]bool{}
	for _, c := range configs {
		switch {
		case seen[c.Name]:
			return kafka.Errorf(kafka.ErrInvalidRequest, "config key %s appears twice", c.Name)
		case c.Value == nil && c.Op != kmsg.IncrementalAlterConfigOpDelete:
			return kafka.Errorf(kafka.ErrInvalidRequest, "config key %s has no value", c.Name)
		}
		seen[c.Name] = true
	}
	return nil
}
