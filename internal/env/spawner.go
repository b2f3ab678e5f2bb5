package env

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
)

// Spawner starts goroutines on behalf of one owner and waits for them when it stops. Every
// goroutine of the broker is started by one; docs/concurrency.md lists them by name.
type Spawner struct {
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	onPanic func(name string, err error)
}

// NewSpawner returns a Spawner whose goroutines' contexts end with ctx or with Stop.
// onPanic is called on the panicking goroutine; the host decides whether the process goes on.
func NewSpawner(ctx context.Context, onPanic func(name string, err error)) *Spawner {
	ctx, cancel := context.WithCancel(ctx)
	return &Spawner{ctx: ctx, cancel: cancel, onPanic: onPanic}
}

// Go runs f on a goroutine of its own. f returns soon after its context is done.
func (s *Spawner) Go(name string, f func(ctx context.Context)) {
	s.wg.Go(func() {
		defer func() {
			if r := recover(); r != nil {
				err := fmt.Errorf("goroutine %s panicked: %v", name, r)
				slog.Error("BUG: a goroutine panicked", "goroutine", name, "panic", r, "stack", string(debug.Stack()))
				if s.onPanic != nil {
					s.onPanic(name, err)
				}
			}
		}()
		f(s.ctx)
	})
}

// Context ends when the Spawner stops.
func (s *Spawner) Context() context.Context { return s.ctx }

// Stop ends the contexts and waits until every goroutine has returned. It is idempotent.
func (s *Spawner) Stop() {
	s.cancel()
	s.wg.Wait()
}
