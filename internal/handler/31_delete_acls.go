package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteACLs says that no authorizer is configured (API key 31).
type DeleteACLs struct{}

// Handle answers SECURITY_DISABLED for each filter.
func (DeleteACLs) Handle(_ context.Context, r *Request) Reply {
	resp := kmsg.NewPtrDeleteACLsResponse()
	for range r.Body.(*kmsg.DeleteACLsRequest).Filters {
		result := kmsg.NewDeleteACLsResponseResult()
		result.ErrorCode, result.ErrorMessage = errorFields(errNoAuthorizer)
		resp.Results = append(resp.Results, result)
	}
	return Respond(resp)
}
