package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
)

// LeaveGroup removes members from a group (API key 13).
type LeaveGroup struct {
	Groups     *coordinator.Groups
	Authorizer security.Authorizer
}

// firstLeaveGroupVersionWithMembers is the version from which a request names several members.
const firstLeaveGroupVersionWithMembers = 3

// Handle removes one member or several.
func (h *LeaveGroup) Handle(ctx context.Context, r *Request) Reply {
	req := r.Body.(*kmsg.LeaveGroupRequest)
	if !security.Allowed(h.Authorizer, r.Conn, security.OperationRead, security.Group(req.Group)) {
		resp := kmsg.NewPtrLeaveGroupResponse()
		resp.ErrorCode = int16(kafka.ErrGroupAuthorizationFailed)
		return Respond(resp)
	}
	batched := *req
	if r.Version() < firstLeaveGroupVersionWithMembers {
		batched.Members = []kmsg.LeaveGroupRequestMember{{MemberID: req.MemberID}}
	}
	resp, err := h.Groups.LeaveGroup(ctx, &batched)
	if err != nil {
		return Reply{CloseConnection: true}
	}
	if r.Version() < firstLeaveGroupVersionWithMembers && resp.ErrorCode == 0 && len(resp.Members) == 1 {
		resp.ErrorCode = resp.Members[0].ErrorCode
	}
	return Respond(resp)
}
