package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/security"
)

// UnregisterBroker has the controller forget a broker (API key 64). As in Kafka nobody asks whether
// it is gone: one that is there serves again after its next start.
type UnregisterBroker struct {
	Authorizer security.Authorizer
	Controller peer.ControllerChannel
}

// Handle forwards the request of a client that may alter the cluster.
func (h *UnregisterBroker) Handle(ctx context.Context, r *Request) Reply {
	response, err := forwardChange(ctx, h.Authorizer, h.Controller, r, defaultForwardWait)
	if err == nil {
		return Respond(response)
	}
	resp := kmsg.NewPtrUnregisterBrokerResponse()
	resp.ErrorCode, resp.ErrorMessage = errorFields(err)
	return Respond(resp)
}
