package telemetry

import (
	"cmp"
	"container/list"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/security"
)

const (
	// maxInstances is how many clients are remembered; the one silent for longest gives way.
	maxInstances = 16_384
	// defaultIntervalMs is for clients without a subscription.
	defaultIntervalMs = 5 * 60 * 1000
	// leastSilenceMs is how long a client may be silent at least before it is forgotten; three of its
	// intervals otherwise.
	leastSilenceMs = 60 * 1000
)

// Options are what a Manager is made of.
type Options struct {
	// MaxBytes is telemetry.max.bytes: of a push as it is sent and, again, decompressed.
	MaxBytes int32
	Metrics  *metrics.Registry
	// NowMs is the time, for those who read the series.
	NowMs func() int64
}

// Manager knows the subscriptions, and the clients that have asked for theirs.
type Manager struct {
	maxBytes int32
	nowMs    func() int64
	dropped  map[string]*metrics.Counter
	throttled, unknown, pushed, invalid,
	evicted *metrics.Counter

	mu            sync.Mutex
	subscriptions map[string]config.ClientMetricsSubscription
	version       int // of subscriptions
	instances     map[kafka.UUID]*instance
	recency       *list.List // of instances, the latest first
	kinds         map[string]nameKind
	seriesCount   int
}

// Client is who asks or pushes.
type Client struct {
	ID, SoftwareName, SoftwareVersion, Address, Port string
	// Connection is its number: over another one a client begins anew.
	Connection uint64
}

// ClientOf is the client of a connection, as its requests say.
func ClientOf(c *security.Connection) Client {
	_, port, _ := net.SplitHostPort(c.PeerAddr)
	text := func(s string) string { return strings.ToValidUTF8(s[:min(len(s), 2*maxAttributeBytes)], "�") }
	// Kafka's word for clients that do not say what they are.
	return Client{ID: text(c.ClientID), SoftwareName: text(cmp.Or(c.ClientSoftwareName, "unknown")), SoftwareVersion: text(cmp.Or(c.ClientSoftwareVersion, "unknown")), Address: c.Host, Port: port, Connection: c.ID}
}

// Software is name and version of the client's library.
func (c Client) Software() string {
	return c.SoftwareName + "/" + c.SoftwareVersion
}

// instance is one client instance.
type instance struct {
	id             kafka.UUID
	client         Client
	version        int // of the subscriptions it was told
	subscriptionID int32
	metrics        []string
	intervalMs     int32
	lastGetMs      int64
	lastPushMs     int64
	lastUseMs      int64
	terminating    bool
	lastError      kafka.ErrorCode
	series         map[string]*series
	element        *list.Element
}

// New returns a Manager without subscriptions.
func New(o Options) *Manager {
	m := &Manager{
		maxBytes: o.MaxBytes, nowMs: o.NowMs, dropped: map[string]*metrics.Counter{}, instances: map[kafka.UUID]*instance{}, recency: list.New(), kinds: map[string]nameKind{},
		pushed:    o.Metrics.Counter("client_telemetry_pushes_total", "Pushes of clients' metrics that were taken."),
		invalid:   o.Metrics.Counter("client_telemetry_invalid_pushes_total", "Pushes of clients' metrics that could not be read."),
		throttled: o.Metrics.Counter("client_telemetry_throttled_total", "Requests about clients' metrics that came too early."),
		unknown:   o.Metrics.Counter("client_telemetry_unknown_subscriptions_total", "Pushes for a subscription that is not the client's any more."),
		evicted:   o.Metrics.Counter("client_telemetry_evicted_instances_total", "Clients forgotten since there are too many."),
	}
	for _, reason := range []string{"limit of a client", "limit", "kind", "type"} {
		m.dropped[reason] = o.Metrics.Counter("client_telemetry_dropped_total", "Numbers of clients' metrics that are not shown.", "reason", reason)
	}
	count := func(n func() int) func() float64 {
		return func() float64 {
			m.mu.Lock()
			defer m.mu.Unlock()
			return float64(n())
		}
	}
	o.Metrics.GaugeFunc("client_telemetry_instances", "Client instances that are remembered.", count(func() int { return len(m.instances) }))
	o.Metrics.GaugeFunc("client_telemetry_series", "Series that are shown for clients.", count(func() int { return m.seriesCount }))
	return m
}

