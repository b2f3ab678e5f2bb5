package metadata

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strconv"
)

// Types of the parts of a quota's entity.
const (
	QuotaUser     = "user"
	QuotaClientID = "client-id"
	QuotaIP       = "ip"
)

// QuotaEntityPart is one part of what a quota is set for: a user, a client id or an IP address.
// A nil name stands for all that have no quota of their own.
type QuotaEntityPart struct {
	Type string
	Name *string
}

// ClientQuota is the limits that are set for one entity, by the quota's key.
type ClientQuota struct {
	Entity []QuotaEntityPart // ascending by type
	Limits map[string]float64
}

// quotaEntityKey orders entities and tells them apart; parts ascend by type.
func quotaEntityKey(parts []QuotaEntityPart) string {
	var key []byte
	for _, part := range parts {
		key = strconv.AppendQuote(key, part.Type)
		if part.Name == nil {
			key = append(key, '*')
		} else {
			key = strconv.AppendQuote(key, *part.Name)
		}
	}
	return string(key)
}

func sortedEntity(parts []QuotaEntityPart) []QuotaEntityPart {
	return slices.SortedFunc(slices.Values(parts), func(a, b QuotaEntityPart) int { return cmp.Compare(a.Type, b.Type) })
}

// ClientQuotas iterates over the entities with at least one limit, in a fixed order.
func (i *Image) ClientQuotas() iter.Seq[*ClientQuota] { return values(i.quotas) }

// ClientQuota returns the limits of an entity whose parts ascend by type, or nil.
func (i *Image) ClientQuota(entity []QuotaEntityPart) *ClientQuota {
	q, _ := i.quotas.Get(quotaEntityKey(entity))
	return q
}

// ChangesQuotas reports whether records touched the limits of an entity.
func (d *Delta) ChangesQuotas() bool { return len(d.quotas) > 0 }

func (d *Delta) replayClientQuota(r *ClientQuotaRecord) {
	entity := sortedEntity(r.Entity)
	key := quotaEntityKey(entity)
	change := d.quotas[key]
	if change == nil {
		change = &ClientQuota{Entity: entity, Limits: map[string]float64{}}
		if base, ok := d.base.quotas.Get(key); ok {
			maps.Copy(change.Limits, base.Limits)
		}
		d.quotas[key] = change
	}
	if r.Remove {
		delete(change.Limits, r.Key)
	} else {
		change.Limits[r.Key] = r.Value
	}
}

func (d *Delta) applyQuotas(image *Image) {
	if len(d.quotas) == 0 {
		return
	}
	image.quotas = fork(image.quotas)
	for key, change := range d.quotas {
		if len(change.Limits) == 0 {
			image.quotas.Delete(key)
		} else {
			image.quotas.Set(key, change)
		}
	}
}

// records returns the records of a snapshot that state q.
func (q *ClientQuota) records(put func(Record)) {
	for _, key := range slices.Sorted(maps.Keys(q.Limits)) {
		put(&ClientQuotaRecord{Entity: q.Entity, Key: key, Value: q.Limits[key]})
	}
}
