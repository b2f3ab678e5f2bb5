package telemetry

import (
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/metrics"
)

// Bounds of what is remembered.
const (
	maxInstanceSeries = 1000
	maxSeries         = 50_000
)

// seriesPrefix begins the names of all series of clients; the broker's own never begin so.
const seriesPrefix = "kafka_client_"

// reservedLabels name the client; an attribute of such a name is left out.
var reservedLabels = []string{"client_id", "client_instance_id", "software"}

// series is one number of one client instance.
type series struct {
	name    string
	counter bool
	labels  []metrics.Label // those of attributes, by name
	value   float64
}

// exposedName turns a metric's name into one that Prometheus takes: org.apache.kafka.producer.
// record.send.total becomes kafka_client_producer_record_send_total.
func exposedName(name string) string {
	return seriesPrefix + identifier(strings.TrimPrefix(name, "org.apache.kafka."))
}

// identifier replaces what names of metrics and labels may not hold.
func identifier(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, name)
}

// labelsOf are the labels of attributes by name; of two that become the same the first counts.
func labelsOf(attributes []attribute) []metrics.Label {
	labels := make([]metrics.Label, 0, len(attributes))
	for _, a := range attributes {
		name := identifier(a.name)
		if name[0] >= '0' && name[0] <= '9' || strings.HasPrefix(name, "__") {
			name = "attribute_" + name
		}
		taken := func(l metrics.Label) bool { return l.Name == name }
		if !slices.Contains(reservedLabels, name) && !slices.ContainsFunc(labels, taken) {
			labels = append(labels, metrics.Label{Name: name, Value: strings.ToValidUTF8(a.value, "�")})
		}
	}
	slices.SortFunc(labels, func(a, b metrics.Label) int { return strings.Compare(a.Name, b.Name) })
	return labels
}

// seriesKey tells the series of one instance apart.
func seriesKey(name string, labels []metrics.Label) string {
	var key strings.Builder
	key.WriteString(name)
	for _, l := range labels {
		key.WriteString("\x00" + l.Name + "\x00" + l.Value)
	}
	return key.String()
}

// store takes the points of a push into the instance, under the manager's lock.
func (m *Manager) store(i *instance, p push) {
	m.dropped["limit of a client"].Add(int64(p.beyond))
	m.dropped["kind"].Add(int64(p.unusable))
	for _, taken := range p.points {
		name, labels := exposedName(taken.name), labelsOf(taken.attributes)
		// One name has one type in the whole exposition, or nobody could read any of it.
		if kind, known := m.kinds[name]; known && kind.counter != taken.counter {
			m.dropped["type"].Inc()
			continue
		}
		key := seriesKey(name, labels)
		s := i.series[key]
		switch {
		case s != nil:
		case len(i.series) >= maxInstanceSeries:
			m.dropped["limit of a client"].Inc()
			continue
		case m.seriesCount >= maxSeries:
			m.dropped["limit"].Inc()
			continue
		default:
			s = &series{name: name, counter: taken.counter, labels: labels}
			i.series[key] = s
			m.seriesCount++
			kind := m.kinds[name]
			kind.counter, kind.series = taken.counter, kind.series+1
			m.kinds[name] = kind
		}
		if taken.delta {
			s.value += taken.value
		} else {
			s.value = taken.value
		}
	}
}

// nameKind is what all series of one name share.
type nameKind struct {
	counter bool
	series  int
}

// forget drops an instance and its series, under the lock.
func (m *Manager) forget(i *instance) {
	delete(m.instances, i.id)
	m.recency.Remove(i.element)
	m.dropSeries(i)
}

func (m *Manager) dropSeries(i *instance) {
	for _, s := range i.series {
		m.seriesCount--
		kind := m.kinds[s.name]
		if kind.series--; kind.series == 0 {
			delete(m.kinds, s.name)
		} else {
			m.kinds[s.name] = kind
		}
	}
	i.series = map[string]*series{}
}

// Series returns the series of all clients that are not silent for too long.
func (m *Manager) Series() []*metrics.Series {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire(m.nowMs())
	all := make([]*metrics.Series, 0, m.seriesCount)
	for _, i := range m.instances {
		own := []metrics.Label{{Name: "client_id", Value: i.client.ID}, {Name: "client_instance_id", Value: i.id.String()}, {Name: "software", Value: i.client.Software()}}
		for _, s := range i.series {
			shown := &metrics.Series{Name: s.name, Help: "Pushed by clients (KIP-714).", Kind: metrics.KindGauge, Labels: slices.Concat(own, s.labels)}
			if s.counter {
				shown.Kind = metrics.KindCounter
			}
			value := s.value
			shown.Func = func() float64 { return value }
			all = append(all, shown)
		}
	}
	return all
}
