package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
)

// AlterUserSCRAMCredentials refuses to store secrets that no listener would ask for (API key 51).
type AlterUserSCRAMCredentials struct{}

// Handle answers SECURITY_DISABLED once for each user.
func (AlterUserSCRAMCredentials) Handle(_ context.Context, r *Request) Reply {
	req, resp := r.Body.(*kmsg.AlterUserSCRAMCredentialsRequest), kmsg.NewPtrAlterUserSCRAMCredentialsResponse()
	answered := map[string]bool{}
	refuse := func(user string) {
		if answered[user] {
			return
		}
		answered[user] = true
		result := kmsg.NewAlterUserSCRAMCredentialsResponseResult()
		result.User = user
		result.ErrorCode, result.ErrorMessage = errorFields(kafka.Errorf(kafka.ErrSecurityDisabled, "SASL is not there yet: no listener would check the credentials"))
		resp.Results = append(resp.Results, result)
	}
	for i := range req.Deletions {
		refuse(req.Deletions[i].Name)
	}
	for i := range req.Upsertions {
		refuse(req.Upsertions[i].Name)
	}
	return Respond(resp)
}
