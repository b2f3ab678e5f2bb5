package handler

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
)

// syncRequest is the leader's SyncGroup of a group's first generation, which it has for itself.
func syncRequest(groupID, memberID string) *kmsg.SyncGroupRequest {
	req := kmsg.NewPtrSyncGroupRequest()
	protocolType, protocol := "consumer", "range"
	req.Group, req.MemberID, req.Generation, req.ProtocolType, req.Protocol = groupID, memberID, 1, &protocolType, &protocol
	req.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: memberID, MemberAssignment: []byte("all")}}
	return req
}

func TestSyncGroup(t *testing.T) {
	t.Parallel()
	f := newGroupFixture(t).withOffsetsTopic()
	f.denied = []security.Resource{security.Group("theirs")}
	h := &SyncGroup{Groups: f.groups, Authorizer: f}
	for version := int16(0); version <= 5; version++ {
		groupID := string(rune('a' + version))
		joined := handleGroup[*kmsg.JoinGroupResponse](f, &JoinGroup{Groups: f.groups, Authorizer: f}, 3, joinRequest(groupID, ""))
		resp := handleGroup[*kmsg.SyncGroupResponse](f, h, version, syncRequest(groupID, joined.MemberID))
		wantCode(t, "sync", resp.ErrorCode, kafka.ErrNone)
		if string(resp.MemberAssignment) != "all" || version >= 5 && *resp.Protocol != "range" {
			t.Errorf("version %d: %+v", version, resp)
		}
		resp = handleGroup[*kmsg.SyncGroupResponse](f, h, version, syncRequest("theirs", "m"))
		wantCode(t, "group of another", resp.ErrorCode, kafka.ErrGroupAuthorizationFailed)
		resp = handleGroup[*kmsg.SyncGroupResponse](f, h, version, syncRequest(groupID, "nobody"))
		wantCode(t, "unknown member", resp.ErrorCode, kafka.ErrUnknownMemberID)
	}
	without := syncRequest("f", "m")
	without.Protocol = nil
	resp := handleGroup[*kmsg.SyncGroupResponse](f, h, 5, without)
	wantCode(t, "without protocol", resp.ErrorCode, kafka.ErrInconsistentGroupProtocol)
}
