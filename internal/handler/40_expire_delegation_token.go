package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
)

// ExpireDelegationToken would expire a token (API key 40), of which there are none.
type ExpireDelegationToken struct{}

// Handle answers DELEGATION_TOKEN_REQUEST_NOT_ALLOWED.
func (ExpireDelegationToken) Handle(context.Context, *Request) Reply {
	resp := kmsg.NewPtrExpireDelegationTokenResponse()
	resp.ErrorCode, resp.ExpiryTimestamp = int16(kafka.ErrDelegationTokenRequestNotAllowed), noTimestamp
	return Respond(resp)
}
