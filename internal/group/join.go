package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/shard"
)

// firstVersionRequiringMemberID is the JoinGroup version from which a dynamic member is told its
// id before it joins (KIP-394); from firstVersionSkippingAssignment on, a static leader that
// comes back may be told to keep the assignment (KIP-814).
const (
	firstVersionRequiringMemberID  = 4
	firstVersionSkippingAssignment = 9
)

// join is one JoinGroup under way.
type join struct {
	caller    Caller
	request   *kmsg.JoinGroupRequest
	protocols []assignorProtocol
}

// JoinGroup lets a member join or rejoin. The response is a *kmsg.JoinGroupResponse; where a
// rebalance has to complete first it comes out of a later step.
func (s *Shard) JoinGroup(c Caller, req *kmsg.JoinGroupRequest, nowMs int64) shard.Effects {
	s.begin(nowMs)
	j := &join{caller: c, request: req, protocols: copyProtocols(req.Protocols)}
	if req.SessionTimeoutMillis < s.cfg.MinSessionTimeoutMs || req.SessionTimeoutMillis > s.cfg.MaxSessionTimeoutMs {
		s.refuseJoin(c.Token, req.MemberID, kafka.ErrInvalidSessionTimeout)
		return s.end()
	}
	g := s.group(req.Group)
	if g == nil {
		s.joinNewGroup(j)
		return s.end()
	}
	switch {
	case !s.acceptsJoin(g, req.MemberID):
		if m := g.membersByID[req.MemberID]; m != nil {
			s.dropMember(g, m)
		}
		s.dropPending(g, req.MemberID)
		s.refuseJoin(c.Token, "", kafka.ErrGroupMaxSizeReached)
		s.maybeCompleteJoin(g) // it may have been the last one that was waited for
	case req.MemberID == "":
		s.joinNewMember(g, j)
	default:
		s.joinKnownMember(g, j)
	}
	return s.end()
}

func (s *Shard) joinNewGroup(j *join) {
	req := j.request
	if req.MemberID != "" {
		s.refuseJoin(j.caller.Token, req.MemberID, kafka.ErrUnknownMemberID)
		return
	}
	if req.ProtocolType == "" || len(j.protocols) == 0 {
		s.refuseJoin(j.caller.Token, "", kafka.ErrInconsistentGroupProtocol)
		return
	}
	g := s.createGroup(req.Group)
	s.appendRecord(emptyGroupRecord(g)) // as Kafka: the group outlives this coordinator from its first member on
	s.joinNewMember(g, j)
}

// acceptsJoin enforces group.max.size. While a rebalance is prepared those count who have
// rejoined, so that the last ones of a group that is too large are turned away.
func (s *Shard) acceptsJoin(g *classicGroup, memberID string) bool {
	m := g.membersByID[memberID]
	switch g.state {
	case stateEmpty:
		return true
	case statePreparingRebalance:
		return m != nil && m.awaitsJoin() || g.awaitingJoin < int(s.cfg.MaxSize)
	default:
		return m != nil || len(g.members) < int(s.cfg.MaxSize)
	}
}

// joinNewMember handles a JoinGroup without a member id.
func (s *Shard) joinNewMember(g *classicGroup, j *join) {
	req := j.request
	if !g.supports(req.ProtocolType, j.protocols) {
		s.refuseJoin(j.caller.Token, "", kafka.ErrInconsistentGroupProtocol)
		return
	}
	if req.InstanceID != nil {
		memberID := s.newMemberID(*req.InstanceID)
		if old := g.staticMembers[*req.InstanceID]; old != nil {
			s.replaceStaticMember(g, old, memberID, j)
			return
		}
		s.addMember(g, memberID, j)
		return
	}
	memberID := s.newMemberID(j.caller.ClientID)
	if req.Version < firstVersionRequiringMemberID {
		s.addMember(g, memberID, j)
		return
	}
	t := &timer{run: func() { s.expirePending(g, memberID) }}
	g.pendingMembers[memberID] = t
	s.timers.schedule(t, s.nowMs+int64(req.SessionTimeoutMillis))
	s.refuseJoin(j.caller.Token, memberID, kafka.ErrMemberIDRequired)
}

