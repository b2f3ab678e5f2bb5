package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
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
	err := error(kafka.Errorf(kafka.ErrClusterAuthorizationFailed, "not authorized to alter the cluster"))
	if security.Allowed(h.Authorizer, r.Conn, security.OperationAlter, security.Cluster) {
		var response kmsg.Response
		if response, err = forward(ctx, h.Controller, r, defaultForwardWait, r.Body.(*kmsg.RemoveRaftVoterRequest)); err == nil {
			return Respond(response)
		}
	}
	resp := kmsg.NewPtrRemoveRaftVoterResponse()
	resp.ErrorCode, resp.ErrorMessage = errorFields(err)
	return Respond(resp)
}
