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
	// CheckOwn checks what a request alters of this broker's configs, in a place, by its properties.
	CheckOwn func(req kmsg.Request, place int) error
	LogLevel *slog.LevelVar
}

// Handle forwards what the client may alter and answers for the rest, in the request's order.
func (h *IncrementalAlterConfigs) Handle(ctx context.Context, r *Request) Reply {
	req := r.Body.(*kmsg.IncrementalAlterConfigsRequest)
	forwarded := *req
	forwarded.Resources = nil
	resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
	resources := make([]kafka.ConfigResource, len(req.Resources))
	for i := range req.Resources {
		resources[i] = kafka.ConfigResource{Type: kafka.ConfigResourceType(req.Resources[i].ResourceType), Name: req.Resources[i].ResourceName}
	}
	a := checkAlterations(h.Authorizer, r, h.NodeID, resources, func(i int) error { return h.CheckOwn(req, i) }, func(i int) error {
		if err := checkKeys(req.Resources[i].Configs); err != nil {
			return err
		}
		return alterLogger(h.LogLevel, req.Resources[i].Configs, req.ValidateOnly)
	})
	for _, place := range a.forwarded {
		forwarded.Resources = append(forwarded.Resources, req.Resources[place])
	}
	a.forward(ctx, h.Controller, r, &forwarded, func(response kmsg.Response, n int) (int16, *string) {
		answer := &response.(*kmsg.IncrementalAlterConfigsResponse).Resources[n]
		return answer.ErrorCode, answer.ErrorMessage
	})
	for i := range req.Resources {
		answer := kmsg.NewIncrementalAlterConfigsResponseResource()
		answer.ResourceType, answer.ResourceName = req.Resources[i].ResourceType, req.Resources[i].ResourceName
		answer.ErrorCode, answer.ErrorMessage = errorFields(a.errs[i])
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
