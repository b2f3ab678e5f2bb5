package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
)

// SyncGroup gives a member its assignment (API key 14). A follower's request blocks its
// connection until the leader's has come.
type SyncGroup struct {
	Groups     *coordinator.Groups
	Authorizer security.Authorizer
}

// firstSyncGroupVersionWithProtocol is the version from which the member must name the protocol
// type and the assignor that it believes in.
const firstSyncGroupVersionWithProtocol = 5

// Handle waits for the assignment.
func (h *SyncGroup) Handle(ctx context.Context, r *Request) Reply {
	req := r.Body.(*kmsg.SyncGroupRequest)
	code := kafka.ErrNone
	switch {
	case r.Version() >= firstSyncGroupVersionWithProtocol && (req.ProtocolType == nil || req.Protocol == nil):
		code = kafka.ErrInconsistentGroupProtocol
	case !security.Allowed(h.Authorizer, r.Conn, security.OperationRead, security.Group(req.Group)):
		code = kafka.ErrGroupAuthorizationFailed
	}
	if code != kafka.ErrNone {
		resp := kmsg.NewPtrSyncGroupResponse()
		resp.ErrorCode = int16(code)
		return Respond(resp)
	}
	resp, err := h.Groups.SyncGroup(ctx, req)
	if err != nil {
		return Reply{CloseConnection: true}
	}
	return Respond(resp)
}
