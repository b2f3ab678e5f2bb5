package handler

import (
	"context"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/security"
)

// DescribeClientQuotas lists the limits of the entities that a filter matches (API key 48).
type DescribeClientQuotas struct {
	Image      func() *metadata.Image
	Authorizer security.Authorizer
}

// Handle answers from this node's metadata.
func (h *DescribeClientQuotas) Handle(_ context.Context, r *Request) Reply {
	resp := kmsg.NewPtrDescribeClientQuotasResponse()
	resp.ErrorMessage = &noMessage
	req := r.Body.(*kmsg.DescribeClientQuotasRequest)
	err := error(kafka.Errorf(kafka.ErrClusterAuthorizationFailed, "not authorized to describe the cluster's configs"))
	var filter quotaFilter
	if security.Allowed(h.Authorizer, r.Conn, security.OperationDescribeConfigs, security.Cluster) {
		filter, err = newQuotaFilter(req)
	}
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = errorFields(err)
		return Respond(resp)
	}
	resp.Entries = []kmsg.DescribeClientQuotasResponseEntry{}
	for q := range h.Image().ClientQuotas() {
		if filter.matches(q.Entity) {
			resp.Entries = append(resp.Entries, describeQuota(q))
		}
	}
	return Respond(resp)
}

func describeQuota(q *metadata.ClientQuota) kmsg.DescribeClientQuotasResponseEntry {
	entry := kmsg.NewDescribeClientQuotasResponseEntry()
	for _, part := range q.Entity {
		e := kmsg.NewDescribeClientQuotasResponseEntryEntity()
		e.Type, e.Name = part.Type, part.Name
		entry.Entity = append(entry.Entity, e)
	}
	for _, key := range slices.Sorted(maps.Keys(q.Limits)) {
		value := kmsg.NewDescribeClientQuotasResponseEntryValue()
		value.Key, value.Value = key, q.Limits[key]
		entry.Values = append(entry.Values, value)
	}
	return entry
}

// quotaFilter matches entities by the types and names of their parts.
type quotaFilter struct {
	names  map[string]*string // nil: the default
	types  map[string]bool    // any name, or the default
	strict bool
}

func newQuotaFilter(req *kmsg.DescribeClientQuotasRequest) (quotaFilter, error) {
	f := quotaFilter{names: map[string]*string{}, types: map[string]bool{}, strict: req.Strict}
	for i := range req.Components {
		c := &req.Components[i]
		_, named := f.names[c.EntityType]
		switch {
		case c.EntityType == "":
			return f, kafka.Errorf(kafka.ErrInvalidRequest, "Invalid empty entity type.")
		case named || f.types[c.EntityType]:
			return f, kafka.Errorf(kafka.ErrInvalidRequest, "Entity type %s cannot appear more than once in the filter.", c.EntityType)
		case c.EntityType != metadata.QuotaUser && c.EntityType != metadata.QuotaClientID && c.EntityType != metadata.QuotaIP:
			return f, kafka.Errorf(kafka.ErrUnsupportedVersion, "Unsupported entity type %s", c.EntityType)
		}
		switch c.MatchType {
		case kmsg.QuotasMatchTypeExact:
			if c.Match == nil {
				return f, kafka.Errorf(kafka.ErrInvalidRequest, "Request specified MATCH_TYPE_EXACT, but set match string to null.")
			}
			f.names[c.EntityType] = c.Match
		case kmsg.QuotasMatchTypeDefault:
			if c.Match != nil {
				return f, kafka.Errorf(kafka.ErrInvalidRequest, "Request specified MATCH_TYPE_DEFAULT, but also specified a match string.")
			}
			f.names[c.EntityType] = nil
		case kmsg.QuotasMatchTypeAny:
			if c.Match != nil {
				return f, kafka.Errorf(kafka.ErrInvalidRequest, "Request specified MATCH_TYPE_SPECIFIED, but also specified a match string.")
			}
			f.types[c.EntityType] = true
		default:
			return f, kafka.Errorf(kafka.ErrInvalidRequest, "Unknown match type %d", int8(c.MatchType))
		}
	}
	if f.has(metadata.QuotaIP) && (f.has(metadata.QuotaUser) || f.has(metadata.QuotaClientID)) {
		return f, kafka.Errorf(kafka.ErrInvalidRequest,
			"Invalid entity filter component combination. IP filter component should not be used with user or clientId filter component.")
	}
	return f, nil
}

func (f *quotaFilter) has(kind string) bool {
	_, named := f.names[kind]
	return named || f.types[kind]
}

func (f *quotaFilter) matches(entity []metadata.QuotaEntityPart) bool {
	matched := 0
	for _, part := range entity {
		name, named := f.names[part.Type]
		switch {
		case named && (name == nil) == (part.Name == nil) && (name == nil || *name == *part.Name), f.types[part.Type]:
			matched++
		case f.strict:
			return false
		}
	}
	return matched == len(f.names)+len(f.types)
}
