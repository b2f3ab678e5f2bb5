package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeACLs says that no authorizer is configured (API key 29).
type DescribeACLs struct{}

// Handle answers SECURITY_DISABLED.
func (DescribeACLs) Handle(context.Context, *Request) Reply {
	resp := kmsg.NewPtrDescribeACLsResponse()
	resp.ErrorCode, resp.ErrorMessage = errorFields(errNoAuthorizer)
	return Respond(resp)
}
