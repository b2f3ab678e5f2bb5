package handler

import (
	"math"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
)

func TestDescribeGroups(t *testing.T) {
	t.Parallel()
	f := newGroupFixture(t).withOffsetsTopic()
	f.denied = []security.Resource{security.Group("theirs")}
	memberID := joinedMember(f, "g")
	h := &DescribeGroups{Groups: f.groups, Authorizer: f}
	for version := int16(0); version <= 6; version++ {
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.Groups, req.IncludeAuthorizedOperations = []string{"g", "theirs", "none"}, version%2 == 1
		resp := handleGroup[*kmsg.DescribeGroupsResponse](f, h, version, req)
		groups := map[string]kmsg.DescribeGroupsResponseGroup{}
		for _, g := range resp.Groups {
			groups[g.Group] = g
		}
		wantCode(t, "group of another", groups["theirs"].ErrorCode, kafka.ErrGroupAuthorizationFailed)
		if version < 6 {
			wantCode(t, "missing", groups["none"].ErrorCode, kafka.ErrNone)
		} else {
			wantCode(t, "missing", groups["none"].ErrorCode, kafka.ErrGroupIDNotFound)
		}
		g := groups["g"]
		if groups["none"].State != "Dead" || g.State != "Stable" || g.Protocol != "range" || g.ProtocolType != "consumer" ||
			len(g.Members) != 1 || g.Members[0].MemberID != memberID || g.Members[0].ClientID != "client" || g.Members[0].ClientHost != "/127.0.0.1" ||
			string(g.Members[0].MemberAssignment) != "all" || len(g.Members[0].ProtocolMetadata) == 0 {
			t.Errorf("version %d: %+v", version, resp.Groups)
		}
		want := int32(math.MinInt32)
		if version >= 3 && req.IncludeAuthorizedOperations {
			want = 1<<3 | 1<<6 | 1<<8 | 1<<10 | 1<<11
		}
		if g.AuthorizedOperations != want {
			t.Errorf("version %d: operations %b, want %b", version, g.AuthorizedOperations, want)
		}
	}
}
