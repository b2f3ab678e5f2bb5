package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
)

// JoinGroup lets a member join a group (API key 11). It blocks the connection until the
// rebalance is through.
type JoinGroup struct {
	Groups     *coordinator.Groups
	Authorizer security.Authorizer
}

// Handle waits for the rebalance that the member takes part in.
func (h *JoinGroup) Handle(ctx context.Context, r *Request) Reply {
	req := r.Body.(*kmsg.JoinGroupRequest)
	if !security.Allowed(h.Authorizer, r.Conn, security.OperationRead, security.Group(req.Group)) {
		resp := kmsg.NewPtrJoinGroupResponse()
		resp.Generation, resp.MemberID, resp.ErrorCode = -1, req.MemberID, int16(kafka.ErrGroupAuthorizationFailed)
		return Respond(resp)
	}
	resp, err := h.Groups.JoinGroup(ctx, r.ClientID(), "/"+r.Conn.Host, req)
	if err != nil {
		return Reply{CloseConnection: true}
	}
	return Respond(resp)
}
