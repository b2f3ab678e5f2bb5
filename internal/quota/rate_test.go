package quota

import (
	"math"
	"testing"
	"time"
)

var tenSeconds = Window{Samples: 11, Sample: time.Second}

func TestRateOfAWindow(t *testing.T) {
	t.Parallel()
	var r rate
	// What has just begun counts as if ten seconds had passed.
	r.record(tenSeconds, 1000, 0)
	if perSecond, windowMs := r.measure(tenSeconds, 0); perSecond != 100 || windowMs != 10_000 {
		t.Errorf("%v over %d ms", perSecond, windowMs)
	}
	if perSecond, windowMs := r.measure(tenSeconds, 500); windowMs != 10_500 || math.Abs(perSecond-1000/10.5) > 1e-9 {
		t.Errorf("%v over %d ms", perSecond, windowMs)
	}
	// All that happened in the last eleven seconds counts.
	for second := int64(1); second < 30; second++ {
		r.record(tenSeconds, 1000, second*1000)
	}
	if perSecond, windowMs := r.measure(tenSeconds, 29_999); windowMs != 10_999 || math.Abs(perSecond-11_000/10.999) > 1e-9 {
		t.Errorf("%v over %d ms", perSecond, windowMs)
	}
	if len(r.samples) != 12 {
		t.Errorf("%d samples are kept", len(r.samples))
	}
	// Eleven seconds after the last event nothing is left.
	if perSecond, _ := r.measure(tenSeconds, 40_000); perSecond != 0 {
		t.Errorf("%v when idle", perSecond)
	}
}

func TestThrottleTime(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		bytes, limit float64
		want         time.Duration
	}{
		{10_000, 1000, 0},
		{10_001, 1000, time.Millisecond},
		{20_000, 1000, 10 * time.Second},
		{1 << 30, 1, maxThrottle},
		{math.MaxFloat64, math.SmallestNonzeroFloat64, maxThrottle},
		{1 << 30, math.NaN(), 0},
		{1 << 30, math.Inf(1), 0},
		{1, 0, maxThrottle},
	} {
		var r rate
		r.record(tenSeconds, test.bytes, 0)
		if got := r.throttle(tenSeconds, test.limit, 0); got != test.want {
			t.Errorf("%v bytes at %v/s: %v, want %v", test.bytes, test.limit, got, test.want)
		}
	}
}

func TestTimeDoesNotRunBackwards(t *testing.T) {
	t.Parallel()
	var r rate
	r.record(tenSeconds, 5000, 100_000)
	r.record(tenSeconds, 5000, 1) // the clock was set back
	if perSecond, windowMs := r.measure(tenSeconds, 0); perSecond != 1000 || windowMs != 10_000 {
		t.Errorf("%v over %d ms", perSecond, windowMs)
	}
	var b bucket
	b.take(tenSeconds, 1, 20, 100_000)
	if wait := b.throttle(tenSeconds, 1, 0); wait != 9*time.Second {
		t.Errorf("the bucket waits for %v", wait)
	}
}

func TestWindowsTooLongToBeTold(t *testing.T) {
	t.Parallel()
	w := Window{Samples: math.MaxInt32, Sample: math.MaxInt32 * time.Second}
	var r rate
	r.record(w, 1e30, 0)
	if perSecond, windowMs := r.measure(w, 5); windowMs <= 0 || perSecond <= 0 {
		t.Errorf("%v over %d ms", perSecond, windowMs)
	}
	if wait := r.throttle(w, 1, 5); wait != maxThrottle {
		t.Errorf("throttled for %v", wait)
	}
	var b bucket
	b.take(w, math.MaxFloat64, 1, 0)
	if wait := b.throttle(w, math.MaxFloat64, 5); wait != 0 {
		t.Errorf("the bucket waits for %v", wait)
	}
}

func TestBucket(t *testing.T) {
	t.Parallel()
	var b bucket
	b.take(tenSeconds, 2, 25, 5) // it begins full, with 22
	if wait := b.throttle(tenSeconds, 2, 5); wait != 1500*time.Millisecond {
		t.Errorf("3 below zero at 2 per second: %v", wait)
	}
	if wait := b.throttle(tenSeconds, 2, 1505); wait != 0 {
		t.Errorf("after that time: %v", wait)
	}
	b.take(tenSeconds, 2, 22, 1_000_000) // it never holds more than a window's worth
	if wait := b.throttle(tenSeconds, 2, 1_000_000); wait != 0 {
		t.Errorf("a window's worth: %v", wait)
	}
	b.take(tenSeconds, 2, 1, 1_000_000)
	if wait := b.throttle(tenSeconds, 2, 1_000_000); wait != 500*time.Millisecond {
		t.Errorf("one more: %v", wait)
	}
}
