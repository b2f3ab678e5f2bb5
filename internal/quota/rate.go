package quota

import (
	"math"
	"time"
)

// Window is over how long a rate is measured.
type Window struct {
	Samples int
	Sample  time.Duration
}

func (w Window) sampleMs() int64 { return w.Sample.Milliseconds() }

// lengthMs is the whole window; one that is too long to be told is as long as can be.
func (w Window) lengthMs() int64 {
	if sample := w.sampleMs(); int64(w.Samples) <= math.MaxInt64/sample {
		return int64(w.Samples) * sample
	}
	return math.MaxInt64
}

// maxThrottle keeps throttle times within the protocol's 32 bits of milliseconds.
const maxThrottle = math.MaxInt32 * time.Millisecond

// rate is a sum over the samples of a window, per second: Kafka's Rate, whose throttle times
// clients and operators know. A sample begins with the first event after the one before it is
// over, and counts until the window has passed since its last event.
type rate struct {
	samples []sample // a ring, one more than the window has
	current int
	lastMs  int64
}

type sample struct {
	startMs, lastMs int64
	sum             float64
}

// at keeps time from running backwards.
func (r *rate) at(nowMs int64) int64 {
	r.lastMs = max(r.lastMs, nowMs)
	return r.lastMs
}

// record adds value, which is negative to take back what was added.
func (r *rate) record(w Window, value float64, nowMs int64) {
	nowMs = r.at(nowMs)
	if len(r.samples) == 0 {
		r.samples = append(r.samples, sample{startMs: nowMs, lastMs: nowMs})
	}
	if nowMs-r.samples[r.current].startMs >= w.sampleMs() {
		r.current = (r.current + 1) % (w.Samples + 1)
		if r.current >= len(r.samples) {
			r.samples = append(r.samples, sample{})
		}
		r.samples[r.current] = sample{startMs: nowMs}
	}
	s := &r.samples[r.current]
	s.sum += value
	s.lastMs = nowMs
}

// purge forgets what is older than the window, and returns when the oldest of what is left began.
func (r *rate) purge(w Window, nowMs int64) (oldestMs int64) {
	oldestMs = nowMs
	for i := range r.samples {
		s := &r.samples[i]
		if nowMs-s.lastMs >= w.lengthMs() {
			*s = sample{startMs: nowMs, lastMs: nowMs}
		}
		oldestMs = min(oldestMs, s.startMs)
	}
	return oldestMs
}

// simple is Kafka's SimpleRate: over the time since the window began, which counts as one sample at least.
func (r *rate) simple(w Window, nowMs int64) (perSecond float64) {
	nowMs = r.at(nowMs)
	windowMs := max(nowMs-r.purge(w, nowMs), w.sampleMs(), 1)
	return r.sum() / (float64(windowMs) / 1000)
}

// measure returns the rate per second and the window that it is measured over.
func (r *rate) measure(w Window, nowMs int64) (perSecond float64, windowMs int64) {
	nowMs = r.at(nowMs)
	oldest := r.purge(w, nowMs)
	// A window that has just begun counts as nearly whole, or every first request would exceed it.
	windowMs = nowMs - oldest
	if windowMs/w.sampleMs() < int64(w.Samples)-1 {
		windowMs = windowMs%w.sampleMs() + (w.lengthMs() - w.sampleMs())
	}
	windowMs = max(windowMs, 1)
	return r.sum() / (float64(windowMs) / 1000), windowMs
}

// sum is what measure has counted last.
func (r *rate) sum() float64 {
	sum := 0.0
	for i := range r.samples {
		sum += r.samples[i].sum
	}
	return sum
}

// throttle returns how long nothing may come until the rate is down to limit; zero where it is.
func (r *rate) throttle(w Window, limit float64, nowMs int64) time.Duration {
	perSecond, windowMs := r.measure(w, nowMs)
	if !(perSecond > limit) {
		return 0
	}
	return throttleOf((perSecond - limit) / limit * float64(windowMs))
}

// throttleOf turns milliseconds into a throttle time: whole ones, and none below zero.
func throttleOf(ms float64) time.Duration {
	switch {
	case !(ms >= 0.5): // NaN too
		return 0
	case ms >= float64(maxThrottle.Milliseconds()):
		return maxThrottle
	}
	return time.Duration(math.Floor(ms+0.5)) * time.Millisecond
}

// bucket is Kafka's TokenBucket: it fills at the limit's rate up to a window's worth, and a change
// may take more than it holds, but not when it is below zero.
type bucket struct {
	tokens float64
	lastMs int64
	isFull bool // it has been filled for the first time
}

func (b *bucket) refill(w Window, limit float64, nowMs int64) {
	burst := float64(w.Samples) * w.Sample.Seconds() * limit
	if !b.isFull {
		b.tokens, b.lastMs, b.isFull = burst, nowMs, true
		return
	}
	nowMs = max(nowMs, b.lastMs)
	b.tokens = min(burst, b.tokens+limit*float64(nowMs-b.lastMs)/1000)
	b.lastMs = nowMs
}

// take takes n tokens, which are negative to give them back.
func (b *bucket) take(w Window, limit, n float64, nowMs int64) {
	b.refill(w, limit, nowMs)
	b.tokens -= n
}

// throttle returns how long it takes until the bucket is at zero again; zero where it is.
func (b *bucket) throttle(w Window, limit float64, nowMs int64) time.Duration {
	b.refill(w, limit, nowMs)
	if b.tokens >= 0 {
		return 0
	}
	return throttleOf(-b.tokens / limit * 1000)
}
