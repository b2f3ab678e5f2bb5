package quota

import (
	"math"

	"github.com/moldau/moldau/internal/metadata"
)

// kind is what is limited.
type kind uint8

const (
	produceBytes kind = iota
	fetchBytes
	requestTime
	topicChanges
	kindCount
)

var (
	kindKeys  = [kindCount]string{"producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate"}
	kindNames = [kindCount]string{"produce", "fetch", "request", "controller mutation"}
)

// reach says which part of an entity is meant.
type reach uint8

const (
	absent reach = iota
	everybody
	named
)

// entity is what a limit is set for, or who shares one meter: a user, a client id, or both.
type entity struct {
	user, clientID           string
	userReach, clientIDReach reach
}

func user(name string) entity     { return entity{user: name, userReach: named} }
func clientID(name string) entity { return entity{clientID: name, clientIDReach: named} }
func both(user, clientID string) entity {
	return entity{user, clientID, named, named}
}

// limits are what is set, by kind. They do not change.
type limits [kindCount]kindLimits

type kindLimits struct {
	set map[entity]float64
	has [named + 1][named + 1]bool // by reach: some entity of this form has a limit
}

func (l *kindLimits) isEmpty() bool { return len(l.set) == 0 }

// get looks up what is set for one form of entity.
func (l *kindLimits) get(u string, userReach reach, c string, clientIDReach reach) (limit float64, found bool) {
	if !l.has[userReach][clientIDReach] {
		return 0, false
	}
	limit, found = l.set[entity{u, c, userReach, clientIDReach}]
	return limit, found
}

// newLimits takes over what the metadata has for users and client ids. A limit without end, or
// that is no number, is none: Kafka's throttle times for such are zero.
func newLimits(image *metadata.Image) *limits {
	var l limits
	for q := range image.ClientQuotas() {
		var e entity
		for _, part := range q.Entity {
			switch {
			case part.Type == metadata.QuotaUser && part.Name == nil:
				e.userReach = everybody
			case part.Type == metadata.QuotaUser:
				e.user, e.userReach = *part.Name, named
			case part.Type == metadata.QuotaClientID && part.Name == nil:
				e.clientIDReach = everybody
			case part.Type == metadata.QuotaClientID:
				e.clientID, e.clientIDReach = *part.Name, named
			}
		}
		if e == (entity{}) {
			continue // an address
		}
		for k, key := range kindKeys {
			if limit, ok := q.Limits[key]; ok && !math.IsNaN(limit) {
				if l[k].set == nil {
					l[k].set = map[entity]float64{}
				}
				l[k].set[e], l[k].has[e.userReach][e.clientIDReach] = limit, true
			}
		}
	}
	return &l
}

// find returns who shares a meter with a client, and its limit, by Kafka's precedence: a user's
// client id before the user, both before the defaults, and only then client ids of any user.
// Without a client id there is only the user, as in Kafka.
func (l *limits) find(k kind, u, c string) (shared entity, limit float64, found bool) {
	of := &l[k]
	if of.isEmpty() {
		return entity{}, 0, false
	}
	if c != "" {
		if limit, found = of.get(u, named, c, named); !found {
			limit, found = of.get(u, named, "", everybody)
		}
		if found {
			return both(u, c), limit, !math.IsInf(limit, 1)
		}
	}
	if limit, found = of.get(u, named, "", absent); found {
		return user(u), limit, !math.IsInf(limit, 1)
	}
	if c != "" {
		if limit, found = of.get("", everybody, c, named); !found {
			limit, found = of.get("", everybody, "", everybody)
		}
		if found {
			return both(u, c), limit, !math.IsInf(limit, 1)
		}
	}
	if limit, found = of.get("", everybody, "", absent); found {
		return user(u), limit, !math.IsInf(limit, 1)
	}
	if c == "" {
		return entity{}, 0, false
	}
	if limit, found = of.get("", absent, c, named); !found {
		limit, found = of.get("", absent, "", everybody)
	}
	return clientID(c), limit, found && !math.IsInf(limit, 1)
}