// joinKnownMember handles a JoinGroup that names its member.
func (s *Shard) joinKnownMember(g *classicGroup, j *join) {
	req := j.request
	if !g.supports(req.ProtocolType, j.protocols) {
		s.refuseJoin(j.caller.Token, req.MemberID, kafka.ErrInconsistentGroupProtocol)
		return
	}
	if g.pendingMembers[req.MemberID] != nil && req.InstanceID == nil {
		s.addMember(g, req.MemberID, j)
		return
	}
	if code := g.validateMember(req.MemberID, req.InstanceID); code != kafka.ErrNone {
		s.refuseJoin(j.caller.Token, req.MemberID, code)
		return
	}
	m := g.membersByID[req.MemberID]
	switch g.state {
	case statePreparingRebalance:
		s.rejoin(g, m, j)
	case stateCompletingRebalance:
		if m.matches(j.protocols) {
			// The member may have missed the answer to its first JoinGroup: repeat it.
			s.respond(j.caller.Token, s.currentGeneration(g, m))
			return
		}
		s.rejoin(g, m, j)
	case stateStable:
		// The leader may ask for a rebalance without changing its own metadata, for example
		// because a topic has got more partitions.
		if g.isLeader(m.id) || !m.matches(j.protocols) {
			s.rejoin(g, m, j)
			return
		}
		s.respond(j.caller.Token, s.currentGeneration(g, m))
	default:
		s.refuseJoin(j.caller.Token, req.MemberID, kafka.ErrUnknownMemberID)
	}
}

// addMember adds a member and has it wait for the rebalance that its arrival causes.
func (s *Shard) addMember(g *classicGroup, memberID string, j *join) {
	req := j.request
	s.dropPending(g, memberID)
	m := &member{
		id: memberID, instanceID: req.InstanceID,
		clientID: j.caller.ClientID, clientHost: j.caller.ClientHost,
		rebalanceTimeoutMs: rebalanceTimeoutMs(req), sessionTimeoutMs: req.SessionTimeoutMillis,
		protocols: j.protocols, joinToken: j.caller.Token, isNew: true,
	}
	s.initHeartbeat(g, m)
	if g.state == statePreparingRebalance && g.previousState == stateEmpty {
		g.newMemberAdded = true
	}
	g.addMember(m, req.ProtocolType)
	s.scheduleHeartbeat(m, newMemberJoinTimeoutMs)
	s.rebalanceOrCompleteJoin(g)
}

// rejoin has a member wait for the next rebalance with what it now brings along.
func (s *Shard) rejoin(g *classicGroup, m *member, j *join) {
	s.updateMember(g, m, j)
	s.rebalanceOrCompleteJoin(g)
}

func (s *Shard) updateMember(g *classicGroup, m *member, j *join) {
	g.countProtocols(m, -1)
	m.protocols = j.protocols
	g.countProtocols(m, 1)
	m.rebalanceTimeoutMs, m.sessionTimeoutMs = rebalanceTimeoutMs(j.request), j.request.SessionTimeoutMillis
	// An earlier JoinGroup of the same member is superseded; Kafka forgets it, here it is
	// answered, so that nobody waits for ever.
	s.failJoin(g, m, m.id, kafka.ErrRebalanceInProgress)
	m.joinToken = j.caller.Token
	g.awaitingJoin++
}

// replaceStaticMember lets a static member that was restarted take the place of its former self
// under a new member id (KIP-345).
func (s *Shard) replaceStaticMember(g *classicGroup, old *member, memberID string, j *join) {
	formerLeader := g.leader
	s.failJoin(g, old, old.id, kafka.ErrFencedInstanceID)
	s.failSync(old, kafka.ErrFencedInstanceID)
	s.timers.cancel(&old.heartbeat)

	m := &member{
		id: memberID, instanceID: old.instanceID, clientID: old.clientID, clientHost: old.clientHost,
		protocols: old.protocols, assignment: old.assignment, pendingSync: old.pendingSync,
	}
	s.initHeartbeat(g, m)
	g.replaceMember(old, m)
	s.updateMember(g, m, j)
	s.scheduleHeartbeat(m, int64(m.sessionTimeoutMs))

	switch {
	case g.state == stateStable && g.selectProtocol() == g.protocol:
		s.keepGenerationOf(g, old, m, formerLeader, j)
	case g.state == stateStable:
		s.rebalanceOrCompleteJoin(g)
	case g.state == stateCompletingRebalance:
		// The leader may be computing an assignment for the old member id: it would be lost
		// (KAFKA-9801).
		s.prepareRebalance(g)
	default:
		s.maybeCompleteJoin(g)
	}
}

