package pace

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestPacerKeepsTheRate(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		perSecond float64
		records   int64
		want      time.Duration
	}{{100, 250, 2500 * time.Millisecond}, {10_000, 10_000, time.Second}, {-1, 1000, 0}, {0.5, 3, 6 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			started := time.Now()
			p := New(test.perSecond, started)
			for i := range test.records {
				p.Wait(t.Context(), i+1)
			}
			if took := time.Since(started); took > test.want || took < test.want-shortest {
				t.Errorf("%d records at %v per second took %v, want %v", test.records, test.perSecond, took, test.want)
			}
		})
	}
}

func TestPacerEndsWithItsContext(t *testing.T) {
	t.Parallel()
	for _, perSecond := range []float64{0, 1e-12} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			started := time.Now()
			New(perSecond, started).Wait(ctx, 1)
			if took := time.Since(started); took != time.Minute {
				t.Errorf("%v per second: waited %v", perSecond, took)
			}
		})
	}
}
