package server

import (
	"time"

	"github.com/moldau/moldau/internal/handler"
	"github.com/moldau/moldau/internal/quota"
)

// account is the one throttle point: it asks the quota what a handled request costs its client,
// so that the answer goes into the response and the reader waits it out. A Produce that has yet to
// complete counts now: its connection's next request must not get past the throttle.
func (c *connection) account(u *unfinishedRequest, reply *handler.Reply) {
	if reply.CloseConnection || c.context.Peer != nil { // nobody's quota is for the cluster's own traffic
		return
	}
	u.throttle = reply.Throttle
	if !reply.Accounted {
		u.throttle = max(u.throttle, c.server.options.Quota.Throttle(&c.context, quota.Usage{
			APIKey: u.api.Key, Silent: reply.NoResponse, RequestBytes: u.sizeBytes - 4,
			BusyTime: u.stages.handled.Sub(u.stages.received) - c.stopwatch.Waited(), At: u.stages.handled,
		}))
	}
	c.throttle = u.throttle
}

// Writing a response counts as time spent on its request, but no client pays for being a slow
// reader: no more counts than copying so many bytes takes a slow machine.
const (
	writeTime        = 50 * time.Microsecond
	writeTimePerByte = 2 * time.Nanosecond
)

// accountWrite counts the time of encoding and writing a response.
func (c *connection) accountWrite(u *unfinishedRequest, sent time.Time, sizeBytes int) {
	if u.conn.Peer != nil {
		return
	}
	busy := min(sent.Sub(u.stages.ready), writeTime+time.Duration(sizeBytes)*writeTimePerByte)
	c.server.options.Quota.Spend(u.conn, u.api.Key, busy, sent)
}

// waitOutThrottle holds the next request back until the throttle time of the last response is
// over, as Kafka mutes the channel (KIP-219). Meanwhile the connection counts like any other: it
// ends with the server, with its client, and when it has been idle for as long as it may be.
func (c *connection) waitOutThrottle() bool {
	wait := c.throttle
	if wait <= 0 {
		return true
	}
	c.throttle = 0
	c.server.metrics.throttled.Add(1)
	defer c.server.metrics.throttled.Add(-1)
	tooLong := c.server.limits.MaxIdle > 0 && wait > c.server.limits.MaxIdle
	if tooLong {
		wait = c.server.limits.MaxIdle
	}
	c.watchPeer()
	defer c.unwatchPeer()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return !tooLong
	case <-c.ctx.Done():
	case <-c.listener.draining:
	}
	return false
}
