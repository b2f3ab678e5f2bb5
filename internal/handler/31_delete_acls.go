package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteACLs says that no authorizer is configured (API key 31).
type DeleteACLs struct{}

// Handle answers SECURITY_DISABLED for each filter; what is of an unknown kind is no request at all.
func (DeleteACLs) Handle(_ context.Context, r *Request) Reply {
	resp := kmsg.NewPtrDeleteACLsResponse()
	for _, f := range r.Body.(*kmsg.DeleteACLsRequest).Filters {
		if f.ResourceType == 0 || f.ResourcePatternType == 0 || f.Operation == 0 || f.PermissionType == 0 {
			return Reply{CloseConnection: true}
		}
		result := kmsg.NewDeleteACLsResponseResult()
		result.ErrorCode, result.ErrorMessage = errorFields(errNoAuthorizer)
		resp.Results = append(resp.Results, result)
	}
	return Respond(resp)
}
