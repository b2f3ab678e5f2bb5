package cluster

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/controller/office"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/quorum"
)

const (
	// As the controller's host has them, but for the intervals of elections, which are shorter.
	sessionTimeoutMs  = 1500
	sessionTickMs     = sessionTimeoutMs / 30
	balanceIntervalMs = 2000
	uncleanIntervalMs = 3000
	growIntervalMs    = 2000
)

// controllerPlane is what the controller's host does: it gives the core an office while this node leads, and time.
type controllerPlane struct {
	p        *process
	office   *office.Office
	sessions *controller.Sessions
}

func newControllerPlane(p *process) *controllerPlane {
	c := &controllerPlane{p: p, sessions: controller.NewSessions(sessionTimeoutMs, sessionTickMs)}
	core := controller.New(controller.Options{ClusterID: p.w.plan.clusterID, Features: controller.Features(), NodeID: p.node.id, Broker: p.static})
	c.office = office.New(office.Options{Controller: core, Random: p.random, Voters: func() []int32 { return p.quorum.voters() },
		Propose: func(o uint64, records [][]byte, done office.Done) error {
			p.quorum.propose(o, records, func(lastOffset int64, err error) { p.after(0, func() { done(lastOffset, err) }) })
			return nil
		},
		BalanceIntervalMs: balanceIntervalMs, UncleanIntervalMs: uncleanIntervalMs, GrowIntervalMs: growIntervalMs})
	p.after(sessionTickMs, c.tick)
	return c
}

func (c *controllerPlane) tick() {
	c.p.after(sessionTickMs, c.tick)
	c.watch()
}

// isActive reports whether this node is the active controller.
func (c *controllerPlane) isActive() bool { return c.office.Held().IsSelf }

func (c *controllerPlane) leadershipChanged(l quorum.Leadership) {
	if l == c.office.Held() {
		return
	}
	c.office.End()
	c.sessions.Deactivate()
	if !l.IsSelf {
		return
	}
	p, w := c.p, c.p.w
	p.whenImage(l.StartOffset-1, func() {
		if p.quorum.voter.Leadership() != l {
			return
		}
		w.note("node %d is the active controller in epoch %d", p.node.id, l.Epoch)
		if !w.demand(c.office.Begin(l, p.image, w.nowMs)) || !w.demand(c.office.Bootstrap()) {
			return
		}
		c.sessions.Activate(w.nowMs)
		p.after(0, c.watch)
		p.forward.leaderChanged()
	})
}

// handle computes req; done is called when its records are committed.
func (c *controllerPlane) handle(req kmsg.Request, done func(resp kmsg.Response, offset int64, err error)) {
	nowMs := c.p.w.nowMs
	switch req := req.(type) {
	case *kmsg.AddRaftVoterRequest, *kmsg.RemoveRaftVoterRequest:
		c.p.quorum.changeVoters(req, func(resp kmsg.Response, err error) { done(resp, kafka.NoOffset, err) })
		return
	case *kmsg.BrokerHeartbeatRequest:
		c.sessions.Touch(req.BrokerID, req.BrokerEpoch, nowMs)
	}
	if !c.isActive() {
		done(nil, 0, kafka.ErrNotController)
		return
	}
	result, err := c.office.Decide(req, controller.Origin{}, c.sessions, nowMs)
	if err == nil {
		err = c.office.Carry(result, func(lastOffset int64, err error) { done(result.Response, lastOffset, err) })
	}
	if err != nil {
		c.demandSound(err)
		done(nil, 0, err)
	}
}

// demandSound ends the run if an error of the core's says that it made a mistake.
func (c *controllerPlane) demandSound(err error) {
	if kafka.CodeOf(err) == kafka.ErrUnknownServerError {
		c.p.w.fail("the controller of node %d: %w", c.p.node.id, err)
	}
}

// watch does what is due by time.
func (c *controllerPlane) watch() {
	w := c.p.w
	gone := c.sessions.Tick(c.office.Image(), w.nowMs)
	if !c.isActive() {
		return
	}
	for _, id := range gone {
		w.note("the controller fences broker %d", id)
		w.count["fenced"]++
	}
	w.demand(c.office.Watch(gone, w.nowMs))
}

// peerDied has a broker fenced whose process is gone.
func (c *controllerPlane) peerDied(nodeID int32, incarnation kafka.UUID) {
	c.sessions.Dead(nodeID, incarnation, c.p.w.nowMs)
	c.watch()
}
