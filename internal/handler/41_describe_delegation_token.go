package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
)

// DescribeDelegationToken would list tokens (API key 41), of which there are none.
type DescribeDelegationToken struct{}

// Handle answers DELEGATION_TOKEN_REQUEST_NOT_ALLOWED.
func (DescribeDelegationToken) Handle(context.Context, *Request) Reply {
	resp := kmsg.NewPtrDescribeDelegationTokenResponse()
	resp.ErrorCode = int16(kafka.ErrDelegationTokenRequestNotAllowed)
	return Respond(resp)
}
