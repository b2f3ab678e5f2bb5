package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
)

// RenewDelegationToken would renew a token (API key 39), of which there are none.
type RenewDelegationToken struct{}

// Handle answers DELEGATION_TOKEN_REQUEST_NOT_ALLOWED.
func (RenewDelegationToken) Handle(context.Context, *Request) Reply {
	resp := kmsg.NewPtrRenewDelegationTokenResponse()
	resp.ErrorCode, resp.ExpiryTimestamp = int16(kafka.ErrDelegationTokenRequestNotAllowed), noTimestamp
	return Respond(resp)
}
