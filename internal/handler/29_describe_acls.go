package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeACLs says that no authorizer is configured (API key 29).
type DescribeACLs struct{}

// Handle answers SECURITY_DISABLED; what is of an unknown kind is no request at all.
func (DescribeACLs) Handle(_ context.Context, r *Request) Reply {
	if f := r.Body.(*kmsg.DescribeACLsRequest); f.ResourceType == 0 || f.ResourcePatternType == 0 || f.Operation == 0 || f.PermissionType == 0 {
		return Reply{CloseConnection: true}
	}
	resp := kmsg.NewPtrDescribeACLsResponse()
	resp.ErrorCode, resp.ErrorMessage = errorFields(errNoAuthorizer)
	return Respond(resp)
}
