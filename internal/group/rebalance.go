package group

import (
	"github.com/moldau/moldau/internal/kafka"
)

// minRetryMs is the least time between two attempts to complete a rebalance in which nobody has
// joined, whatever time-out the members ask for.
const minRetryMs = 1_000

// rebalanceOrCompleteJoin begins a rebalance, or completes the one under way if its last member
// has come.
func (s *Shard) rebalanceOrCompleteJoin(g *classicGroup) {
	if g.canRebalance() {
		s.prepareRebalance(g)
		return
	}
	s.maybeCompleteJoin(g)
}

// prepareRebalance has all members join again.
func (s *Shard) prepareRebalance(g *classicGroup) {
	if g.state == stateCompletingRebalance {
		for _, m := range g.members {
			m.assignment = nil
			if m.awaitsSync() {
				s.failSync(m, kafka.ErrRebalanceInProgress)
				s.scheduleHeartbeat(m, int64(m.sessionTimeoutMs))
			}
		}
	}
	s.clearPendingSync(g)
	if g.state == stateEmpty {
		// The group is new: members that are started together shall find themselves in one
		// generation (group.initial.rebalance.delay.ms).
		s.transition(g, statePreparingRebalance)
		delayMs := int64(s.cfg.InitialRebalanceDelayMs)
		s.scheduleInitialJoin(g, delayMs, max(g.maxRebalanceTimeoutMs()-delayMs, 0))
		return
	}
	s.transition(g, statePreparingRebalance)
	if g.allJoined() {
		s.completeJoin(g)
		return
	}
	s.scheduleJoin(g, g.maxRebalanceTimeoutMs())
}

func (s *Shard) scheduleJoin(g *classicGroup, afterMs int64) {
	g.joinTimer.run = func() { s.completeJoin(g) }
	s.timers.schedule(&g.joinTimer, s.nowMs+afterMs)
}

// scheduleInitialJoin completes the first rebalance after delayMs; each time somebody has joined
// meanwhile it waits again, in all no longer than the rebalance time-out.
func (s *Shard) scheduleInitialJoin(g *classicGroup, delayMs, remainingMs int64) {
	g.joinTimer.run = func() {
		if !g.newMemberAdded || remainingMs == 0 {
			s.completeJoin(g)
			return
		}
		g.newMemberAdded = false
		s.scheduleInitialJoin(g, min(int64(s.cfg.InitialRebalanceDelayMs), remainingMs), max(remainingMs-delayMs, 0))
	}
	s.timers.schedule(&g.joinTimer, s.nowMs+delayMs)
}

// maybeCompleteJoin completes the rebalance if everybody is there. The first rebalance of a
// group ends by its timer only: how many members are still to come is not known.
func (s *Shard) maybeCompleteJoin(g *classicGroup) {
	if g.state == statePreparingRebalance && g.previousState != stateEmpty && g.allJoined() {
		s.completeJoin(g)
	}
}

// completeJoin ends PreparingRebalance: who has not come is out, except static members, who
// keep their place until their session ends.
func (s *Shard) completeJoin(g *classicGroup) {
	s.timers.cancel(&g.joinTimer)
	for _, m := range append([]*member(nil), g.members...) {
		if !m.awaitsJoin() && m.instanceID == nil {
			s.dropMember(g, m)
		}
	}
	if len(g.members) > 0 && !g.electJoinedLeader() {
		// Only absent static members are left: wait for one of them, or for their sessions to end.
		s.scheduleJoin(g, max(g.maxRebalanceTimeoutMs(), minRetryMs))
		return
	}
	g.generation++
	g.newMemberAdded = false
	if len(g.members) == 0 {
		g.protocol = ""
		g.updateSubscribed()
		s.transition(g, stateEmpty)
		s.appendRecord(groupMetadataRecord(g))
		return
	}
	g.protocol = g.selectProtocol()
	g.updateSubscribed()
	s.transition(g, stateCompletingRebalance)
	for _, m := range g.members {
		s.answerJoin(g, m, s.currentGeneration(g, m))
		s.scheduleHeartbeat(m, int64(m.sessionTimeoutMs))
		m.isNew, m.pendingSync = false, true
	}
	g.pendingSync = len(g.members)
	s.timers.schedule(&g.syncTimer, s.nowMs+max(g.maxRebalanceTimeoutMs(), minRetryMs))
}

// expirePendingSync removes the members that have not asked for their assignment within the
// rebalance time-out, and rebalances without them.
func (s *Shard) expirePendingSync(g *classicGroup) {
	if g.pendingSync == 0 || g.state != stateCompletingRebalance && g.state != stateStable {
		return
	}
	for _, m := range append([]*member(nil), g.members...) {
		if m.pendingSync {
			s.dropMember(g, m)
		}
	}
	s.prepareRebalance(g)
}

func (s *Shard) clearPendingSync(g *classicGroup) {
	for _, m := range g.members {
		m.pendingSync = false
	}
	g.pendingSync = 0
	s.timers.cancel(&g.syncTimer)
}

// syncReceived notes that m has asked for its assignment in this generation.
func (s *Shard) syncReceived(g *classicGroup, m *member) {
	if !m.pendingSync {
		return
	}
	m.pendingSync = false
	g.pendingSync--
	if g.pendingSync == 0 {
		s.timers.cancel(&g.syncTimer)
	}
}

func (s *Shard) initHeartbeat(g *classicGroup, m *member) {
	m.heartbeat.run = func() { s.expireHeartbeat(g, m) }
}

func (s *Shard) scheduleHeartbeat(m *member, afterMs int64) {
	s.timers.schedule(&m.heartbeat, s.nowMs+afterMs)
}

// expireHeartbeat removes a member that has been silent for its session time-out.
func (s *Shard) expireHeartbeat(g *classicGroup, m *member) {
	if m.satisfiesHeartbeat() {
		return // its parked request is a sign of life; the answer to it starts the clock again
	}
	s.metrics.expiredSessions.Inc()
	s.dropMember(g, m)
	s.afterDeparture(g)
}

// expirePending forgets a member that did not come back with the id it was given.
func (s *Shard) expirePending(g *classicGroup, memberID string) {
	s.dropPending(g, memberID)
	if g.state == statePreparingRebalance && g.allJoined() {
		s.completeJoin(g)
	}
}

func (s *Shard) dropPending(g *classicGroup, memberID string) {
	if t := g.pendingMembers[memberID]; t != nil {
		s.timers.cancel(t)
		delete(g.pendingMembers, memberID)
	}
}

// dropMember removes a member and answers what it has parked: UNKNOWN_MEMBER_ID has a client
// that is still there join anew.
func (s *Shard) dropMember(g *classicGroup, m *member) {
	s.failJoin(g, m, "", kafka.ErrUnknownMemberID)
	s.failSync(m, kafka.ErrUnknownMemberID)
	s.timers.cancel(&m.heartbeat)
	g.removeMember(m)
}

// afterDeparture has the group go on without a member that left or failed.
func (s *Shard) afterDeparture(g *classicGroup) {
	switch g.state {
	case stateStable, stateCompletingRebalance:
		s.prepareRebalance(g)
	case statePreparingRebalance:
		if g.allJoined() {
			s.completeJoin(g)
		}
	}
}
