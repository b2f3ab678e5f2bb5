package handler

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator"
	"github.com/moldau/moldau/internal/security"
)

// ListGroups lists the groups that this broker coordinates (API key 16).
type ListGroups struct {
	Groups     *coordinator.Groups
	Authorizer security.Authorizer
}

// Handle lists the groups that the client may see: all with DESCRIBE on the cluster, else those
// that it may describe.
func (h *ListGroups) Handle(ctx context.Context, r *Request) Reply {
	req := r.Body.(*kmsg.ListGroupsRequest)
	listed, code, err := h.Groups.ListGroups(ctx, req.StatesFilter, req.TypesFilter)
	if err != nil {
		return Reply{CloseConnection: true}
	}
	if !security.Allowed(h.Authorizer, r.Conn, security.OperationDescribe, security.Cluster) {
		listed = slices.DeleteFunc(listed, func(g kmsg.ListGroupsResponseGroup) bool {
			return !security.Allowed(h.Authorizer, r.Conn, security.OperationDescribe, security.Group(g.Group))
		})
	}
	resp := kmsg.NewPtrListGroupsResponse()
	resp.Groups, resp.ErrorCode = listed, int16(code)
	return Respond(resp)
}
