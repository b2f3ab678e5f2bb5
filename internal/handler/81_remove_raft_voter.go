package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/security"
)

// RemoveRaftVoter has a controller vote on the metadata no longer (API key 81, KIP-853).
type RemoveRaftVoter struct {
	Authorizer security.Authorizer
	Controller peer.ControllerChannel
}

// Handle forwards the request of a client that may alter the cluster.
func (h *RemoveRaftVoter) Handle(ctx context.Context, r *Request) Reply {
	response, err := forwardChange(ctx, h.Authorizer, h.Controller, r, defaultForwardWait)
	if err == nil {
		return Respond(response)
	}
	resp := kmsg.NewPtrRemoveRaftVoterResponse()
	resp.ErrorCode, resp.ErrorMessage = errorFields(err)
	return Respond(resp)
}
