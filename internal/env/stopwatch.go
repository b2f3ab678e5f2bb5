package env

import (
	"context"
	"sync/atomic"
	"time"
)

// Stopwatch adds up how long a request has waited for others, so that its owner can tell the
// time it was worked on. The request's goroutine waits; anybody may read.
type Stopwatch struct{ waited atomic.Int64 }

// Reset begins anew.
func (s *Stopwatch) Reset() { s.waited.Store(0) }

// Waited returns the sum of the waits that have ended. s may be nil.
func (s *Stopwatch) Waited() time.Duration {
	if s == nil {
		return 0
	}
	return time.Duration(s.waited.Load())
}

type stopwatchKey struct{}

// WithStopwatch returns a context whose waits s adds up.
func WithStopwatch(ctx context.Context, s *Stopwatch) context.Context {
	return context.WithValue(ctx, stopwatchKey{}, s)
}

// Wait is a wait that is going on.
type Wait struct {
	stopwatch *Stopwatch
	began     time.Time
}

// StartWait is called where a request begins to wait:
//
//	defer env.StartWait(ctx).End()
func StartWait(ctx context.Context) Wait {
	s, _ := ctx.Value(stopwatchKey{}).(*Stopwatch)
	if s == nil {
		return Wait{}
	}
	return Wait{s, time.Now()}
}

// End ends the wait.
func (w Wait) End() {
	if w.stopwatch != nil {
		w.stopwatch.waited.Add(int64(time.Since(w.began)))
	}
}
