package server

import (
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/wire"
)

// serverMetrics are the server's own series. Those of an API appear with its first request.
type serverMetrics struct {
	registry *metrics.Registry
	accepted *metrics.Counter
	received *metrics.Counter
	sent     *metrics.Counter
	panics   *metrics.Counter
	pending  *metrics.Gauge
	// throttled is how many connections are held back.
	throttled *metrics.Gauge

	rows   []wire.API                   // of clients and of peers
	apis   []atomic.Pointer[apiMetrics] // in the order of rows
	errors sync.Map                     // errorKey to *metrics.Counter
}

type apiMetrics struct {
	duration *metrics.Histogram
	handle   *metrics.Histogram
	wait     *metrics.Histogram
	send     *metrics.Histogram
	inBytes  *metrics.Counter
	outBytes *metrics.Counter
	// countError counts an error code of a response.
	countError func(code int16)
}

type errorKey struct {
	api  int16
	code int16
}

func newServerMetrics(r *metrics.Registry) *serverMetrics {
	rows := slices.Concat(wire.APIs(), wire.PeerAPIs())
	return &serverMetrics{
		registry:  r,
		accepted:  r.Counter("moldau_connections_accepted_total", "Connections accepted."),
		received:  r.Counter("moldau_received_bytes_total", "Bytes of requests received from clients."),
		sent:      r.Counter("moldau_sent_bytes_total", "Bytes of responses sent to clients."),
		panics:    r.Counter("moldau_request_panics_total", "Requests whose handler panicked; each is a bug."),
		pending:   r.Gauge("moldau_unfinished_requests", "Produce requests that wait for their completing phase or for earlier responses."),
		throttled: r.Gauge("moldau_throttled_connections", "Connections whose next request waits because a client is above its quota."),
		rows:      rows,
		apis:      make([]atomic.Pointer[apiMetrics], len(rows)),
	}
}

// refused counts connections that were closed before they could be used.
func (m *serverMetrics) refused(reason string) {
	m.registry.Counter("moldau_connections_refused_total", "Connections closed right after accepting them.", "reason", reason).Inc()
}

// broken counts connections that the broker closed because of what the client sent or did not send.
func (m *serverMetrics) broken(reason string) {
	m.registry.Counter("moldau_connections_broken_total", "Connections closed because of what the client sent or failed to send.", "reason", reason).Inc()
}

func (m *serverMetrics) of(api *wire.API) *apiMetrics {
	for i := range m.rows {
		if m.rows[i].Key != api.Key {
			continue
		}
		if a := m.apis[i].Load(); a != nil {
			return a
		}
		stage := func(name string) *metrics.Histogram {
			return m.registry.Histogram("moldau_request_stage_seconds", "Time of a request in one stage: handle, wait, send.", metrics.LatencySeconds, "api", api.Name, "stage", name)
		}
		a := &apiMetrics{
			duration: m.registry.Histogram("moldau_request_duration_seconds", "Time from a request's last byte to its response's.", metrics.LatencySeconds, "api", api.Name),
			handle:   stage("handle"),
			wait:     stage("wait"),
			send:     stage("send"),
			inBytes:  m.registry.Counter("moldau_request_bytes_total", "Bytes of requests.", "api", api.Name),
			outBytes: m.registry.Counter("moldau_response_bytes_total", "Bytes of responses.", "api", api.Name),
		}
		a.countError = func(code int16) { m.countError(api, code) }
		m.apis[i].Store(a)
		return a
	}
	panic("BUG: metrics of an API without a row: " + api.Name)
}

func (m *serverMetrics) countError(api *wire.API, code int16) {
	key := errorKey{api.Key, code}
	if counter, ok := m.errors.Load(key); ok {
		counter.(*metrics.Counter).Inc()
		return
	}
	counter := m.registry.Counter("moldau_request_errors_total", "Error codes in responses.", "api", api.Name, "code", strconv.Itoa(int(code)), "error", kafka.ErrorCode(code).Error())
	m.errors.Store(key, counter)
	counter.Inc()
}

// stages are the instants of one request.
type stages struct {
	received time.Time
	handled  time.Time
	ready    time.Time // the completing phase has ended and the response's turn has come
}

func (a *apiMetrics) observe(s stages, sent time.Time) {
	a.handle.Observe(s.handled.Sub(s.received).Seconds())
	a.wait.Observe(s.ready.Sub(s.handled).Seconds())
	a.send.Observe(sent.Sub(s.ready).Seconds())
	a.duration.Observe(sent.Sub(s.received).Seconds())
}
