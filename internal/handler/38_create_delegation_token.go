package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
)

// CreateDelegationToken would give a client a token (API key 38). Tokens are for clients that
// authenticate, and no listener asks for that.
type CreateDelegationToken struct{}

// Handle answers DELEGATION_TOKEN_REQUEST_NOT_ALLOWED.
func (CreateDelegationToken) Handle(_ context.Context, r *Request) Reply {
	resp := kmsg.NewPtrCreateDelegationTokenResponse()
	resp.ErrorCode = int16(kafka.ErrDelegationTokenRequestNotAllowed)
	resp.TokenRequesterPrincipalType, resp.TokenRequesterPrincipalName = r.Conn.Principal.Type, r.Conn.Principal.Name
	resp.PrincipalType, resp.PrincipalName = r.Conn.Principal.Type, r.Conn.Principal.Name
	if req := r.Body.(*kmsg.CreateDelegationTokenRequest); req.OwnerPrincipalType != nil && req.OwnerPrincipalName != nil && *req.OwnerPrincipalName != "" {
		resp.PrincipalType, resp.PrincipalName = *req.OwnerPrincipalType, *req.OwnerPrincipalName
	}
	resp.IssueTimestamp, resp.ExpiryTimestamp, resp.MaxTimestamp = noTimestamp, noTimestamp, noTimestamp
	return Respond(resp)
}

// noTimestamp stands in answers that carry no time.
const noTimestamp = -1
