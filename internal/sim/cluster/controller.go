package cluster

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
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

// controllerPlane is what the controller's host does: the core computes on the speculative image while this node leads.
type controllerPlane struct {
	p          *process
	core       *controller.Controller
	sessions   *controller.Sessions
	serving    quorum.Leadership
	image      *metadata.Image // speculative: committed plus in flight
	nextOffset int64
	balanceAt  int64
	uncleanAt  int64
	growAt     int64
}

func newControllerPlane(p *process) *controllerPlane {
	c := &controllerPlane{p: p, sessions: controller.NewSessions(sessionTimeoutMs, sessionTickMs),
		core: controller.New(controller.Options{ClusterID: p.w.plan.clusterID, Features: controller.Features(), NodeID: p.node.id, Broker: p.static})}
	p.after(sessionTickMs, c.tick)
	return c
}

func (c *controllerPlane) tick() {
	c.p.after(sessionTickMs, c.tick)
	c.watch()
}

func (c *controllerPlane) leadershipChanged(l quorum.Leadership) {
	if l == c.serving {
		return
	}
	c.serving, c.image = quorum.Leadership{}, nil
	c.sessions.Deactivate()
	if !l.IsSelf {
		return
	}
	c.p.whenImage(l.StartOffset-1, func() {
		if c.p.quorum.voter.Leadership() != l {
			return
		}
		p, w := c.p, c.p.w
		c.serving, c.image, c.nextOffset = l, p.image, l.StartOffset
		w.note("node %d is the active controller in epoch %d", p.node.id, l.Epoch)
		if w.demand(c.core.CheckFeatures(c.image)) {
			if records := c.core.Bootstrap(c.input()); len(records) > 0 {
				c.propose(records, func(int64, error) {})
			}
		}
		c.balanceAt, c.uncleanAt, c.growAt = w.nowMs+balanceIntervalMs, w.nowMs+uncleanIntervalMs, w.nowMs+growIntervalMs
		c.sessions.Activate(w.nowMs)
		p.after(0, c.watch)
		p.forward.leaderChanged()
	})
}

func (c *controllerPlane) input() controller.Input {
	in := controller.Input{Image: c.image, NextOffset: c.nextOffset, Random: c.p.random}
	for _, v := range c.p.quorum.voter.Voters() {
		in.Voters = append(in.Voters, v.NodeID)
	}
	return in
}

// handle computes req; done is called when its records are committed.
func (c *controllerPlane) handle(req kmsg.Request, done func(resp kmsg.Response, offset int64, err error)) {
	nowMs := c.p.w.nowMs
	if beat, ok := req.(*kmsg.BrokerHeartbeatRequest); ok {
		c.sessions.Touch(beat.BrokerID, beat.BrokerEpoch, nowMs)
	}
	if !c.serving.IsSelf {
		done(nil, 0, kafka.ErrNotController)
		return
	}
	in := c.input()
	switch req := req.(type) {
	case *kmsg.BrokerHeartbeatRequest:
		c.sessions.Applied(req.BrokerID, req.BrokerEpoch, req.CurrentMetadataOffset, nowMs)
		in.Sessions = c.sessions
	case *kmsg.BrokerRegistrationRequest:
		in.Sessions = c.sessions
	}
	result, err := c.core.Handle(in, req)
	if err != nil {
		done(nil, 0, err)
		return
	}
	c.propose(result.Records, func(lastOffset int64, err error) { done(result.Response, lastOffset, err) })
}

func (c *controllerPlane) propose(records []metadata.Record, done func(lastOffset int64, err error)) {
	encoded := make([][]byte, len(records))
	delta := metadata.NewDelta(c.image)
	for i, r := range records {
		encoded[i] = metadata.EncodeAt(r, delta.MetadataVersion())
		if err := delta.Replay(r); err != nil {
			c.p.w.fail("the controller made a record that does not apply: %s: %w", r.Type(), err)
			return
		}
	}
	if len(records) > 0 {
		c.nextOffset += int64(len(records))
		c.image = delta.Apply(c.nextOffset-1, c.serving.Epoch)
	}
	c.p.quorum.propose(c.serving.Office, encoded, done)
}

// watch does what is due by time.
func (c *controllerPlane) watch() {
	if !c.serving.IsSelf {
		return
	}
	w := c.p.w
	for _, id := range c.sessions.Tick(c.image, w.nowMs) {
		w.note("the controller fences broker %d", id)
		w.count["fenced"]++
		c.proposeOwn(c.core.Fence(c.input(), id))
	}
	if w.nowMs >= c.balanceAt {
		c.balanceAt = c.elect(balanceIntervalMs, c.core.BalanceLeaders)
	}
	if w.nowMs >= c.uncleanAt {
		c.uncleanAt = c.elect(uncleanIntervalMs, c.core.ElectUncleanLeaders)
	}
	if w.nowMs >= c.growAt {
		c.growAt = w.nowMs + growIntervalMs
		c.proposeOwn(c.core.GrowInternalTopics(c.input()))
	}
}

func (c *controllerPlane) elect(intervalMs int64, round func(controller.Input) ([]metadata.Record, bool)) int64 {
	records, more := round(c.input())
	c.proposeOwn(records)
	if more {
		return c.p.w.nowMs
	}
	return c.p.w.nowMs + intervalMs
}

func (c *controllerPlane) proposeOwn(records []metadata.Record) {
	if len(records) > 0 && c.serving.IsSelf {
		c.propose(records, func(int64, error) {})
	}
}

// peerDied has a broker fenced whose process is gone.
func (c *controllerPlane) peerDied(nodeID int32, incarnation kafka.UUID) {
	c.sessions.Dead(nodeID, incarnation, c.p.w.nowMs)
	c.watch()
}
