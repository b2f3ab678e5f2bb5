// Package pace holds tools that send records to a rate. The measuring and the verifiable
// producers call it from the goroutine that sends; it starts none.
package pace

import (
	"context"
	"time"
)

// shortest is the shortest wait: shorter ones would cost more than they regulate.
const shortest = 2 * time.Millisecond

// Pacer keeps an average rate since its start.
type Pacer struct {
	perSecond float64
	started   time.Time
}

// New returns a pacer for so many records per second: none at 0, any number below.
func New(perSecond float64, now time.Time) *Pacer {
	return &Pacer{perSecond: perSecond, started: now}
}

// Wait blocks until the record after the first sent ones is due, or until the context ends.
func (p *Pacer) Wait(ctx context.Context, sent int64) {
	switch {
	case p.perSecond < 0:
	case p.perSecond == 0:
		<-ctx.Done()
	default:
		wait := p.delay(sent, time.Now())
		if wait < shortest {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// delay is how long the rate asks to wait after the first sent records.
func (p *Pacer) delay(sent int64, now time.Time) time.Duration {
	seconds := min(float64(sent)/p.perSecond, 1e9) // keeps the product in a Duration's range
	return time.Duration(seconds*float64(time.Second)) - now.Sub(p.started)
}
