package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/metrics"
)

// Health is what /healthz answers: 200 when Ready, else 503.
type Health struct {
	Ready   bool   `json:"ready"`
	Status  string `json:"status"`
	NodeID  int32  `json:"nodeId"`
	Cluster string `json:"clusterId,omitempty"`
	// Problems are what an operator should see to; the node serves all the same.
	Problems []string `json:"problems,omitempty"`
}

// HTTPOptions are what an HTTP server is made of.
type HTTPOptions struct {
	// Address is host:port.
	Address string
	Metrics *metrics.Registry
	// Health is asked at each request to /healthz, from any goroutine.
	Health func() Health
	Logger *slog.Logger
}

// HTTP serves /healthz and /metrics.
type HTTP struct {
	server  *http.Server
	socket  net.Listener
	logger  *slog.Logger
	spawner *env.Spawner
}

// ListenHTTP opens the socket and begins to serve.
func ListenHTTP(ctx context.Context, o HTTPOptions) (*HTTP, error) {
	socket, err := net.Listen("tcp", o.Address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s for HTTP (property http.listen): %w", o.Address, err)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", healthHandler(o.Health))
	mux.Handle("GET /metrics", metricsHandler(o.Metrics))
	h := &HTTP{
		server: &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second,
			WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10},
		socket:  socket,
		logger:  o.Logger,
		spawner: env.NewSpawner(context.WithoutCancel(ctx), nil),
	}
	h.spawner.Go("http", func(context.Context) {
		if err := h.server.Serve(socket); err != nil && !errors.Is(err, http.ErrServerClosed) {
			h.logger.Error("the HTTP server stopped", "error", err)
		}
	})
	return h, nil
}

// Addr is where it listens.
func (h *HTTP) Addr() net.Addr { return h.socket.Addr() }

// Stop lets requests in flight finish until ctx ends.
func (h *HTTP) Stop(ctx context.Context) error {
	err := h.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, h.server.Close())
	}
	h.spawner.Stop()
	return err
}

func healthHandler(health func() Health) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		answer := health()
		w.Header().Set("Content-Type", "application/json")
		if !answer.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(answer) // fails only when the client is gone
	})
}

func metricsHandler(registry *metrics.Registry) http.Handler {
	all := prometheus.NewRegistry()
	all.MustRegister(exposition{registry}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(all, promhttp.HandlerOpts{})
}

// exposition turns the broker's registry into Prometheus metrics at each scrape.
type exposition struct{ registry *metrics.Registry }

// Describe sends nothing: series come and go, so the collector is unchecked.
func (exposition) Describe(chan<- *prometheus.Desc) {}

// Collect sends every series.
func (e exposition) Collect(out chan<- prometheus.Metric) {
	for _, s := range e.registry.Gather() {
		names, values := make([]string, len(s.Labels)), make([]string, len(s.Labels))
		for i, l := range s.Labels {
			names[i], values[i] = l.Name, l.Value
		}
		desc := prometheus.NewDesc(s.Name, s.Help, names, nil)
		out <- constMetric(desc, s, values)
	}
}

func constMetric(desc *prometheus.Desc, s *metrics.Series, labels []string) prometheus.Metric {
	var m prometheus.Metric
	var err error
	switch {
	case s.Histogram != nil:
		cumulative, count, sum := s.Histogram.Snapshot()
		buckets := make(map[float64]uint64, len(cumulative))
		for i, bound := range s.Histogram.Bounds() {
			buckets[bound] = uint64(cumulative[i])
		}
		m, err = prometheus.NewConstHistogram(desc, uint64(count), sum, buckets, labels...)
	case s.Counter != nil:
		m, err = prometheus.NewConstMetric(desc, prometheus.CounterValue, float64(s.Counter.Value()), labels...)
	case s.Gauge != nil:
		m, err = prometheus.NewConstMetric(desc, prometheus.GaugeValue, float64(s.Gauge.Value()), labels...)
	case s.Kind == metrics.KindCounter:
		m, err = prometheus.NewConstMetric(desc, prometheus.CounterValue, s.Func(), labels...)
	default:
		m, err = prometheus.NewConstMetric(desc, prometheus.GaugeValue, s.Func(), labels...)
	}
	if err != nil {
		return prometheus.NewInvalidMetric(desc, err)
	}
	return m
}
