package quota

import (
	"time"

	"github.com/moldau/moldau/internal/security"
)

// Usage is what one request cost.
type Usage struct {
	APIKey        int16
	RequestBytes  int
	ResponseBytes int
	// HandlerTime is the time the ordered phase took.
	HandlerTime time.Duration
	// At is when the request was finished.
	At time.Time
}

// Quota accounts usage and returns how long the connection must be held back; zero for not at
// all. It is called from many goroutines and must not block.
type Quota interface {
	Throttle(c *security.Connection, u Usage) time.Duration
}

// Unlimited never throttles.
type Unlimited struct{}

// Throttle returns zero.
func (Unlimited) Throttle(*security.Connection, Usage) time.Duration { return 0 }
