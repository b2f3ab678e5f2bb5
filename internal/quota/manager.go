package quota

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/wire"
)

// Options is what a Manager needs; every field is required.
type Options struct {
	// Clients is quota.window.num and quota.window.size.seconds; Changes controller.quota.window's.
	Clients, Changes Window
	Metrics          *metrics.Registry
	Clock            env.Clock // for the metrics
}

// Manager limits clients by what the metadata says. Its methods may be called concurrently.
type Manager struct {
	o       Options
	origin  time.Time
	limits  atomic.Pointer[limits]
	metrics managerMetrics

	mu     sync.Mutex
	meters [kindCount]*meters // guarded by mu
	shown  int                // guarded by mu
}

// NewManager returns a manager without limits.
func NewManager(o Options) *Manager {
	m := &Manager{o: o, origin: o.Clock.Now()}
	m.limits.Store(&limits{})
	for k := range m.meters {
		m.meters[k] = newMeters(func(gone *meter) { m.hide(kind(k), gone) })
	}
	m.metrics = newManagerMetrics(m)
	return m
}

// Update takes over the limits of an image. What was measured so far stays.
func (m *Manager) Update(image *metadata.Image) { m.limits.Store(newLimits(image)) }

// ms counts from the manager's beginning, on the monotonic clock: it never runs backwards.
func (m *Manager) ms(at time.Time) int64 { return at.Sub(m.origin).Milliseconds() }

// charge is what a request adds to one of its client's meters.
type charge struct {
	kind    kind
	value   float64
	entity  entity
	limit   float64
	limited bool
}

func (m *Manager) charge(l *limits, k kind, c *security.Connection, value float64) charge {
	ch := charge{kind: k, value: value}
	ch.entity, ch.limit, ch.limited = l.find(k, c.Principal.Name, c.ClientID)
	return ch
}

// Throttle implements Quota.
func (m *Manager) Throttle(c *security.Connection, u Usage) time.Duration {
	l := m.limits.Load()
	if l[produceBytes].isEmpty() && l[fetchBytes].isEmpty() && l[requestTime].isEmpty() {
		return 0
	}
	var byTime, byBytes charge
	switch {
	case l[requestTime].isEmpty():
	case u.Silent || isBetweenNodes(u.APIKey):
		m.metrics.exempt.Add(u.BusyTime.Microseconds())
	default:
		byTime = m.charge(l, requestTime, c, percentSeconds(u.BusyTime))
	}
	switch u.APIKey {
	case wire.KeyProduce:
		byBytes = m.charge(l, produceBytes, c, float64(u.RequestBytes))
	case wire.KeyFetch:
		byBytes = m.charge(l, fetchBytes, c, float64(u.ResponseBytes))
	}
	if !byTime.limited && !byBytes.limited {
		return 0
	}
	return m.throttle(byTime, byBytes, m.ms(u.At))
}

// throttle adds both charges and returns the larger of their throttle times.
func (m *Manager) throttle(byTime, byBytes charge, nowMs int64) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	timeWait, timeMeter := m.account(byTime, nowMs)
	timeWait = min(timeWait, m.o.Clients.Sample)
	wait, byteMeter := m.account(byBytes, nowMs)
	by, on := byBytes.kind, byteMeter
	if timeWait >= wait {
		wait, by, on = timeWait, byTime.kind, timeMeter
	}
	if wait == 0 {
		return 0
	}
	m.metrics.throttled[by].Inc()
	m.metrics.throttledMs[by].Add(wait.Milliseconds())
	on.throttled += wait
	if byBytes.limited && byBytes.kind == fetchBytes {
		byteMeter.rate.record(m.o.Clients, -byBytes.value, nowMs) // nothing is sent
	}
	return wait
}

// account adds a charge to its meter and returns the throttle time. mu is held.
func (m *Manager) account(ch charge, nowMs int64) (time.Duration, *meter) {
	if !ch.limited {
		return 0, nil
	}
	used := m.use(ch.kind, ch.entity, ch.limit, nowMs)
	used.rate.record(m.o.Clients, ch.value, nowMs)
	wait := used.rate.throttle(m.o.Clients, ch.limit, nowMs)
	if ch.kind == fetchBytes && used.rate.sum() == ch.value {
		// A first batch larger than a window's worth would never be sent; as it is, the fetches
		// after it pay.
		wait = 0
	}
	return wait, used
}

// use returns the meter of an entity. mu is held.
func (m *Manager) use(k kind, e entity, limit float64, nowMs int64) *meter {
	used, isNew := m.meters[k].of(e.short(), nowMs)
	used.limit = limit
	if isNew {
		m.show(k, used)
	}
	return used
}

// percentSeconds is time in the unit of request_percentage: a limit of 100 is one busy core.
func percentSeconds(d time.Duration) float64 { return d.Seconds() * 100 }

// Spend implements Quota.
func (m *Manager) Spend(c *security.Connection, apiKey int16, busy time.Duration, at time.Time) {
	l := m.limits.Load()
	if l[requestTime].isEmpty() {
		return
	}
	if isBetweenNodes(apiKey) {
		m.metrics.exempt.Add(busy.Microseconds())
		return
	}
	ch := m.charge(l, requestTime, c, percentSeconds(busy))
	if !ch.limited {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	nowMs := m.ms(at)
	m.use(ch.kind, ch.entity, ch.limit, nowMs).rate.record(m.o.Clients, ch.value, nowMs)
}

// FetchBytes implements Quota.
func (m *Manager) FetchBytes(c *security.Connection) int {
	_, limit, limited := m.limits.Load().find(fetchBytes, c.Principal.Name, c.ClientID)
	if !limited {
		return math.MaxInt
	}
	bytes := limit * float64(m.o.Clients.Samples-1) * m.o.Clients.Sample.Seconds()
	if bytes >= math.MaxInt32 {
		return math.MaxInt32
	}
	return int(bytes)
}

// isBetweenNodes reports whether only brokers and controllers send such requests: they are not
// limited, as in Kafka.
func isBetweenNodes(apiKey int16) bool { return apiKey == wire.KeyWriteTxnMarkers }
