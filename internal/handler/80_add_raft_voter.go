package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
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
	req := r.Body.(*kmsg.AddRaftVoterRequest)
	err := error(kafka.Errorf(kafka.ErrClusterAuthorizationFailed, "not authorized to alter the cluster"))
	if security.Allowed(h.Authorizer, r.Conn, security.OperationAlter, security.Cluster) {
		var response kmsg.Response
		// As in Kafka the time-out of the request counts for nothing: one of 0 must not hide the answer.
		if response, err = forward(ctx, h.Controller, r, defaultForwardWait, req); err == nil {
			return Respond(response)
		}
	}
	resp := kmsg.NewPtrAddRaftVoterResponse()
	resp.ErrorCode, resp.ErrorMessage = errorFields(err)
	return Respond(resp)
}