// SetSubscriptions replaces the subscriptions by name. One that is not valid is left out.
func (m *Manager) SetSubscriptions(configs map[string]map[string]string) {
	subscriptions := map[string]config.ClientMetricsSubscription{}
	for name, values := range configs {
		if s, err := config.NewClientMetricsSubscription(values); err == nil {
			subscriptions[name] = s
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.subscriptions = subscriptions
	m.version++
}

// Subscription is what a client is told to push.
type Subscription struct {
	ID         int32
	Metrics    []string
	IntervalMs int32
	MaxBytes   int32
}

// Subscribe answers what the instance called id shall push. The error's code is
// THROTTLING_QUOTA_EXCEEDED for one that asks too early.
func (m *Manager) Subscribe(nowMs int64, client Client, id kafka.UUID) (Subscription, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.instance(nowMs, client, id)
	if nowMs-max(i.lastGetMs, i.lastPushMs) >= int64(i.intervalMs) {
		i.lastGetMs = nowMs
	} else if i.lastError != kafka.ErrUnknownSubscriptionID && i.lastError != kafka.ErrUnsupportedCompressionType {
		m.throttled.Inc()
		return Subscription{}, kafka.ErrThrottlingQuotaExceeded
	}
	i.lastError = kafka.ErrNone
	return Subscription{i.subscriptionID, i.metrics, i.intervalMs, m.maxBytes}, nil
}

// Push is one PushTelemetry request.
type Push struct {
	ID             kafka.UUID
	SubscriptionID int32
	Terminating    bool
	Compression    int8
	Metrics        []byte
}

// Push takes the metrics that a client pushes. The error has the code to answer.
func (m *Manager) Push(nowMs int64, client Client, p Push) error {
	if p.ID.IsZero() || p.ID == kafka.MetadataTopicUUID {
		return kafka.Errorf(kafka.ErrInvalidRequest, "%s is no id of a client instance", p.ID)
	}
	if err := m.admit(nowMs, client, p); err != nil {
		return err
	}
	// Decompressing and reading the metrics holds nobody up.
	decoded, err := m.read(p)
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.instances[p.ID]
	if err != nil {
		m.invalid.Inc()
		if i != nil {
			i.lastError = kafka.ErrInvalidRecord
		}
		return kafka.Errorf(kafka.ErrInvalidRecord, "%v", err)
	}
	m.pushed.Inc()
	if i != nil { // else it has given way meanwhile
		m.store(i, decoded)
		i.lastError = kafka.ErrNone
	}
	return nil
}

// admit decides whether the push may be looked at.
func (m *Manager) admit(nowMs int64, client Client, p Push) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.instance(nowMs, client, p.ID)
	err := m.check(nowMs, i, p)
	i.terminating = p.Terminating
	if err != nil {
		i.lastError = kafka.CodeOf(err)
	}
	return err
}

func (m *Manager) check(nowMs int64, i *instance, p Push) error {
	if i.terminating {
		return kafka.Errorf(kafka.ErrInvalidRequest, "client instance %s has said that its last push was the last", i.id)
	}
	// The first push after a question may come at once: clients spread theirs between half and one and
	// a half of the interval.
	onTime := i.lastGetMs > i.lastPushMs || nowMs-i.lastPushMs >= int64(i.intervalMs)
	if onTime {
		i.lastPushMs = nowMs
	} else if !p.Terminating {
		m.throttled.Inc()
		return kafka.ErrThrottlingQuotaExceeded
	}
	switch {
	case p.SubscriptionID != i.subscriptionID:
		m.unknown.Inc()
		return kafka.ErrUnknownSubscriptionID
	case !record.Codec(p.Compression).IsKnown():
		return kafka.ErrUnsupportedCompressionType
	case len(p.Metrics) > int(m.maxBytes):
		return kafka.ErrTelemetryTooLarge
	}
	return nil
}

func (m *Manager) read(p Push) (push, error) {
	data, err := record.Decompress(record.Codec(p.Compression), p.Metrics, int64(m.maxBytes))
	if err != nil {
		return push{}, err
	}
	return decode(data, maxInstanceSeries)
}

// instance returns the instance called id, new or with its present subscriptions.
func (m *Manager) instance(nowMs int64, client Client, id kafka.UUID) *instance {
	i := m.instances[id]
	switch {
	case i == nil:
		for len(m.instances) >= maxInstances {
			m.forget(m.recency.Back().Value.(*instance))
			m.evicted.Inc()
		}
		i = &instance{id: id, series: map[string]*series{}}
		i.element = m.recency.PushFront(i)
		m.instances[id] = i
		m.subscribe(i, client)
	case i.version != m.version || i.client.Connection != client.Connection:
		// What was before does not hold the client back: it must hear of the change.
		i.lastGetMs, i.lastPushMs, i.terminating, i.lastError = 0, 0, false, kafka.ErrNone
		m.subscribe(i, client)
	}
	i.lastUseMs = nowMs
	m.recency.MoveToFront(i.element)
	return i
}

// subscribe has an instance push what the subscriptions say that it matches.
func (m *Manager) subscribe(i *instance, client Client) {
	i.client, i.version, i.intervalMs = client, m.version, defaultIntervalMs
	wanted := map[string]bool{}
	for _, s := range m.subscriptions {
		if !client.matches(i.id, s.Match) {
			continue
		}
		for _, name := range s.Metrics {
			wanted[name] = true
		}
		i.intervalMs = min(i.intervalMs, s.IntervalMs)
	}
	i.metrics = slices.Sorted(maps.Keys(wanted))
	if wanted[config.AllClientMetrics] {
		i.metrics = []string{config.AllClientMetrics}
	}
	sum := crc32.Checksum(fmt.Appendf(nil, "%q %d", i.metrics, i.intervalMs), crc32.MakeTable(crc32.Castagnoli))
	i.subscriptionID = int32(sum ^ binary.BigEndian.Uint32(i.id[:4]) ^ binary.BigEndian.Uint32(i.id[12:]))
}

// matches reports whether a client meets all conditions.
func (c Client) matches(id kafka.UUID, match []config.ClientMatch) bool {
	attributes := map[string]string{
		config.SelectorInstanceID: id.String(), config.SelectorClientID: c.ID, config.SelectorSoftwareName: c.SoftwareName, config.SelectorSoftwareVersion: c.SoftwareVersion,
		config.SelectorSourceAddress: c.Address, config.SelectorSourcePort: c.Port,
	}
	return !slices.ContainsFunc(match, func(m config.ClientMatch) bool { return !m.Pattern.MatchString(attributes[m.Selector]) })
}

// expire forgets who has been silent for too long, under the lock.
func (m *Manager) expire(nowMs int64) {
	for _, i := range m.instances {
		if nowMs-i.lastUseMs > max(leastSilenceMs, 3*int64(i.intervalMs)) {
			m.forget(i)
		}
	}
}
