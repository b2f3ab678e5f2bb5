package cluster

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/broker/lifecycle"
	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/peer/suspect"
	"github.com/moldau/moldau/internal/sim"
	"github.com/moldau/moldau/internal/storage/checkpoint"
)

const (
	heartbeatMs      = 100
	lifeCallMs       = 5000
	sessionTimeoutCb = 1000
)

// life drives the broker's lifecycle and its sessions with the voters, as their hosts do.
type life struct {
	p        *process
	core     *lifecycle.Lifecycle
	contact  *lifecycle.Contact
	sessions map[int32]*conn
	beating  map[int32]bool
	isolated bool // when it was last looked at
	alarm    *sim.Alarm
	left     func()
}

func newLife(p *process) *life {
	l := &life{p: p, contact: lifecycle.NewContact(p.node.id, sessionTimeoutMs), sessions: map[int32]*conn{}, beating: map[int32]bool{}}
	l.alarm = newAlarm(p, l.pump)
	return l
}

func (l *life) begin() {
	p := l.p
	req := kmsg.NewPtrBrokerRegistrationRequest()
	req.SetVersion(req.MaxVersion())
	req.BrokerID, req.ClusterID, req.IncarnationID = p.node.id, p.w.plan.clusterID, p.incarnation
	rack := string(rune('a' + p.node.id))
	req.Rack = &rack
	listener := kmsg.NewBrokerRegistrationRequestListener()
	listener.Name, listener.Host, listener.Port = "PLAINTEXT", "n", uint16(9090+p.node.id)
	req.Listeners = append(req.Listeners, listener)
	for _, f := range controller.Features() {
		req.Features = append(req.Features, kmsg.BrokerRegistrationRequestFeature{Name: f.Name, MinSupportedVersion: f.MinLevel, MaxSupportedVersion: f.MaxLevel})
	}
	for _, id := range p.storage.Directories(false) {
		req.LogDirs = append(req.LogDirs, id)
	}
	if req.PreviousBrokerEpoch = p.storage.CleanShutdownBrokerEpoch(); req.PreviousBrokerEpoch < 0 && !p.storage.HasLost() {
		req.PreviousBrokerEpoch = checkpoint.KeptBrokerEpoch(p.disk.FS, []string{dataDir}, p.node.bootID())
	}
	l.core = lifecycle.New(lifecycle.Options{Registration: req, HeartbeatMs: heartbeatMs, RegistrationTimeoutMs: 60_000, LeaveTimeoutMs: 10_000}, p.w.nowMs)
	l.pump()
	p.after(heartbeatMs, l.beat)
	p.after(heartbeatMs, l.watchIsolation)
}

// isIsolated is asked before requests are answered.
func (l *life) isIsolated() bool { return l.contact.IsIsolated(l.p.w.nowMs, l.p.image.Offset) }

// watchIsolation has those go who wait for replicas that are not heard of.
func (l *life) watchIsolation() {
	p := l.p
	p.after(heartbeatMs, l.watchIsolation)
	was := l.isolated
	if l.isolated = l.isIsolated(); l.isolated && !was {
		p.w.count["isolated"]++
		p.w.note("node %d is isolated", p.node.id)
	}
	if p.replicas.NoteAbandoned() {
		p.w.count["abandoned"]++
		p.coordinators.CheckLogs()
	}
}

func (l *life) epoch() int64 {
	if l.core == nil {
		return -1
	}
	return l.core.Epoch()
}

func (l *life) facts() lifecycle.Facts {
	p := l.p
	f := lifecycle.Facts{Ready: p.hosting, MetadataOffset: p.image.Offset, OfflineDirs: p.storage.Directories(true)}
	if registered := p.image.Broker(p.node.id); registered != nil {
		f.Incarnation = registered.IncarnationID
		f.SharesDirs = slices.ContainsFunc(registered.LogDirs, func(id kafka.UUID) bool { return slices.Contains(p.storage.Directories(false), id) })
	}
	return f
}

// leave has the broker leave on purpose; left is called when it may go.
func (l *life) leave(left func()) {
	l.left = left
	l.core.Leave(l.p.w.nowMs)
	l.alarm.In(0)
}

// news has the core look whether the controller should hear of something.
func (l *life) news() {
	if l.core != nil {
		l.alarm.In(0)
	}
}

