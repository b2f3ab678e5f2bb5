package quota

import (
	"net/url"
	"unicode/utf8"

	"github.com/moldau/moldau/internal/metrics"
)

// maxShown bounds the entities with series of their own: a Prometheus does not cope with a
// series per client id of a program that invents them.
const maxShown = 500

type managerMetrics struct {
	throttled   [kindCount]*metrics.Counter
	throttledMs [kindCount]*metrics.Counter
	exempt      *metrics.Counter
}

func newManagerMetrics(m *Manager) managerMetrics {
	r := m.o.Metrics
	var mm managerMetrics
	for k, name := range kindNames {
		mm.throttled[k] = r.Counter("moldau_quota_throttled_requests_total", "Requests after which a client was held back, by what was above its limit.", "quota", name)
		mm.throttledMs[k] = r.Counter("moldau_quota_throttle_milliseconds_total", "Sum of throttle times.", "quota", name)
		r.GaugeFunc("moldau_quota_entities", "Users and client ids that are measured because they have a limit.", func() float64 {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.meters[k].expire(m.ms(m.o.Clock.Now()))
			return float64(len(m.meters[k].all))
		}, "quota", name)
	}
	mm.exempt = r.Counter("moldau_quota_exempt_request_microseconds_total", "Time of requests that request_percentage does not limit.")
	return mm
}

func labels(k kind, e entity) []string {
	return []string{"quota", kindNames[k], "user", label(e.user), "client_id", label(e.clientID)}
}

// label makes a client's name fit for a label, which must be UTF-8.
func label(name string) string {
	if utf8.ValidString(name) {
		return name
	}
	return url.QueryEscape(name)
}

// entitySeries are the names of the series of one entity.
var entitySeries = []string{"moldau_quota_rate", "moldau_quota_limit", "moldau_quota_entity_throttle_seconds"}

// show gives a new meter its series while there is room. mu is held.
func (m *Manager) show(k kind, shown *meter) {
	if m.shown >= maxShown {
		return
	}
	m.shown++
	shown.shown = true
	read := func(f func() float64) func() float64 {
		return func() float64 {
			m.mu.Lock()
			defer m.mu.Unlock()
			return f()
		}
	}
	l := labels(k, shown.entity)
	w := m.window(k)
	m.o.Metrics.GaugeFunc("moldau_quota_rate", "What an entity with a limit uses: bytes per second, percent of a core, or partitions per second.", read(func() float64 {
		perSecond, _ := shown.rate.measure(w, m.ms(m.o.Clock.Now()))
		return perSecond
	}), l...)
	m.o.Metrics.GaugeFunc("moldau_quota_limit", "The limit of an entity, in the unit of its rate.", read(func() float64 { return shown.limit }), l...)
	m.o.Metrics.GaugeFunc("moldau_quota_entity_throttle_seconds", "Sum of the throttle times of an entity, while it is measured.", read(func() float64 { return shown.throttled.Seconds() }), l...)
}

// hide takes the series of a forgotten meter away. mu is held.
func (m *Manager) hide(k kind, gone *meter) {
	if !gone.shown {
		return
	}
	m.shown--
	for _, name := range entitySeries {
		m.o.Metrics.Remove(name, labels(k, gone.entity)...)
	}
}

func (m *Manager) window(k kind) Window {
	if k == topicChanges {
		return m.o.Changes
	}
	return m.o.Clients
}
