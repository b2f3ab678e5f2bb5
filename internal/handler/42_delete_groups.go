package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
)

// DeleteGroups deletes groups without members, with their offsets (API key 42).
type DeleteGroups struct {
	Groups     *coordinator.Groups
	Authorizer security.Authorizer
}

// Handle deletes each group that the client may delete; a group that is named twice counts once.
func (h *DeleteGroups) Handle(ctx context.Context, r *Request) Reply {
	req := r.Body.(*kmsg.DeleteGroupsRequest)
	resp := kmsg.NewPtrDeleteGroupsResponse()
	var allowed, refused []string
	seen := make(map[string]struct{}, len(req.Groups))
	for _, id := range req.Groups {
		if _, again := seen[id]; again {
			continue
		}
		seen[id] = struct{}{}
		switch {
		case security.Allowed(h.Authorizer, r.Conn, security.OperationDelete, security.Group(id)):
			allowed = append(allowed, id)
		default:
			refused = append(refused, id)
		}
	}
	deleted, err := h.Groups.DeleteGroups(ctx, allowed)
	if err != nil {
		return Reply{CloseConnection: true}
	}
	resp.Groups = deleted
	for _, id := range refused {
		resp.Groups = append(resp.Groups, kmsg.DeleteGroupsResponseGroup{Group: id, ErrorCode: int16(kafka.ErrGroupAuthorizationFailed)})
	}
	return Respond(resp)
}