// keepGenerationOf answers a static member that came back to a stable group and changes nothing
// in the choice of the assignor: no rebalance, but the new member id is persisted. Where that does not fit in one
// batch of the log, everything stays as it was, as in Kafka.
func (s *Shard) keepGenerationOf(g *classicGroup, old, m *member, formerLeader string, j *join) {
	record := groupMetadataRecord(g)
	if recordsSizeBytes(record) > int(s.cfg.MaxBatchSizeBytes()) {
		s.restoreStaticMember(g, old, m)
		return
	}
	g.updateSubscribed()
	s.appendRecord(record)
	resp := s.currentGeneration(g, m)
	if j.request.Version >= firstVersionSkippingAssignment {
		resp.SkipAssignment = g.isLeader(m.id)
	} else {
		// Clients before KIP-814 would compute an assignment that nobody waits for if they knew
		// that they lead: name the former member id as leader.
		resp.LeaderID = formerLeader
		resp.Members = nil
	}
	s.answerJoin(g, m, resp)
}

// restoreStaticMember gives a static member its place back that m has just taken.
func (s *Shard) restoreStaticMember(g *classicGroup, old, m *member) {
	s.timers.cancel(&m.heartbeat)
	g.countProtocols(m, -1)
	g.replaceMember(m, old)
	g.countProtocols(old, 1)
	s.scheduleHeartbeat(old, int64(old.sessionTimeoutMs))
	resp := joinError("", kafka.ErrUnknownServerError)
	resp.Generation, resp.LeaderID = g.generation, g.leader
	resp.ProtocolType, resp.Protocol = nonEmpty(g.protocolType), nonEmpty(g.protocol)
	s.answerJoin(g, m, resp)
}

// currentGeneration is the answer to a member of the generation that is under way; only the
// leader learns who the members are.
func (s *Shard) currentGeneration(g *classicGroup, m *member) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.MemberID, resp.Generation, resp.LeaderID = m.id, g.generation, g.leader
	resp.ProtocolType, resp.Protocol = nonEmpty(g.protocolType), nonEmpty(g.protocol)
	if g.isLeader(m.id) {
		resp.Members = make([]kmsg.JoinGroupResponseMember, len(g.members))
		for i, other := range g.members {
			resp.Members[i] = kmsg.JoinGroupResponseMember{
				MemberID: other.id, InstanceID: other.instanceID, ProtocolMetadata: other.metadataFor(g.protocol),
			}
		}
	}
	return resp
}

// answerJoin completes a member's parked JoinGroup.
func (s *Shard) answerJoin(g *classicGroup, m *member, resp *kmsg.JoinGroupResponse) {
	if !m.awaitsJoin() {
		return
	}
	s.respond(m.joinToken, resp)
	m.joinToken = 0
	g.awaitingJoin--
}

func (s *Shard) failJoin(g *classicGroup, m *member, memberID string, code kafka.ErrorCode) {
	s.answerJoin(g, m, joinError(memberID, code))
}

// refuseJoin answers a JoinGroup that is not parked.
func (s *Shard) refuseJoin(token shard.Token, memberID string, code kafka.ErrorCode) {
	s.respond(token, joinError(memberID, code))
}

func joinError(memberID string, code kafka.ErrorCode) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.MemberID, resp.ErrorCode, resp.Generation = memberID, int16(code), -1
	return resp
}

// rebalanceTimeoutMs is the request's time-out; version 0 had none of its own.
func rebalanceTimeoutMs(req *kmsg.JoinGroupRequest) int32 {
	if req.Version == 0 {
		return req.SessionTimeoutMillis
	}
	return max(req.RebalanceTimeoutMillis, 0)
}

func nonEmpty(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
