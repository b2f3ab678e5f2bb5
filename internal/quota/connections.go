package quota

import (
	"math"
	"net/netip"
	"sync"
	"time"
)

// ConnectionLimits are how many connections may be made per second.
type ConnectionLimits struct {
	// Broker is max.connection.creation.rate; math.MaxInt32 for as many as come.
	Broker int32
	// Listeners is the same of single listeners, by name.
	Listeners map[string]int32
	// ExemptListener is not held back by Broker: the listener between brokers, where there are others.
	ExemptListener string
}

// AddressLimits are connection_creation_rate of addresses; math.MaxInt32 is no limit.
type AddressLimits struct {
	Default   int32
	Addresses map[netip.Addr]int32
}

// Connections limits how fast connections are made. Its methods may be called concurrently.
type Connections struct {
	window Window
	origin time.Time

	mu        sync.Mutex
	limits    ConnectionLimits
	addresses AddressLimits
	broker    rate
	listeners map[string]*rate
	meters    *meters // by address
}

// NewConnections returns a Connections without limits. Rates are measured over w.
func NewConnections(w Window, now time.Time) *Connections {
	return &Connections{
		window: w, origin: now, listeners: map[string]*rate{}, meters: newMeters(func(*meter) {}),
		limits: ConnectionLimits{Broker: math.MaxInt32}, addresses: AddressLimits{Default: math.MaxInt32},
	}
}

// SetLimits changes the limits of the broker and its listeners.
func (c *Connections) SetLimits(l ConnectionLimits) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limits = l
}

// SetAddressLimits changes the limits of addresses.
func (c *Connections) SetAddressLimits(l AddressLimits) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.addresses = l
}

func (c *Connections) ms(at time.Time) int64 { return at.Sub(c.origin).Milliseconds() }

// Accept counts a connection and returns how long its listener waits before it lets it in, at
// most one sample of the window.
func (c *Connections) Accept(listener string, at time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	nowMs, wait := c.ms(at), time.Duration(0)
	for r, limit := range c.rates(listener) {
		r.record(c.window, 1, nowMs)
		wait = max(wait, r.throttle(c.window, float64(limit), nowMs))
	}
	return min(wait, c.window.Sample)
}

// IsLimited reports whether anything limits the rate of a listener.
func (c *Connections) IsLimited(listener string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for range c.rates(listener) {
		return true
	}
	return false
}

// rates yields what counts a listener's connections, with their limits. mu is held.
func (c *Connections) rates(listener string) func(yield func(*rate, int32) bool) {
	return func(yield func(*rate, int32) bool) {
		if c.limits.Broker != math.MaxInt32 && listener != c.limits.ExemptListener && !yield(&c.broker, c.limits.Broker) {
			return
		}
		if limit, limited := c.limits.Listeners[listener]; limited {
			if c.listeners[listener] == nil {
				c.listeners[listener] = &rate{}
			}
			yield(c.listeners[listener], limit)
		}
	}
}

// AcceptFrom counts a connection of an address. Where that exceeds the address's limit, nothing is
// counted, not by Accept either, and the connection is to be closed after the time returned.
func (c *Connections) AcceptFrom(listener string, address netip.Addr, at time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	address = address.Unmap().WithZone("")
	limit, set := c.addresses.Addresses[address]
	if !set {
		limit = c.addresses.Default
	}
	if limit == math.MaxInt32 {
		return 0
	}
	nowMs := c.ms(at)
	used, _ := c.meters.of(user(address.String()), nowMs)
	used.rate.record(c.window, 1, nowMs)
	wait := used.rate.throttle(c.window, float64(limit), nowMs)
	if wait == 0 {
		return 0
	}
	used.rate.record(c.window, -1, nowMs)
	for r := range c.rates(listener) {
		r.record(c.window, -1, nowMs)
	}
	return min(wait, c.window.Sample)
}
