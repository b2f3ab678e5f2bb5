package broker

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/moldau/moldau/internal/peer"
)

// contact is which voters have answered this broker's heartbeats, and when. It is a core: who uses it brings the time.
type contact struct {
	mu      sync.Mutex
	self    bool                   // guarded by mu: this node is one of the voters
	heardMs map[peer.Address]int64 // guarded by mu: when each of the other voters has answered last
	// untilMs is up to when most of the voters count as heard of; 0 before any are known.
	untilMs atomic.Int64
}

// setVoters begins with another set; those who join count as heard of now.
func (c *contact) setVoters(self bool, others []peer.Address, nowMs, timeoutMs int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	heard := make(map[peer.Address]int64, len(others))
	for _, address := range others {
		heard[address] = nowMs
		if before, known := c.heardMs[address]; known {
			heard[address] = before
		}
	}
	c.self, c.heardMs = self, heard
	c.updateLocked(timeoutMs)
}

// answered notes that a voter has heard this broker, which has heard that.
func (c *contact) answered(address peer.Address, nowMs, timeoutMs int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if before, known := c.heardMs[address]; known {
		c.heardMs[address] = max(before, nowMs)
		c.updateLocked(timeoutMs)
	}
}

func (c *contact) updateLocked(timeoutMs int64) {
	voters := len(c.heardMs)
	if c.self {
		voters++
	}
	needed := voters/2 + 1 // of the others
	if c.self {
		needed--
	}
	if needed == 0 || needed > len(c.heardMs) {
		c.untilMs.Store(math.MaxInt64) // nobody else is needed, or nobody is known
		return
	}
	times := make([]int64, 0, len(c.heardMs))
	for _, at := range c.heardMs {
		times = append(times, at)
	}
	slices.Sort(times)
	c.untilMs.Store(times[len(times)-needed] + timeoutMs)
}

// isLost reports whether no majority of the voters has answered for the time-out: one that is fenced would not learn of it.
func (c *contact) isLost(nowMs int64) bool {
	until := c.untilMs.Load()
	return until > 0 && nowMs >= until
}
