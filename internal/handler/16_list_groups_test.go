package handler

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/security"
)

func TestListGroups(t *testing.T) {
	t.Parallel()
	f := newGroupFixture(t).withOffsetsTopic()
	joinedMember(f, "stable")
	commit := &OffsetCommit{Groups: f.groups, Authorizer: f, Metadata: f.metadata}
	handleGroup[*kmsg.OffsetCommitResponse](f, commit, 9, commitRequest("simple", commitTopic("t1", t1ID, 1, 0)))
	h := &ListGroups{Groups: f.groups, Authorizer: f}
	list := func(version int16, states, types []string) string {
		req := kmsg.NewPtrListGroupsRequest()
		req.StatesFilter, req.TypesFilter = states, types
		var names []string
		for _, g := range handleGroup[*kmsg.ListGroupsResponse](f, h, version, req).Groups {
			names = append(names, g.Group+":"+g.GroupState+":"+g.GroupType)
		}
		return strings.Join(names, " ")
	}
	for version := int16(0); version <= 5; version++ {
		want := "simple:: stable::"
		if version == 4 {
			want = "simple:Empty: stable:Stable:"
		} else if version == 5 {
			want = "simple:Empty:classic stable:Stable:classic"
		}
		if got := list(version, nil, nil); got != want {
			t.Errorf("version %d: %s, want %s", version, got, want)
		}
	}
	if got := list(5, []string{"stable"}, []string{"Classic"}); got != "stable:Stable:classic" {
		t.Errorf("filtered: %s", got)
	}
	if got := list(5, nil, []string{"share"}); got != "" {
		t.Errorf("share groups: %s", got)
	}
	f.denied = []security.Resource{security.Cluster, security.Group("stable")}
	if got := list(3, nil, nil); got != "simple::" {
		t.Errorf("those that the client may see: %s", got)
	}
}
