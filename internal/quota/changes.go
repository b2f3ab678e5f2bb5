package quota

import (
	"sync"
	"time"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
)

// Changes is one request's use of its client's quota of changes of topics. The controller asks
// for permits, perhaps still after the handler has given up: its methods may be called concurrently.
type Changes struct {
	m      *Manager
	entity entity
	limit  float64
	strict bool
	now    func() time.Time

	mu      sync.Mutex
	wait    time.Duration // guarded by mu
	askedAt time.Time     // guarded by mu
}

// Changes implements Quota.
func (m *Manager) Changes(c *security.Connection, strict bool, now func() time.Time) *Changes {
	shared, limit, limited := m.limits.Load().find(topicChanges, c.Principal.Name, c.ClientID)
	if !limited {
		return nil
	}
	return &Changes{m: m, entity: shared, limit: limit, strict: strict, now: now}
}

// Permit charges the creation or deletion of partitions. A strict quota refuses while the
// client's debt is not paid back; else the change is made and the client held back afterwards.
func (c *Changes) Permit(partitions int) error {
	at := c.now()
	wait, refused := c.m.permit(c, partitions, at)
	c.mu.Lock()
	defer c.mu.Unlock()
	if wait > 0 {
		c.wait, c.askedAt = wait, at
	}
	if refused {
		return kafka.Errorf(kafka.ErrThrottlingQuotaExceeded, "The throttling quota has been exceeded.")
	}
	return nil
}

func (m *Manager) permit(c *Changes, partitions int, at time.Time) (wait time.Duration, refused bool) {
	nowMs := m.ms(at)
	m.mu.Lock()
	defer m.mu.Unlock()
	used := m.use(topicChanges, c.entity, c.limit, nowMs)
	wait = used.bucket.throttle(m.o.Changes, c.limit, nowMs)
	if c.strict && wait > 0 {
		return wait, true
	}
	used.bucket.take(m.o.Changes, c.limit, float64(partitions), nowMs)
	used.rate.record(m.o.Changes, float64(partitions), nowMs)
	if c.strict {
		return 0, false
	}
	return used.bucket.throttle(m.o.Changes, c.limit, nowMs), false
}

// HoldBack has Throttle return at least wait from now on: another node has charged the changes.
func (c *Changes) HoldBack(wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if wait > 0 {
		c.wait, c.askedAt = wait, c.now()
	}
}

// Throttle returns for how much longer the client must be held back, and counts it: it is called
// once, when the request is answered. c may be nil.
func (c *Changes) Throttle() time.Duration {
	if c == nil {
		return 0
	}
	c.mu.Lock()
	wait := c.wait
	if wait > 0 {
		wait = max(wait-c.now().Sub(c.askedAt), 0).Truncate(time.Millisecond)
	}
	c.mu.Unlock()
	if wait > 0 {
		c.m.countChanges(c, wait)
	}
	return wait
}

func (m *Manager) countChanges(c *Changes, wait time.Duration) {
	m.metrics.throttled[topicChanges].Inc()
	m.metrics.throttledMs[topicChanges].Add(wait.Milliseconds())
	m.mu.Lock()
	defer m.mu.Unlock()
	if used := m.meters[topicChanges].all[c.entity.short()]; used != nil {
		used.throttled += wait
	}
}
