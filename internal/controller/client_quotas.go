package controller

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// maxQuotaRecordsPerRequest is Kafka's bound on what one request may change.
const maxQuotaRecordsPerRequest = 10_000

// quotaRange says which numbers a limit may be.
type quotaRange struct {
	kind     string // Kafka's name of the type
	max      float64
	integral bool
}

// The limits that may be set for users and clients, and those for addresses.
var (
	clientLimits = map[string]quotaRange{
		"producer_byte_rate":       {"LONG", math.MaxInt64, true},
		"consumer_byte_rate":       {"LONG", math.MaxInt64, true},
		"request_percentage":       {"DOUBLE", math.Inf(1), false},
		"controller_mutation_rate": {"DOUBLE", math.Inf(1), false},
	}
	addressLimits = map[string]quotaRange{"connection_creation_rate": {"INT", math.MaxInt32, true}}
)

// alterClientQuotas answers once per entity; a fault of one does not hold up the others.
func (c *Controller) alterClientQuotas(in Input, req *kmsg.AlterClientQuotasRequest) Result {
	resp := kmsg.NewPtrAlterClientQuotasResponse()
	resp.Version = req.Version
	var records []metadata.Record
	answers := map[string]int{} // of an entity, in resp.Entries
	for i := range req.Entries {
		entity := quotaEntityOf(req.Entries[i].Entity)
		altered, err := alterQuota(in.Image, entity, req.Entries[i].Ops)
		key := fmt.Sprint(entityText(entity), len(entity))
		at, again := answers[key]
		if again || hasRepeatedKey(req.Entries[i].Ops) {
			altered = nil
			err = kafka.Errorf(kafka.ErrInvalidRequest, "Ignoring duplicate entity ClientQuotaEntity(entries={%s})", entityText(entity))
		}
		if !again {
			at = len(resp.Entries)
			answers[key] = at
			answer := kmsg.NewAlterClientQuotasResponseEntry()
			for _, part := range entity {
				e := kmsg.NewAlterClientQuotasResponseEntryEntity()
				e.Type, e.Name = part.Type, part.Name
				answer.Entity = append(answer.Entity, e)
			}
			resp.Entries = append(resp.Entries, answer)
		}
		if err != nil {
			resp.Entries[at].ErrorCode, resp.Entries[at].ErrorMessage = int16(kafka.CodeOf(err)), errorText(err)
		}
		records = append(records, altered...)
	}
	if len(records) > maxQuotaRecordsPerRequest {
		message := fmt.Sprintf("a request may change at most %d limits; this one changes %d", maxQuotaRecordsPerRequest, len(records))
		for i := range resp.Entries {
			resp.Entries[i].ErrorCode, resp.Entries[i].ErrorMessage = int16(kafka.ErrPolicyViolation), &message
		}
		records = nil
	}
	if req.ValidateOnly {
		records = nil
	}
	return Result{Response: resp, Records: records}
}

// quotaEntityOf returns the parts of an entity by type; of a repeated type the last counts.
func quotaEntityOf(parts []kmsg.AlterClientQuotasRequestEntryEntity) []metadata.QuotaEntityPart {
	byType := make(map[string]*string, len(parts))
	for i := range parts {
		byType[parts[i].Type] = parts[i].Name
	}
	entity := make([]metadata.QuotaEntityPart, 0, len(byType))
	for _, t := range slices.Sorted(maps.Keys(byType)) {
		entity = append(entity, metadata.QuotaEntityPart{Type: t, Name: byType[t]})
	}
	return entity
}

func entityText(entity []metadata.QuotaEntityPart) string {
	var parts []string
	for _, part := range entity {
		name := "null"
		if part.Name != nil {
			name = *part.Name
		}
		parts = append(parts, part.Type+"="+name)
	}
	return strings.Join(parts, ", ")
}

func hasRepeatedKey(ops []kmsg.AlterClientQuotasRequestEntryOp) bool {
	seen := make(map[string]bool, len(ops))
	for i := range ops {
		if seen[ops[i].Key] {
			return true
		}
		seen[ops[i].Key] = true
	}
	return false
}

// alterQuota returns the records that change the limits of one entity.
func alterQuota(image *metadata.Image, entity []metadata.QuotaEntityPart, ops []kmsg.AlterClientQuotasRequestEntryOp) ([]metadata.Record, error) {
	limits, err := limitsOf(entity)
	if err != nil {
		return nil, err
	}
	current := map[string]float64{}
	if q := image.ClientQuota(entity); q != nil {
		current = q.Limits
	}
	var records []metadata.Record
	for i := range ops {
		op := &ops[i]
		value, isSet := current[op.Key]
		if op.Remove {
			if isSet {
				records = append(records, &metadata.ClientQuotaRecord{Entity: entity, Key: op.Key, Remove: true})
			}
			continue
		}
		if err := checkLimit(limits, op.Key, op.Value); err != nil {
			return nil, err
		}
		if !isSet || math.Float64bits(value) != math.Float64bits(op.Value) {
			records = append(records, &metadata.ClientQuotaRecord{Entity: entity, Key: op.Key, Value: op.Value})
		}
	}
	return records, nil
}

// limitsOf returns the limits that may be set for an entity. Whether the name of a host can be
// resolved is for the broker to find out that the client asks: this decides without a network.
func limitsOf(entity []metadata.QuotaEntityPart) (map[string]quotaRange, error) {
	hasAddress, hasClient := false, false
	for _, part := range entity {
		switch part.Type {
		case metadata.QuotaUser, metadata.QuotaClientID:
			hasClient = true
		case metadata.QuotaIP:
			hasAddress = true
		default:
			return nil, kafka.Errorf(kafka.ErrInvalidRequest, "Unhandled client quota entity type: %s", part.Type)
		}
		if part.Name != nil && *part.Name == "" {
			return nil, kafka.Errorf(kafka.ErrInvalidRequest, "Empty %s not supported", part.Type)
		}
	}
	switch {
	case hasAddress && hasClient:
		return nil, kafka.Errorf(kafka.ErrInvalidRequest, "Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId")
	case hasAddress:
		return addressLimits, nil
	case hasClient:
		return clientLimits, nil
	}
	return nil, kafka.Errorf(kafka.ErrInvalidRequest, "Invalid empty client quota entity")
}

// checkLimit accepts what Kafka does, NaN too: such a limit is never reached.
func checkLimit(limits map[string]quotaRange, key string, value float64) error {
	limit, known := limits[key]
	switch {
	case !known:
		return kafka.Errorf(kafka.ErrInvalidRequest, "Invalid configuration key %s", key)
	case value <= 0:
		return kafka.Errorf(kafka.ErrInvalidRequest, "Quota %s must be greater than 0", key)
	case value > limit.max:
		article := "a"
		if limit.kind == "INT" {
			article = "an"
		}
		return kafka.Errorf(kafka.ErrInvalidRequest, "Proposed value for %s is too large for %s %s.", key, article, limit.kind)
	case limit.integral && math.Mod(value, 1) > 1e-6:
		return kafka.Errorf(kafka.ErrInvalidRequest, "%s cannot be a fractional value.", key)
	}
	return nil
}
