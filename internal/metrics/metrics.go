// Package metrics holds the broker's own counters, gauges and histograms. Every layer may
// import it; only the exposition in server turns a Registry into Prometheus text, so the
// hot paths depend on no client library. Updating a metric takes no lock.
package metrics

import (
	"fmt"
	"math"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
)

// Kind says how a metric behaves.
type Kind int

const (
	KindCounter Kind = iota
	KindGauge
	KindHistogram
)

// Counter only grows.
type Counter struct{ v atomic.Int64 }

// Add adds n, which is not negative.
func (c *Counter) Add(n int64) { c.v.Add(n) }

// Inc adds one.
func (c *Counter) Inc() { c.v.Add(1) }

// Value returns the count.
func (c *Counter) Value() int64 { return c.v.Load() }

// Gauge goes up and down.
type Gauge struct{ v atomic.Int64 }

// Set replaces the value.
func (g *Gauge) Set(n int64) { g.v.Store(n) }

// Add adds n, which may be negative.
func (g *Gauge) Add(n int64) { g.v.Add(n) }

// Value returns the value.
func (g *Gauge) Value() int64 { return g.v.Load() }

// Histogram counts observations in buckets whose upper bounds are fixed at creation.
type Histogram struct {
	bounds  []float64
	buckets []atomic.Int64
	sum     atomic.Uint64
}

// Observe counts v.
func (h *Histogram) Observe(v float64) {
	i := sort.SearchFloat64s(h.bounds, v)
	h.buckets[i].Add(1)
	for {
		old := h.sum.Load()
		if h.sum.CompareAndSwap(old, math.Float64bits(math.Float64frombits(old)+v)) {
			return
		}
	}
}

// Snapshot returns the cumulative count per bound, the total count and the sum.
func (h *Histogram) Snapshot() (cumulative []int64, count int64, sum float64) {
	cumulative = make([]int64, len(h.bounds))
	for i := range h.buckets {
		count += h.buckets[i].Load()
		if i < len(cumulative) {
			cumulative[i] = count
		}
	}
	return cumulative, count, math.Float64frombits(h.sum.Load())
}

// Bounds returns the upper bounds of the buckets.
func (h *Histogram) Bounds() []float64 { return h.bounds }

// LatencySeconds are bucket bounds for request and disk times, 50 µs to 30 s.
var LatencySeconds = []float64{50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}

// Label is one name and value of a series.
type Label struct{ Name, Value string }

// Series is one registered metric, as the exposition reads it. Exactly one of Counter, Gauge,
// Func and Histogram is set.
type Series struct {
	Name      string
	Help      string
	Kind      Kind
	Labels    []Label
	Counter   *Counter
	Gauge     *Gauge
	Func      func() float64
	Histogram *Histogram
}

// Registry is a set of series. Asking twice for the same name and labels returns the same
// metric. Methods may be called concurrently.
type Registry struct {
	mu      sync.Mutex
	series  map[string]*Series
	sources []func() []*Series
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry { return &Registry{series: map[string]*Series{}} }

// Counter returns the counter called name with labels given as name, value, name, value …
func (r *Registry) Counter(name, help string, labels ...string) *Counter {
	return r.register(name, help, KindCounter, labels, func(s *Series) { s.Counter = &Counter{} }).Counter
}

// Gauge returns the gauge called name.
func (r *Registry) Gauge(name, help string, labels ...string) *Gauge {
	return r.register(name, help, KindGauge, labels, func(s *Series) { s.Gauge = &Gauge{} }).Gauge
}

// GaugeFunc registers a gauge whose value f computes at each scrape; f must be cheap and safe
// for concurrent use.
func (r *Registry) GaugeFunc(name, help string, f func() float64, labels ...string) {
	r.register(name, help, KindGauge, labels, func(s *Series) { s.Func = f })
}

// Histogram returns the histogram called name with the given upper bounds, ascending.
func (r *Registry) Histogram(name, help string, bounds []float64, labels ...string) *Histogram {
	return r.register(name, help, KindHistogram, labels, func(s *Series) {
		s.Histogram = &Histogram{bounds: bounds, buckets: make([]atomic.Int64, len(bounds)+1)}
	}).Histogram
}

// Remove forgets the series called name with exactly these labels.
func (r *Registry) Remove(name string, labels ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.series, seriesKey(name, labels))
}

// AddSource has Gather ask source for series of its own. Their names must differ from all others.
func (r *Registry) AddSource(source func() []*Series) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sources = append(r.sources, source)
}

// Gather returns every registered series, sorted by name and labels, and those of the sources.
func (r *Registry) Gather() []*Series {
	all, sources := r.registered()
	for _, source := range sources {
		all = append(all, source()...)
	}
	return all
}

func (r *Registry) registered() ([]*Series, []func() []*Series) {
	r.mu.Lock()
	defer r.mu.Unlock()
	keys := make([]string, 0, len(r.series))
	for k := range r.series {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	all := make([]*Series, len(keys))
	for i, k := range keys {
		all[i] = r.series[k]
	}
	return all, r.sources
}

func (r *Registry) register(name, help string, kind Kind, labels []string, fill func(*Series)) *Series {
	key := seriesKey(name, labels)
	r.mu.Lock()
	defer r.mu.Unlock()
	if s, ok := r.series[key]; ok {
		if s.Kind != kind {
			panic(fmt.Sprintf("BUG: metric %s is registered as two kinds", name))
		}
		return s
	}
	s := &Series{Name: name, Help: help, Kind: kind}
	for i := 0; i+1 < len(labels); i += 2 {
		s.Labels = append(s.Labels, Label{labels[i], labels[i+1]})
	}
	fill(s)
	r.series[key] = s
	return s
}

func seriesKey(name string, labels []string) string {
	return name + "\x00" + strings.Join(labels, "\x00")
}
