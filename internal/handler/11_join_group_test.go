package handler

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
)

func joinRequest(groupID, memberID string) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.ProtocolType = groupID, memberID, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, 30_000
	req.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte{0, 0, 0, 0, 0, 1, 0, 2, 't', '1'}}}
	return req
}

// joinedMember joins a group that has no other member and syncs; it returns the member id.
func joinedMember(f *groupFixture, groupID string) string {
	f.t.Helper()
	joined := handleGroup[*kmsg.JoinGroupResponse](f, &JoinGroup{Groups: f.groups, Authorizer: f}, 3, joinRequest(groupID, ""))
	wantCode(f.t, "join", joined.ErrorCode, kafka.ErrNone)
	synced := handleGroup[*kmsg.SyncGroupResponse](f, &SyncGroup{Groups: f.groups, Authorizer: f}, 5, syncRequest(groupID, joined.MemberID))
	wantCode(f.t, "sync", synced.ErrorCode, kafka.ErrNone)
	return joined.MemberID
}

func TestJoinGroupVersions(t *testing.T) {
	t.Parallel()
	f := newGroupFixture(t).withOffsetsTopic()
	h := &JoinGroup{Groups: f.groups, Authorizer: f}
	for version := int16(0); version <= 9; version++ {
		groupID := string(rune('a' + version))
		resp := handleGroup[*kmsg.JoinGroupResponse](f, h, version, joinRequest(groupID, ""))
		if version >= 4 {
			wantCode(t, "without id", resp.ErrorCode, kafka.ErrMemberIDRequired)
			resp = handleGroup[*kmsg.JoinGroupResponse](f, h, version, joinRequest(groupID, resp.MemberID))
		}
		wantCode(t, "join", resp.ErrorCode, kafka.ErrNone)
		if !strings.HasPrefix(resp.MemberID, "client-") || resp.LeaderID != resp.MemberID || resp.Generation != 1 || *resp.Protocol != "range" || len(resp.Members) != 1 {
			t.Errorf("version %d: %+v", version, resp)
		}
	}
}

func TestJoinGroupErrors(t *testing.T) {
	t.Parallel()
	f := newGroupFixture(t).withOffsetsTopic()
	f.denied = []security.Resource{security.Group("theirs")}
	h := &JoinGroup{Groups: f.groups, Authorizer: f}
	for version := int16(0); version <= 9; version++ {
		resp := handleGroup[*kmsg.JoinGroupResponse](f, h, version, joinRequest("theirs", "m"))
		wantCode(t, "group of another", resp.ErrorCode, kafka.ErrGroupAuthorizationFailed)
		resp = handleGroup[*kmsg.JoinGroupResponse](f, h, version, joinRequest("g", "nobody"))
		wantCode(t, "unknown member", resp.ErrorCode, kafka.ErrUnknownMemberID)
	}
}
