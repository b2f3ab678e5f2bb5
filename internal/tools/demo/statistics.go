package demo

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"
)

// statistics counts what producer and consumers do. It is shared between them and the display.
type statistics struct {
	mu          sync.Mutex
	startedAt   time.Time
	orders      int // acknowledged
	bytes       int
	billed      int
	cents       map[string]int // by country
	acks, waits durations
	failures    int
	lastFailure error
}

func newStatistics(now time.Time) *statistics {
	return &statistics{startedAt: now, cents: map[string]int{}}
}

// restart sets the time from which the display counts.
func (s *statistics) restart(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.startedAt = now
}

func (s *statistics) produced(bytes int, acknowledgedAfter time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.orders++
	s.bytes += bytes
	s.acks.add(acknowledgedAfter)
}

func (s *statistics) consumed(o order, after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.billed++
	s.cents[o.Country] += o.Total
	s.waits.add(after)
}

func (s *statistics) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures++
	s.lastFailure = err
}

func (s *statistics) allConsumed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.billed >= s.orders
}

// snapshot is a copy for the display.
type snapshot struct {
	at             time.Time
	elapsed        time.Duration
	orders, billed int
	bytes          int
	countries      []string // by revenue, the best first
	cents          map[string]int
	ackP50, ackP99 time.Duration
	failures       int
	lastFailure    error
}

func (s *statistics) snapshot(now time.Time) snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	countries := slices.SortedFunc(maps.Keys(s.cents), func(a, b string) int {
		return cmp.Or(cmp.Compare(s.cents[b], s.cents[a]), cmp.Compare(a, b))
	})
	return snapshot{
		at: now, elapsed: now.Sub(s.startedAt), orders: s.orders, billed: s.billed, bytes: s.bytes,
		countries: countries, cents: maps.Clone(s.cents),
		ackP50: s.acks.quantile(0.50), ackP99: s.acks.quantile(0.99),
		failures: s.failures, lastFailure: s.lastFailure,
	}
}

// durations counts durations in classes that grow by a fifth, from ten microseconds.
type durations struct {
	counts [96]int
	total  int
}

const (
	firstClass  = 10 * time.Microsecond
	classGrowth = 1.2
)

func (d *durations) add(duration time.Duration) {
	class, limit := 0, float64(firstClass)
	for float64(duration) > limit && class < len(d.counts)-1 {
		class++
		limit *= classGrowth
	}
	d.counts[class]++
	d.total++
}

// quantile returns the upper bound of the class that holds it.
func (d *durations) quantile(q float64) time.Duration {
	seen, limit := 0, float64(firstClass)
	for _, count := range d.counts {
		seen += count
		if d.total > 0 && float64(seen) >= q*float64(d.total) {
			return time.Duration(limit)
		}
		limit *= classGrowth
	}
	return 0
}
