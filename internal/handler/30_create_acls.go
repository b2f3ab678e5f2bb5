package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// CreateACLs says that no authorizer is configured (API key 30).
type CreateACLs struct{}

// Handle answers SECURITY_DISABLED for each ACL; what is of an unknown kind is no request at all.
func (CreateACLs) Handle(_ context.Context, r *Request) Reply {
	resp := kmsg.NewPtrCreateACLsResponse()
	for _, c := range r.Body.(*kmsg.CreateACLsRequest).Creations {
		if c.ResourceType == 0 || c.ResourcePatternType == 0 || c.Operation == 0 || c.PermissionType == 0 {
			return Reply{CloseConnection: true}
		}
		result := kmsg.NewCreateACLsResponseResult()
		result.ErrorCode, result.ErrorMessage = errorFields(errNoAuthorizer)
		resp.Results = append(resp.Results, result)
	}
	return Respond(resp)
}
