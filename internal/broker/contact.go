package broker

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/internal/broker/lifecycle"
)

// contact is the host of a lifecycle.Contact. Any goroutine may ask it.
type contact struct {
	started time.Time // with a monotonic reading: the core's time begins here
	// certainUntilMs is up to when the core says no, whatever is heard: requests ask all the time.
	certainUntilMs atomic.Int64

	mu   sync.Mutex
	core *lifecycle.Contact // guarded by mu
}

func newContact(self int32, timeoutMs int64) *contact {
	c := &contact{started: time.Now(), core: lifecycle.NewContact(self, timeoutMs)}
	c.certainUntilMs.Store(c.core.CertainUntilMs())
	return c
}

func (c *contact) nowMs() int64 { return time.Since(c.started).Milliseconds() }

// tell has the core hear of something.
func (c *contact) tell(f func(core *lifecycle.Contact, nowMs int64)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c.core, c.nowMs())
	c.certainUntilMs.Store(c.core.CertainUntilMs())
}

// isIsolated is told up to where the metadata is applied. The time is looked at anew each time: a process that was
// stopped must know that before it answers what has waited.
func (c *contact) isIsolated(applied func() int64) (isolated bool) {
	if c.nowMs() < c.certainUntilMs.Load() {
		return false
	}
	c.tell(func(core *lifecycle.Contact, nowMs int64) { isolated = core.IsIsolated(nowMs, applied()) })
	return isolated
}
