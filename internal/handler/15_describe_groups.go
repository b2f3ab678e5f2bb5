package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
)

// DescribeGroups describes groups of the classic protocol (API key 15).
type DescribeGroups struct {
	Groups     *coordinator.Groups
	Authorizer security.Authorizer
}

// groupOperations are the operations that ACLs can allow on a group.
var groupOperations = []security.Operation{
	security.OperationRead, security.OperationDelete, security.OperationDescribe,
	security.OperationDescribeConfigs, security.OperationAlterConfigs,
}

// Handle describes the groups that the client may see.
func (h *DescribeGroups) Handle(ctx context.Context, r *Request) Reply {
	req := r.Body.(*kmsg.DescribeGroupsRequest)
	resp := kmsg.NewPtrDescribeGroupsResponse()
	var allowed []string
	for _, id := range req.Groups {
		if security.Allowed(h.Authorizer, r.Conn, security.OperationDescribe, security.Group(id)) {
			allowed = append(allowed, id)
			continue
		}
		refused := kmsg.NewDescribeGroupsResponseGroup()
		refused.Group, refused.ErrorCode = id, int16(kafka.ErrGroupAuthorizationFailed)
		resp.Groups = append(resp.Groups, refused)
	}
	described, err := h.Groups.DescribeGroups(ctx, allowed, r.Version())
	if err != nil {
		return Reply{CloseConnection: true}
	}
	for i := range described {
		if req.IncludeAuthorizedOperations && described[i].ErrorCode == 0 {
			described[i].AuthorizedOperations = h.authorizedOperations(r, described[i].Group)
		}
	}
	resp.Groups = append(resp.Groups, described...)
	return Respond(resp)
}

// authorizedOperations returns the bit field of the operations that the client may do.
func (h *DescribeGroups) authorizedOperations(r *Request, id string) int32 {
	var bits int32
	for _, op := range groupOperations {
		if security.Allowed(h.Authorizer, r.Conn, op, security.Group(id)) {
			bits |= 1 << op
		}
	}
	return bits
}
