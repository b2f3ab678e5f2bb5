package handler

import (
	"context"
	"net/netip"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/security"
)

// AlterClientQuotas has the controller set and remove limits of users, clients and addresses (API
// key 49).
type AlterClientQuotas struct {
	Authorizer security.Authorizer
	Controller peer.ControllerChannel
	// Resolve looks up the addresses of a host, which may stand where an address does.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
}

// Handle forwards what names addresses and hosts that exist, and answers for the rest.
func (h *AlterClientQuotas) Handle(ctx context.Context, r *Request) Reply {
	req := r.Body.(*kmsg.AlterClientQuotasRequest)
	resp := kmsg.NewPtrAlterClientQuotasResponse()
	if !security.Allowed(h.Authorizer, r.Conn, security.OperationAlterConfigs, security.Cluster) {
		failQuotas(resp, req.Entries, kafka.Errorf(kafka.ErrClusterAuthorizationFailed, "not authorized to alter the cluster's configs"))
		return Respond(resp)
	}
	forwarded := *req
	forwarded.Entries = nil
	for i := range req.Entries {
		if unknown := h.unknownHost(ctx, req.Entries[i].Entity); unknown != "" {
			failQuotas(resp, req.Entries[i:i+1], kafka.Errorf(kafka.ErrInvalidRequest, "%s is not a valid IP or resolvable host.", unknown))
			continue
		}
		forwarded.Entries = append(forwarded.Entries, req.Entries[i])
	}
	if len(forwarded.Entries) == 0 {
		return Respond(resp)
	}
	response, err := forward(ctx, h.Controller, r, defaultForwardWait, &forwarded)
	if err != nil {
		failQuotas(resp, forwarded.Entries, err)
		return Respond(resp)
	}
	resp.Entries = append(response.(*kmsg.AlterClientQuotasResponse).Entries, resp.Entries...)
	return Respond(resp)
}

// unknownHost returns what is neither an address nor the name of a host, in an entity that is an
// address and nothing else.
func (h *AlterClientQuotas) unknownHost(ctx context.Context, entity []kmsg.AlterClientQuotasRequestEntryEntity) string {
	if len(entity) != 1 || entity[0].Type != metadata.QuotaIP || entity[0].Name == nil || *entity[0].Name == "" {
		return ""
	}
	if _, err := netip.ParseAddr(*entity[0].Name); err == nil {
		return ""
	}
	if _, err := h.Resolve(ctx, *entity[0].Name); err != nil {
		return *entity[0].Name
	}
	return ""
}

func failQuotas(resp *kmsg.AlterClientQuotasResponse, entries []kmsg.AlterClientQuotasRequestEntry, err error) {
	for i := range entries {
		answer := kmsg.NewAlterClientQuotasResponseEntry()
		answer.ErrorCode, answer.ErrorMessage = errorFields(err)
		for _, part := range entries[i].Entity {
			e := kmsg.NewAlterClientQuotasResponseEntryEntity()
			e.Type, e.Name = part.Type, part.Name
			answer.Entity = append(answer.Entity, e)
		}
		resp.Entries = append(resp.Entries, answer)
	}
}
