package quota

import (
	"fmt"
	"hash/fnv"
	"strings"
	"time"
)

const (
	// idleMs is after which time without requests a meter is forgotten, as Kafka's sensors are.
	idleMs = int64(time.Hour / time.Millisecond)
	// maxMeters bounds how many there are of one kind: whoever invents a client id per request
	// costs no more memory than this, and forgetting one of his meters does him no favour that
	// the next client id would not do him.
	maxMeters = 10_000
)

// maxNameBytes is up to which length a meter keeps names as they are: clients choose their ids, up
// to 32 KiB each.
const maxNameBytes = 256

// short is e with names that memory can be kept for.
func (e entity) short() entity {
	e.user, e.clientID = shortName(e.user), shortName(e.clientID)
	return e
}

func shortName(name string) string {
	if len(name) <= maxNameBytes {
		return name
	}
	sum := fnv.New128a()
	_, _ = sum.Write([]byte(name)) // never fails
	return fmt.Sprintf("%.*s…%x", maxNameBytes/2, strings.ToValidUTF8(name[:maxNameBytes/2], "?"), sum.Sum(nil))
}

// meter is what one entity has used.
type meter struct {
	entity     entity
	rate       rate
	bucket     bucket
	limit      float64 // of the last use
	usedMs     int64
	throttled  time.Duration // the sum of all throttle times
	shown      bool          // it has series among the metrics
	prev, next *meter        // by last use
}

// meters are the meters of one kind by entity, the latest used first. Its owner locks.
type meters struct {
	all    map[entity]*meter
	list   meter // the ring's head
	forget func(*meter)
}

func newMeters(forget func(*meter)) *meters {
	m := &meters{all: map[entity]*meter{}, forget: forget}
	m.list.prev, m.list.next = &m.list, &m.list
	return m
}

// of returns the meter of an entity, which counts as used now; isNew says that it was made.
func (m *meters) of(e entity, nowMs int64) (used *meter, isNew bool) {
	used = m.all[e]
	if used == nil {
		used, isNew = &meter{entity: e}, true
		m.all[e] = used
		used.prev, used.next = used, used
	}
	used.prev.next, used.next.prev = used.next, used.prev
	used.prev, used.next = &m.list, m.list.next
	used.prev.next, used.next.prev = used, used
	used.usedMs = nowMs
	m.expire(nowMs)
	return used, isNew
}

// expire forgets those that are idle or too many.
func (m *meters) expire(nowMs int64) {
	for last := m.list.prev; last != &m.list && (nowMs-last.usedMs >= idleMs || len(m.all) > maxMeters); last = m.list.prev {
		last.prev.next, last.next.prev = last.next, last.prev
		delete(m.all, last.entity)
		m.forget(last)
	}
}
