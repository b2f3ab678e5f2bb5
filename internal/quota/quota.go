package quota

import (
	"math"
	"time"

	"github.com/moldau/moldau/internal/security"
)

// Usage is what one request cost.
type Usage struct {
	APIKey int16
	// Silent says that the request gets no response (Produce with acks=0): its time is not limited.
	Silent        bool
	RequestBytes  int
	ResponseBytes int
	// BusyTime is how long the request was worked on, without waits.
	BusyTime time.Duration
	// At is when the request was handled.
	At time.Time
}

// Quota accounts usage and returns how long the connection must be held back; zero for not at
// all. It is called from many goroutines and must not block.
type Quota interface {
	// Throttle accounts one request. The server calls it, except for Fetch, whose handler does:
	// where the result is not zero, Fetch answers no records, and ResponseBytes are not counted.
	Throttle(c *security.Connection, u Usage) time.Duration
	// Spend accounts time that a request takes after Throttle.
	Spend(c *security.Connection, apiKey int16, busy time.Duration, at time.Time)
	// FetchBytes is what one Fetch may answer without being throttled for certain.
	FetchBytes(c *security.Connection) int
	// Changes returns the client's quota of changes of topics, nil where it has none. A strict
	// one refuses what comes after the change that exceeded it (KIP-599).
	Changes(c *security.Connection, strict bool, now func() time.Time) *Changes
}

// Unlimited never throttles.
type Unlimited struct{}

// Throttle returns zero.
func (Unlimited) Throttle(*security.Connection, Usage) time.Duration { return 0 }

// Spend does nothing.
func (Unlimited) Spend(*security.Connection, int16, time.Duration, time.Time) {}

// FetchBytes returns as much as there can be.
func (Unlimited) FetchBytes(*security.Connection) int { return math.MaxInt }

// Changes returns nil.
func (Unlimited) Changes(*security.Connection, bool, func() time.Time) *Changes { return nil }
