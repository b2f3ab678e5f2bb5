package group

import (
	"fmt"
	"sort"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/shard"
)

// Shard is the group coordinator's state for one partition of __consumer_offsets.
type Shard struct {
	cfg     Config
	random  env.Random
	metrics *Metrics

	groups map[string]*classicGroup
	// pending are the offsets committed in transactions that are still open.
	pending pendingOffsets
	// lastRecord orders commits by their place in the log: it is the offset of the last replayed
	// record, and grows by one, so never faster than the log, with every commit of this coordinator.
	lastRecord int64

	timers    timers
	retention timer

	// The step under way.
	nowMs int64
	out   shard.Effects
}

var _ shard.Shard = (*Shard)(nil)

// NewShard returns an empty shard. random names new members.
func NewShard(cfg Config, random env.Random, m *Metrics) *Shard {
	s := &Shard{
		cfg: cfg, random: random, metrics: m,
		groups:  map[string]*classicGroup{},
		pending: newPendingOffsets(),
	}
	s.retention.run = s.expireOffsets
	return s
}

// Caller is who sent a request that may create or replace a member.
type Caller struct {
	Token      shard.Token
	ClientID   string
	ClientHost string // as DescribeGroups shows it: "/10.0.0.7"
}

// Activate implements shard.Shard: sessions of loaded members begin anew.
func (s *Shard) Activate(nowMs int64) shard.Effects {
	s.begin(nowMs)
	for _, g := range s.sortedGroups() {
		for _, m := range g.members {
			s.scheduleHeartbeat(m, int64(m.sessionTimeoutMs))
		}
		if len(g.members) > int(s.cfg.MaxSize) {
			s.prepareRebalance(g) // group.max.size was lowered: those who rejoin last are refused
		}
	}
	s.timers.schedule(&s.retention, later(nowMs, s.cfg.RetentionCheckIntervalMs))
	return s.end()
}

// NextDeadlineMs implements shard.Shard.
func (s *Shard) NextDeadlineMs() int64 { return s.timers.nextDeadlineMs() }

// Tick implements shard.Shard.
func (s *Shard) Tick(nowMs int64) shard.Effects {
	s.begin(nowMs)
	s.timers.runDue(nowMs)
	return s.end()
}

// ShiftDeadlines implements shard.Shard.
func (s *Shard) ShiftDeadlines(byMs int64) { s.timers.shift(byMs) }

// Deactivate implements shard.Shard.
func (s *Shard) Deactivate() {
	for _, g := range s.sortedGroups() {
		s.metrics.groups[g.state].Add(-1)
		for _, partitions := range g.offsets {
			s.metrics.offsets.Add(-int64(len(partitions)))
		}
	}
	s.groups = map[string]*classicGroup{}
}

func (s *Shard) begin(nowMs int64) { s.nowMs, s.out = nowMs, shard.Effects{} }

func (s *Shard) end() shard.Effects {
	out := s.out
	s.out = shard.Effects{}
	return out
}

func (s *Shard) respond(token shard.Token, value any) {
	if token != 0 {
		s.out.Responses = append(s.out.Responses, shard.Response{Token: token, Value: value})
	}
}

func (s *Shard) appendRecord(r shard.Record) { s.out.Records = append(s.out.Records, r) }

// group returns the group called id, or nil.
func (s *Shard) group(id string) *classicGroup { return s.groups[id] }

// createGroup adds an empty group.
func (s *Shard) createGroup(id string) *classicGroup {
	g := &classicGroup{
		id: id, stateSinceMs: s.nowMs,
		membersByID:    map[string]*member{},
		staticMembers:  map[string]*member{},
		pendingMembers: map[string]*timer{},
		supported:      map[string]int{},
		offsets:        map[string]map[int32]committedOffset{},
	}
	g.joinTimer.run = func() { s.completeJoin(g) }
	g.syncTimer.run = func() { s.expirePendingSync(g) }
	s.groups[id] = g
	s.metrics.groups[g.state].Add(1)
	return g
}

// forgetGroup drops a group with its timers; the tombstones are the caller's.
func (s *Shard) forgetGroup(g *classicGroup) {
	s.timers.cancel(&g.joinTimer)
	s.timers.cancel(&g.syncTimer)
	for _, m := range g.members {
		s.timers.cancel(&m.heartbeat)
	}
	for _, t := range g.pendingMembers {
		s.timers.cancel(t)
	}
	for _, partitions := range g.offsets {
		s.metrics.offsets.Add(-int64(len(partitions)))
	}
	s.metrics.groups[g.state].Add(-1)
	delete(s.groups, g.id)
}

func (s *Shard) transition(g *classicGroup, to groupState) {
	s.metrics.groups[g.state].Add(-1)
	s.metrics.groups[to].Add(1)
	g.previousState, g.state, g.stateSinceMs = g.state, to, s.nowMs
}

// sortedGroups returns the groups by id: what a shard does never depends on map order.
func (s *Shard) sortedGroups() []*classicGroup {
	groups := make([]*classicGroup, 0, len(s.groups))
	for _, g := range s.groups {
		groups = append(groups, g)
	}
	sort.Slice(groups, func(i, j int) bool { return groups[i].id < groups[j].id })
	return groups
}

// newMemberID returns "<client id>-<uuid>", or for static members "<instance id>-<uuid>".
func (s *Shard) newMemberID(prefix string) string {
	u := kafka.NewUUID(s.random)
	return fmt.Sprintf("%s-%x-%x-%x-%x-%x", prefix, u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}
