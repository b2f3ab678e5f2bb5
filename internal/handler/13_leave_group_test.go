package handler

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
)

func TestLeaveGroup(t *testing.T) {
	t.Parallel()
	f := newGroupFixture(t).withOffsetsTopic()
	f.denied = []security.Resource{security.Group("theirs")}
	h := &LeaveGroup{Groups: f.groups, Authorizer: f}
	leave := func(version int16, groupID, memberID string) *kmsg.LeaveGroupResponse {
		req := kmsg.NewPtrLeaveGroupRequest()
		req.Group, req.MemberID, req.Members = groupID, memberID, []kmsg.LeaveGroupRequestMember{{MemberID: memberID}}
		return handleGroup[*kmsg.LeaveGroupResponse](f, h, version, req)
	}
	for version := int16(0); version <= 5; version++ {
		groupID := string(rune('a' + version))
		resp := leave(version, groupID, joinedMember(f, groupID))
		wantCode(t, "leave", resp.ErrorCode, kafka.ErrNone)
		if version >= 3 {
			wantCode(t, "leave", resp.Members[0].ErrorCode, kafka.ErrNone)
		}
		// Before version 3 the one member's error is the response's.
		resp = leave(version, groupID, "nobody")
		if version < 3 {
			wantCode(t, "unknown member", resp.ErrorCode, kafka.ErrUnknownMemberID)
		} else {
			wantCode(t, "unknown member", resp.ErrorCode, kafka.ErrNone)
			wantCode(t, "unknown member", resp.Members[0].ErrorCode, kafka.ErrUnknownMemberID)
		}
		wantCode(t, "group of another", leave(version, "theirs", "m").ErrorCode, kafka.ErrGroupAuthorizationFailed)
	}
}
