package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/security"
)

// UpdateFeatures has the controller finalize feature levels (API key 57).
type UpdateFeatures struct {
	Authorizer security.Authorizer
	Controller peer.ControllerChannel
}

// Handle forwards the request of a client that may alter the cluster.
func (h *UpdateFeatures) Handle(ctx context.Context, r *Request) Reply {
	response, err := forwardChange(ctx, h.Authorizer, h.Controller, r, milliseconds(r.Body.(*kmsg.UpdateFeaturesRequest).TimeoutMillis))
	if err == nil {
		return Respond(response)
	}
	resp := kmsg.NewPtrUpdateFeaturesResponse()
	resp.ErrorCode, resp.ErrorMessage = errorFields(err)
	return Respond(resp)
}
