package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// CreateACLs says that no authorizer is configured (API key 30).
type CreateACLs struct{}

// Handle answers SECURITY_DISABLED for each ACL.
func (CreateACLs) Handle(_ context.Context, r *Request) Reply {
	resp := kmsg.NewPtrCreateACLsResponse()
	for range r.Body.(*kmsg.CreateACLsRequest).Creations {
		result := kmsg.NewCreateACLsResponseResult()
		result.ErrorCode, result.ErrorMessage = errorFields(errNoAuthorizer)
		resp.Results = append(resp.Results, result)
	}
	return Respond(resp)
}
