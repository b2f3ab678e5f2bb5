package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/security"
)

// AddRaftVoter has a controller vote on the metadata that follows it so far (API key 80, KIP-853).
type AddRaftVoter struct {
	Authorizer security.Authorizer
	Controller peer.ControllerChannel
}

// Handle forwards the request of a client that may alter the cluster.
func (h *AddRaftVoter) Handle(ctx context.Context, r *Request) Reply {
	// As in Kafka the time-out of the request counts for nothing: one of 0 must not hide the answer.
	response, err := forwardChange(ctx, h.Authorizer, h.Controller, r, defaultForwardWait)
	if err == nil {
		return Respond(response)
	}
	resp := kmsg.NewPtrAddRaftVoterResponse()
	resp.ErrorCode, resp.ErrorMessage = errorFields(err)
	return Respond(resp)
}
