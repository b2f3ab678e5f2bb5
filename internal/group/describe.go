package group

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/shard"
)

// groupTypeName is how ListGroups calls the groups of this package.
const groupTypeName = "classic"

// firstVersionDescribingMissingGroups is the DescribeGroups version from which a group that does
// not exist is an error and not just a dead group.
const firstVersionDescribingMissingGroups = 6

// DescribeGroups describes groups. The response is a []kmsg.DescribeGroupsResponseGroup in the
// order of ids.
func (s *Shard) DescribeGroups(token shard.Token, ids []string, version int16, nowMs int64) shard.Effects {
	s.begin(nowMs)
	described := make([]kmsg.DescribeGroupsResponseGroup, len(ids))
	for i, id := range ids {
		described[i] = s.describe(id, version)
	}
	s.respond(token, described)
	return s.end()
}

func (s *Shard) describe(id string, version int16) kmsg.DescribeGroupsResponseGroup {
	d := kmsg.NewDescribeGroupsResponseGroup()
	d.Group = id
	g := s.group(id)
	if g == nil {
		d.State = deadStateName
		if version >= firstVersionDescribingMissingGroups {
			message := "Group " + id + " not found."
			d.ErrorCode, d.ErrorMessage = int16(kafka.ErrGroupIDNotFound), &message
		}
		return d
	}
	d.State, d.ProtocolType = g.state.String(), g.protocolType
	if g.state == stateStable {
		d.Protocol = g.protocol
	}
	for _, m := range g.members {
		dm := kmsg.DescribeGroupsResponseGroupMember{
			MemberID: m.id, InstanceID: m.instanceID, ClientID: m.clientID, ClientHost: m.clientHost, MemberAssignment: m.assignment,
		}
		if g.state == stateStable {
			dm.ProtocolMetadata = m.metadataFor(g.protocol)
		}
		d.Members = append(d.Members, dm)
	}
	return d
}

// ListGroups lists the groups in any of the states and of any of the types; an empty filter lets
// everything through. The response is a []kmsg.ListGroupsResponseGroup, sorted by group id.
func (s *Shard) ListGroups(token shard.Token, states, types []string, nowMs int64) shard.Effects {
	s.begin(nowMs)
	var listed []kmsg.ListGroupsResponseGroup
	for _, g := range s.sortedGroups() {
		if matchesFilter(states, g.state.String()) && matchesFilter(types, groupTypeName) {
			listed = append(listed, kmsg.ListGroupsResponseGroup{
				Group: g.id, ProtocolType: g.protocolType, GroupState: g.state.String(), GroupType: groupTypeName,
			})
		}
	}
	s.respond(token, listed)
	return s.end()
}

func matchesFilter(filter []string, value string) bool {
	return len(filter) == 0 || slices.ContainsFunc(filter, func(f string) bool { return strings.EqualFold(strings.TrimSpace(f), value) })
}

// DeleteGroups deletes empty groups with their offsets. The response is a
// []kmsg.DeleteGroupsResponseGroup in the order of ids.
func (s *Shard) DeleteGroups(token shard.Token, ids []string, nowMs int64) shard.Effects {
	s.begin(nowMs)
	deleted := make([]kmsg.DeleteGroupsResponseGroup, len(ids))
	for i, id := range ids {
		deleted[i] = kmsg.DeleteGroupsResponseGroup{Group: id, ErrorCode: int16(s.deleteGroup(id))}
	}
	s.respond(token, deleted)
	return s.end()
}

func (s *Shard) deleteGroup(id string) kafka.ErrorCode {
	g := s.group(id)
	if g == nil {
		return kafka.ErrGroupIDNotFound
	}
	if g.state != stateEmpty {
		return kafka.ErrNonEmptyGroup
	}
	for _, topic := range sortedKeys(g.offsets) {
		for _, partition := range sortedKeys(g.offsets[topic]) {
			s.deleteOffset(offsetKey{group: id, topic: topic, partition: partition})
		}
	}
	s.deleteFromTransactions(func(k offsetKey, _ committedOffset) bool { return k.group == id })
	s.appendRecord(groupTombstone(id))
	s.forgetGroup(g)
	return kafka.ErrNone
}
