package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/shard"
)

// Heartbeat keeps a member's session alive and tells it to rejoin while a rebalance is prepared.
// The response is a *kmsg.HeartbeatResponse.
func (s *Shard) Heartbeat(token shard.Token, req *kmsg.HeartbeatRequest, nowMs int64) shard.Effects {
	s.begin(nowMs)
	resp := kmsg.NewPtrHeartbeatResponse()
	resp.ErrorCode = int16(s.heartbeat(req))
	s.respond(token, resp)
	return s.end()
}

func (s *Shard) heartbeat(req *kmsg.HeartbeatRequest) kafka.ErrorCode {
	g := s.group(req.Group)
	if g == nil {
		return kafka.ErrUnknownMemberID
	}
	if code := g.validateMember(req.MemberID, req.InstanceID); code != kafka.ErrNone {
		return code
	}
	if req.Generation != g.generation {
		return kafka.ErrIllegalGeneration
	}
	m := g.membersByID[req.MemberID]
	s.scheduleHeartbeat(m, int64(m.sessionTimeoutMs))
	if g.state == statePreparingRebalance {
		return kafka.ErrRebalanceInProgress
	}
	return kafka.ErrNone
}

// LeaveGroup removes members: the caller itself, or, by instance id, static members on behalf of
// an administrator. Requests before version 3, which name one member, are given with Members set
// all the same. The response is a *kmsg.LeaveGroupResponse with one entry per member.
func (s *Shard) LeaveGroup(token shard.Token, req *kmsg.LeaveGroupRequest, nowMs int64) shard.Effects {
	s.begin(nowMs)
	resp := kmsg.NewPtrLeaveGroupResponse()
	g := s.group(req.Group)
	left := false
	for i := range req.Members {
		identity := &req.Members[i]
		code := kafka.ErrUnknownMemberID
		if g != nil {
			code = s.leave(g, identity)
		}
		left = left || code == kafka.ErrNone
		resp.Members = append(resp.Members, kmsg.LeaveGroupResponseMember{
			MemberID: identity.MemberID, InstanceID: identity.InstanceID, ErrorCode: int16(code),
		})
	}
	s.respond(token, resp)
	if !left {
		return s.end()
	}
	if g.state == statePreparingRebalance {
		s.maybeCompleteJoin(g)
	} else {
		s.afterDeparture(g)
	}
	return s.end()
}

func (s *Shard) leave(g *classicGroup, identity *kmsg.LeaveGroupRequestMember) kafka.ErrorCode {
	if identity.MemberID == "" {
		if identity.InstanceID == nil || g.staticMembers[*identity.InstanceID] == nil {
			return kafka.ErrUnknownMemberID
		}
		s.dropMember(g, g.staticMembers[*identity.InstanceID])
		return kafka.ErrNone
	}
	if g.pendingMembers[identity.MemberID] != nil {
		s.dropPending(g, identity.MemberID)
		return kafka.ErrNone
	}
	if code := g.validateMember(identity.MemberID, identity.InstanceID); code != kafka.ErrNone {
		return code
	}
	s.dropMember(g, g.membersByID[identity.MemberID])
	return kafka.ErrNone
}
