package perf

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/tools/cli"
)

const (
	bytesPerMB = 1024 * 1024
	// maxSamples bounds how many latencies are kept for the percentiles.
	maxSamples = 500_000
)

// stats gathers the latencies of acknowledged records and prints them per interval and in total.
// Times are given by the caller. Latencies count in whole milliseconds, as Kafka's do.
type stats struct {
	streams  cli.Streams
	interval time.Duration
	steady   bool // what comes after the warm-up

	mu        sync.Mutex
	started   time.Time
	sampling  int64
	latencies []int64
	iteration int64
	total     window
	recent    window
	recentAt  time.Time
	silent    bool
}

// window sums up the records of some time.
type window struct {
	count, bytes, latencyMs, maxLatencyMs int64
}

func (w *window) add(latencyMs, bytes int64) {
	w.count++
	w.bytes += bytes
	w.latencyMs += latencyMs
	w.maxLatencyMs = max(w.maxLatencyMs, latencyMs)
}

func newStats(s cli.Streams, records int64, interval time.Duration, steady bool, now time.Time) *stats {
	return &stats{
		streams: s, interval: interval, steady: steady, started: now, recentAt: now,
		sampling: records / min(records, maxSamples),
	}
}

// record counts an acknowledged record.
func (st *stats) record(latency time.Duration, bytes int, now time.Time) {
	st.mu.Lock()
	defer st.mu.Unlock()
	latencyMs := latency.Milliseconds()
	st.total.add(latencyMs, int64(bytes))
	st.recent.add(latencyMs, int64(bytes))
	if st.iteration%st.sampling == 0 {
		st.latencies = append(st.latencies, latencyMs)
	}
	st.iteration++
	if now.Sub(st.recentAt) < st.interval {
		return
	}
	if st.steady && st.total.count == st.recent.count {
		st.streams.Println("In steady state.")
	}
	if !st.silent {
		st.printRecent(now)
	}
	st.recent, st.recentAt = window{}, now
}

// count is that of the records.
func (st *stats) count() int64 {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.total.count
}

// suppress leaves the reports of intervals to the stats of the steady state.
func (st *stats) suppress() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.silent = true
}

// rates are records and megabytes per second.
func (w *window) rates(elapsed time.Duration) (records, megabytes float64) {
	elapsedMs := float64(elapsed.Milliseconds())
	return 1000 * float64(w.count) / elapsedMs, 1000 * float64(w.bytes) / elapsedMs / bytesPerMB
}

func (w *window) averageMs() float64 { return float64(w.latencyMs) / float64(w.count) }

func (st *stats) printRecent(now time.Time) {
	w := st.recent
	records, megabytes := w.rates(now.Sub(st.recentAt))
	st.streams.Printf("%d records sent, %s records/sec (%s MB/sec), %s ms avg latency, %s ms max latency.\n", w.count,
		cli.Decimal(records, 1), cli.Decimal(megabytes, 2), cli.Decimal(w.averageMs(), 1), cli.Decimal(float64(w.maxLatencyMs), 1))
}

func (st *stats) printTotal(now time.Time) {
	st.mu.Lock()
	defer st.mu.Unlock()
	records, megabytes := st.total.rates(now.Sub(st.started))
	steady := ""
	if st.steady {
		steady = " steady state"
	}
	slices.Sort(st.latencies)
	percentiles := ""
	for _, p := range []struct {
		share float64
		name  string
	}{{0.5, "50th"}, {0.95, "95th"}, {0.99, "99th"}, {0.999, "99.9th"}} {
		percentiles += fmt.Sprintf(", %d ms %s", percentile(st.latencies, p.share), p.name)
	}
	st.streams.Printf("%d%s records sent, %s records/sec (%s MB/sec), %s ms avg latency, %s ms max latency%s.\n", st.total.count, steady,
		cli.Decimal(records, 6), cli.Decimal(megabytes, 2), cli.Decimal(st.total.averageMs(), 2), cli.Decimal(float64(st.total.maxLatencyMs), 2), percentiles)
}

// percentile reads sorted values; 0 where there are none.
func percentile(sorted []int64, share float64) int64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(share*float64(len(sorted)))]
}
