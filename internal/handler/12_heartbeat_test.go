package handler

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
)

func TestHeartbeat(t *testing.T) {
	t.Parallel()
	f := newGroupFixture(t).withOffsetsTopic()
	f.denied = []security.Resource{security.Group("theirs")}
	memberID := joinedMember(f, "g")
	h := &Heartbeat{Groups: f.groups, Authorizer: f}
	beat := func(version int16, groupID, memberID string, generation int32) int16 {
		req := kmsg.NewPtrHeartbeatRequest()
		req.Group, req.MemberID, req.Generation = groupID, memberID, generation
		return handleGroup[*kmsg.HeartbeatResponse](f, h, version, req).ErrorCode
	}
	for version := int16(0); version <= 4; version++ {
		wantCode(t, "heartbeat", beat(version, "g", memberID, 1), kafka.ErrNone)
		wantCode(t, "old generation", beat(version, "g", memberID, 0), kafka.ErrIllegalGeneration)
		wantCode(t, "unknown member", beat(version, "g", "nobody", 1), kafka.ErrUnknownMemberID)
		wantCode(t, "group of another", beat(version, "theirs", "m", 1), kafka.ErrGroupAuthorizationFailed)
	}
}
