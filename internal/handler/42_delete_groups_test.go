package handler

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
)

func TestDeleteGroups(t *testing.T) {
	t.Parallel()
	f := newGroupFixture(t).withOffsetsTopic()
	f.denied = []security.Resource{security.Group("theirs")}
	joinedMember(f, "busy")
	commit := &OffsetCommit{Groups: f.groups, Authorizer: f, Metadata: f.metadata}
	h := &DeleteGroups{Groups: f.groups, Authorizer: f}
	for version := int16(0); version <= 2; version++ {
		handleGroup[*kmsg.OffsetCommitResponse](f, commit, 9, commitRequest("g", commitTopic("t1", t1ID, 1, 0)))
		req := kmsg.NewPtrDeleteGroupsRequest()
		req.Groups = []string{"theirs", "g", "busy", "g", "none"}
		resp := handleGroup[*kmsg.DeleteGroupsResponse](f, h, version, req)
		got := map[string]int16{}
		for _, g := range resp.Groups {
			got[g.Group] = g.ErrorCode
		}
		if len(resp.Groups) != 4 {
			t.Errorf("%d results, want one per group", len(resp.Groups))
		}
		wantCode(t, "g", got["g"], kafka.ErrNone)
		wantCode(t, "busy", got["busy"], kafka.ErrNonEmptyGroup)
		wantCode(t, "none", got["none"], kafka.ErrGroupIDNotFound)
		wantCode(t, "theirs", got["theirs"], kafka.ErrGroupAuthorizationFailed)
	}
}
