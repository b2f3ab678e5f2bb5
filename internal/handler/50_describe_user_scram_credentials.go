package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
)

// DescribeUserSCRAMCredentials lists the users with SCRAM credentials (API key 50): nobody has any.
type DescribeUserSCRAMCredentials struct {
	Authorizer security.Authorizer
}

// Handle answers RESOURCE_NOT_FOUND for each user asked for.
func (h *DescribeUserSCRAMCredentials) Handle(_ context.Context, r *Request) Reply {
	resp := kmsg.NewPtrDescribeUserSCRAMCredentialsResponse()
	if !security.Allowed(h.Authorizer, r.Conn, security.OperationDescribe, security.Cluster) {
		resp.ErrorCode, resp.ErrorMessage = errorFields(kafka.Errorf(kafka.ErrClusterAuthorizationFailed, "not authorized to describe the cluster"))
		return Respond(resp)
	}
	resp.ErrorMessage = &noMessage
	asked := map[string]int{} // how often, and below 0 once answered
	users := r.Body.(*kmsg.DescribeUserSCRAMCredentialsRequest).Users
	for _, u := range users {
		asked[u.Name]++
	}
	for _, u := range users {
		err := kafka.Errorf(kafka.ErrResourceNotFound, "Attempt to describe a user credential that does not exist: %s", u.Name)
		switch n := asked[u.Name]; {
		case n < 0:
			continue
		case n > 1:
			err = kafka.Errorf(kafka.ErrDuplicateResource, "Cannot describe SCRAM credentials for the same user twice in a single request: %s", u.Name)
		}
		asked[u.Name] = -1
		result := kmsg.NewDescribeUserSCRAMCredentialsResponseResult()
		result.User = u.Name
		result.ErrorCode, result.ErrorMessage = errorFields(err)
		resp.Results = append(resp.Results, result)
	}
	return Respond(resp)
}