func (l *life) pump() {
	p, w := l.p, l.p.w
	if p.failing {
		return
	}
	before := l.core.State()
	if req := l.core.Next(w.nowMs, l.facts()); req != nil {
		l.p.forward.send(req, lifeCallMs, func(resp kmsg.Response, err error) {
			l.core.Answered(w.nowMs, l.facts(), resp, err)
			if r, ok := resp.(*kmsg.BrokerRegistrationResponse); ok && err == nil && r.ErrorCode == 0 {
				w.demand(w.check.levels.ObserveNew("the epoch of broker "+string(rune('0'+p.node.id)), r.BrokerEpoch))
			}
			l.changed()
			l.alarm.In(0)
		})
	}
	if before != l.core.State() {
		l.changed()
	}
	if at := l.core.NextDeadlineMs(); at != never {
		l.alarm.In(max(1, at-w.nowMs))
	}
}

// changed takes the steps of the start that wait for the controller.
func (l *life) changed() {
	p := l.p
	switch state := l.core.State(); {
	case state == lifecycle.StateFailed:
		p.w.fail("broker %d: %w", p.node.id, l.core.Err())
	case state == lifecycle.StateFenced && !p.hosting:
		p.onDisk(func() {
			if p.hosting {
				return
			}
			if err := p.replicas.Start(); err != nil {
				p.stored("hosting the partitions", err)
				return
			}
			if err := checkpoint.WriteRunning(p.disk.FS, []string{dataDir}, l.core.Epoch(), p.node.bootID()); err != nil {
				p.stored("noting that the broker runs", err)
			} else {
				p.noted = true
			}
			p.hosting = true
			p.replication.begin()
			l.news()
		})
	case state == lifecycle.StateRunning && !p.serving:
		p.w.note("node %d runs", p.node.id)
		p.serving = true
	case state == lifecycle.StateStopped && l.left != nil:
		left := l.left
		l.left = nil
		left()
	}
}

// beat is the session with every voter.
func (l *life) beat() {
	p := l.p
	p.after(heartbeatMs, l.beat)
	epoch := l.core.Epoch()
	if epoch < 0 {
		return
	}
	sentMs := p.w.nowMs
	p.controller.sessions.Touch(p.node.id, epoch, sentMs)
	l.contact.Answered(p.node.id, sentMs, sentMs, p.quorum.logEnd())
	for _, n := range p.w.nodes {
		if n == p.node || l.beating[n.id] {
			continue
		}
		link := l.sessions[n.id]
		if link == nil || link.closed {
			link = p.w.dial("session", p.node.id, p, n.id)
			link.onBroken = func() { p.lost(link) }
			l.sessions[n.id] = link
		}
		l.beating[n.id] = true
		link.call(sessionTimeoutCb, func(at *process, answer func(any)) {
			at.controller.sessions.Touch(p.node.id, epoch, at.w.nowMs)
			answer(at.quorum.logEnd())
		}, func(answer any, err error) {
			l.beating[n.id] = false
			if endOffset, ok := answer.(int64); ok && err == nil {
				l.contact.Answered(n.id, sentMs, p.w.nowMs, endOffset)
			}
		})
	}
}

// lost is told of a connection of this process that has ended.
func (p *process) lost(c *conn) {
	if c.server != nil {
		p.suspect(c.server)
	}
}

// peerClosed is told of a connection of another node to this one that has ended.
func (p *process) peerClosed(other *process) { p.suspect(other) }

func (p *process) suspect(other *process) {
	p.suspects.Lost(suspect.Node{ID: other.node.id, IncarnationID: other.incarnation}, p.steady())
	p.probes.In(0)
}

// probe asks the nodes whose connections have ended whether they live.
func (p *process) probe() {
	w := p.w
	for _, node := range p.suspects.Due(p.steady()) {
		target, delay := w.node(node.ID), w.network.delay()
		p.after(delay, func() {
			outcome, answered := suspect.Silent, kafka.UUID{}
			there := w.network.arrives(p.node.id, target.id) && w.network.arrives(target.id, p.node.id)
			switch {
			case !there || target.process != nil && w.nowMs < target.pausedMs:
			case target.process == nil:
				outcome = suspect.Refused
			default:
				outcome, answered = suspect.Answered, target.process.incarnation
			}
			if p.suspects.Probed(node, outcome, answered, p.steady()) {
				w.note("node %d finds node %d dead", p.node.id, node.ID)
				w.count["found dead"]++
				p.quorum.peerDied(node.ID)
				p.controller.peerDied(node.ID, node.IncarnationID)
			}
			p.probes.In(0)
		})
	}
	if next, ok := p.suspects.Next(); ok && next.UnixMilli() > w.nowMs {
		p.probes.In(next.UnixMilli() - w.nowMs)
	}
}
