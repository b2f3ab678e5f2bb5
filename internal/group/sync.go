package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/shard"
)

// SyncGroup gives a member its assignment; the leader's brings the assignments of all. The
// response is a *kmsg.SyncGroupResponse; a follower's waits for the leader.
func (s *Shard) SyncGroup(token shard.Token, req *kmsg.SyncGroupRequest, nowMs int64) shard.Effects {
	s.begin(nowMs)
	g := s.group(req.Group)
	if g == nil || g.state == stateEmpty {
		s.respond(token, syncError(kafka.ErrUnknownMemberID))
		return s.end()
	}
	if code := g.validateSync(req); code != kafka.ErrNone {
		s.respond(token, syncError(code))
		return s.end()
	}
	m := g.membersByID[req.MemberID]
	switch g.state {
	case statePreparingRebalance:
		s.respond(token, syncError(kafka.ErrRebalanceInProgress))
	case stateCompletingRebalance:
		s.failSync(m, kafka.ErrRebalanceInProgress) // superseded by this one
		m.syncToken = token
		s.syncReceived(g, m)
		if g.isLeader(m.id) {
			s.assign(g, req.GroupAssignment)
		}
	case stateStable:
		s.syncReceived(g, m)
		s.respond(token, g.syncResponse(m))
	}
	return s.end()
}

// assign stores the leader's assignments, persists the generation and answers everybody who
// waits. Members that the leader left out get an empty assignment.
func (s *Shard) assign(g *classicGroup, assignments []kmsg.SyncGroupRequestGroupAssignment) {
	byMember := make(map[string][]byte, len(assignments))
	for i := range assignments {
		byMember[assignments[i].MemberID] = assignments[i].MemberAssignment
	}
	for _, m := range g.members {
		m.assignment = append([]byte(nil), byMember[m.id]...)
	}
	record := groupMetadataRecord(g)
	if recordsSizeBytes(record) > int(s.cfg.MaxBatchSizeBytes()) {
		s.failAssignment(g)
		return
	}
	s.appendRecord(record)
	for _, m := range g.members {
		if m.awaitsSync() {
			s.answerSync(m, g.syncResponse(m))
			s.scheduleHeartbeat(m, int64(m.sessionTimeoutMs))
		}
	}
	s.transition(g, stateStable)
	s.metrics.rebalances.Inc()
}

// failAssignment refuses assignments that do not fit in one batch of the log, as Kafka does.
func (s *Shard) failAssignment(g *classicGroup) {
	for _, m := range g.members {
		m.assignment = nil
		if m.awaitsSync() {
			s.failSync(m, kafka.ErrUnknownServerError)
			s.scheduleHeartbeat(m, int64(m.sessionTimeoutMs))
		}
	}
	s.prepareRebalance(g)
}

func (g *classicGroup) validateSync(req *kmsg.SyncGroupRequest) kafka.ErrorCode {
	if code := g.validateMember(req.MemberID, req.InstanceID); code != kafka.ErrNone {
		return code
	}
	if req.Generation != g.generation {
		return kafka.ErrIllegalGeneration
	}
	if contradicts(req.ProtocolType, g.protocolType) || contradicts(req.Protocol, g.protocol) {
		return kafka.ErrInconsistentGroupProtocol
	}
	return kafka.ErrNone
}

// contradicts reports whether the client names something else than the group has; both may be
// without a value.
func contradicts(given *string, actual string) bool {
	return given != nil && actual != "" && *given != actual
}

func (g *classicGroup) syncResponse(m *member) *kmsg.SyncGroupResponse {
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.ProtocolType, resp.Protocol = nonEmpty(g.protocolType), nonEmpty(g.protocol)
	resp.MemberAssignment = m.assignment
	return resp
}

func (s *Shard) answerSync(m *member, resp *kmsg.SyncGroupResponse) {
	if !m.awaitsSync() {
		return
	}
	s.respond(m.syncToken, resp)
	m.syncToken = 0
}

func (s *Shard) failSync(m *member, code kafka.ErrorCode) { s.answerSync(m, syncError(code)) }

func syncError(code kafka.ErrorCode) *kmsg.SyncGroupResponse {
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.ErrorCode = int16(code)
	return resp
}
