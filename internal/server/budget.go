package server

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/metrics"

	"github.com/moldau/moldau/internal/env"
)

// budget bounds the memory that requests take, all connections together: it is charged for every
// byte allocated, not for what a client announces. Requests that are small or come from peers may
// also use a reserve, so that heartbeats go on while big requests fill the budget. While
// somebody waits, the slowest request that is still arriving is closed, at most one a second.
type budget struct {
	limit   int64
	reserve int64

	used metrics.Gauge // read without the mutex by the exposition; written under it

	mu       sync.Mutex
	waiting  []*budgetWaiter
	partial  map[*partialRequest]struct{}
	lastKill time.Time
}

type budgetWaiter struct {
	size     int64
	favoured bool
	granted  chan struct{}
}

// partialRequest is a request that has begun to arrive and is not complete.
type partialRequest struct {
	received int64 // guarded by budget.mu
	began    time.Time
	close    func()
}

// pressureInterval is how long a wait for memory goes on before the slowest request is closed,
// and how old a request must be to be called slow.
const pressureInterval = time.Second

var errNoMemory = errors.New("no memory for the request became free in time")

func newBudget(limit int64) *budget {
	return &budget{limit: limit, reserve: limit / 8, partial: map[*partialRequest]struct{}{}}
}

// acquire charges size bytes, waiting until they are free, for at most patience.
func (b *budget) acquire(ctx context.Context, size int64, favoured bool, patience time.Duration) error {
	b.mu.Lock()
	if len(b.waiting) == 0 || favoured {
		if b.fits(size, favoured) {
			b.used.Add(size)
			b.mu.Unlock()
			return nil
		}
	}
	w := &budgetWaiter{size: size, favoured: favoured, granted: make(chan struct{})}
	b.waiting = append(b.waiting, w)
	b.mu.Unlock()

	defer env.StartWait(ctx).End()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	pressure := time.NewTicker(pressureInterval)
	defer pressure.Stop()
	for {
		select {
		case <-w.granted:
			return nil
		case <-pressure.C:
			b.closeSlowest(time.Now())
		case <-deadline.C:
			return b.abandon(w, errNoMemory)
		case <-ctx.Done():
			return b.abandon(w, ctx.Err())
		}
	}
}

func (b *budget) fits(size int64, favoured bool) bool {
	limit := b.limit
	if favoured {
		limit += b.reserve
	}
	return b.used.Value()+size <= limit
}

// abandon takes w out of the queue; what was granted meanwhile goes back.
func (b *budget) abandon(w *budgetWaiter, err error) error {
	b.mu.Lock()
	for i, queued := range b.waiting {
		if queued == w {
			b.waiting = append(b.waiting[:i], b.waiting[i+1:]...)
			b.grant()
			b.mu.Unlock()
			return err
		}
	}
	b.mu.Unlock()
	b.release(w.size)
	return err
}

// release gives size bytes back and lets in those who wait, in order; a favoured one may
// overtake.
func (b *budget) release(size int64) {
	if size == 0 {
		return
	}
	b.mu.Lock()
	b.used.Add(-size)
	b.grant()
	b.mu.Unlock()
}

func (b *budget) grant() {
	kept := b.waiting[:0]
	blocked := false
	for _, w := range b.waiting {
		if (w.favoured || !blocked) && b.fits(w.size, w.favoured) {
			b.used.Add(w.size)
			close(w.granted)
			continue
		}
		blocked = true
		kept = append(kept, w)
	}
	clear(b.waiting[len(kept):])
	b.waiting = kept
}

func (b *budget) track(p *partialRequest) {
	b.mu.Lock()
	b.partial[p] = struct{}{}
	b.mu.Unlock()
}

func (b *budget) progress(p *partialRequest, received int) {
	b.mu.Lock()
	p.received = int64(received)
	b.mu.Unlock()
}

func (b *budget) untrack(p *partialRequest) {
	b.mu.Lock()
	delete(b.partial, p)
	b.mu.Unlock()
}

// closeSlowest closes the partial request with the fewest bytes per second.
func (b *budget) closeSlowest(now time.Time) {
	b.mu.Lock()
	var slowest *partialRequest
	var lowest float64
	if now.Sub(b.lastKill) >= pressureInterval {
		for p := range b.partial {
			age := now.Sub(p.began)
			if age < pressureInterval {
				continue
			}
			if rate := float64(p.received) / age.Seconds(); slowest == nil || rate < lowest {
				slowest, lowest = p, rate
			}
		}
	}
	if slowest != nil {
		b.lastKill = now
		delete(b.partial, slowest)
	}
	b.mu.Unlock()
	if slowest != nil {
		slowest.close()
	}
}
