package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
)

// Heartbeat keeps a member of a group alive (API key 12).
type Heartbeat struct {
	Groups     *coordinator.Groups
	Authorizer security.Authorizer
}

// Handle answers whether the member may go on or has to join again.
func (h *Heartbeat) Handle(ctx context.Context, r *Request) Reply {
	req := r.Body.(*kmsg.HeartbeatRequest)
	if !security.Allowed(h.Authorizer, r.Conn, security.OperationRead, security.Group(req.Group)) {
		resp := kmsg.NewPtrHeartbeatResponse()
		resp.ErrorCode = int16(kafka.ErrGroupAuthorizationFailed)
		return Respond(resp)
	}
	resp, err := h.Groups.Heartbeat(ctx, req)
	if err != nil {
		return Reply{CloseConnection: true}
	}
	return Respond(resp)
}
