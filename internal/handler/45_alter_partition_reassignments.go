package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/security"
)

// AlterPartitionReassignments has the controller change the replicas of partitions (API key 45).
type AlterPartitionReassignments struct {
	Authorizer security.Authorizer
	Controller peer.ControllerChannel
}

// Handle forwards the request of a client that may alter the cluster.
func (h *AlterPartitionReassignments) Handle(ctx context.Context, r *Request) Reply {
	response, err := forwardChange(ctx, h.Authorizer, h.Controller, r, milliseconds(r.Body.(*kmsg.AlterPartitionAssignmentsRequest).TimeoutMillis))
	if err == nil {
		return Respond(response)
	}
	resp := kmsg.NewPtrAlterPartitionAssignmentsResponse()
	resp.ErrorCode, resp.ErrorMessage = errorFields(err)
	return Respond(resp)
}
