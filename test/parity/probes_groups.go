package main

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func groupProbes() []probe {
	all := []probe{coordinatorProbe(), membershipProbe(), joinRefusals(), offsetsProbe(), administrationProbe()}
	for v := int16(2); v <= 9; v++ {
		name := fmt.Sprintf("p-commit-%d", v)
		all = append(all, probe{fmt.Sprintf("offset commit in version %d", v), []step{topic("p-committed-"+fmt.Sprint(v), 1), ready(name),
			askOf(v, commit(name, "p-committed-"+fmt.Sprint(v), 0, 5)), askOf(v, commit(name, "p-committed-"+fmt.Sprint(v), 7, 5)), askOf(v, commit(name, "not-there", 0, 5)), askOf(v, commit("", "p-committed-"+fmt.Sprint(v), 0, 5)),
			askOf(min(v-1, 7), fetchOffsets(name, "p-committed-"+fmt.Sprint(v)))}})
	}
	return all
}

func ready(group string) step {
	return func(_ *broker, c *conn) (string, error) {
		// __consumer_offsets is made on first use.
		for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); {
			response, err := c.request(findGroup(group), 3)
			if err != nil {
				return "", err
			}
			if response.(*kmsg.FindCoordinatorResponse).ErrorCode == 0 {
				heartbeat := kmsg.NewPtrHeartbeatRequest()
				heartbeat.Group = group
				answer, err := c.request(heartbeat, 4)
				if err != nil {
					return "", err
				}
				if code := answer.(*kmsg.HeartbeatResponse).ErrorCode; code != 14 && code != 15 && code != 16 {
					return "ready\n", nil
				}
			}
		}
		return "", fmt.Errorf("no coordinator for %s", group)
	}
}

func findGroup(group string) *kmsg.FindCoordinatorRequest {
	r := kmsg.NewPtrFindCoordinatorRequest()
	r.CoordinatorKey = group
	return r
}

func coordinatorProbe() probe {
	batched := func(kind int8, keys ...string) *kmsg.FindCoordinatorRequest {
		r := kmsg.NewPtrFindCoordinatorRequest()
		r.CoordinatorType, r.CoordinatorKeys = kind, keys
		return r
	}
	return probe{"find coordinator", []step{ready("p-find"), askOf(0, findGroup("p-find")), askOf(1, findGroup("p-find")), askOf(3, findGroup("p-find")), askOf(4, batched(0, "p-find", "other")), askOf(6, batched(0, "p-find")),
		askOf(4, batched(9, "p-find")), askOf(4, batched(0))}}
}

func joinRequest(group, member string, sessionMs int32, protocolType string, protocols ...string) *kmsg.JoinGroupRequest {
	r := kmsg.NewPtrJoinGroupRequest()
	r.Group, r.MemberID, r.SessionTimeoutMillis, r.RebalanceTimeoutMillis, r.ProtocolType = group, member, sessionMs, 10_000, protocolType
	for _, name := range protocols {
		r.Protocols = append(r.Protocols, kmsg.JoinGroupRequestProtocol{Name: name, Metadata: subscription("p-members")})
	}
	return r
}

// subscription is a consumer's metadata as its protocol embeds it.
func subscription(topics ...string) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Version, m.Topics = 1, topics
	return m.AppendTo(nil)
}

func joinRefusals() probe {
	return probe{"join refused", []step{ready("p-refused"),
		askOf(5, joinRequest("p-refused", "", 1, "consumer", "range")), askOf(5, joinRequest("p-refused", "", 99_999_999, "consumer", "range")), askOf(5, joinRequest("", "", 10_000, "consumer", "range")),
		askOf(5, joinRequest("p-refused", "nobody", 10_000, "consumer", "range")), askOf(5, joinRequest("p-refused", "", 10_000, "consumer")), askOf(5, joinRequest("p-refused", "", 10_000, "", "range")),
		askOf(4, joinRequest("p-refused", "", 10_000, "consumer", "range")), askOf(9, joinRequest("p-refused", "", 10_000, "consumer", "range")),
		askOf(4, heartbeatOf("p-refused", "nobody", 1)), askOf(4, heartbeatOf("", "nobody", 1)), askOf(4, syncOf("p-refused", "nobody", 1)), askOf(4, leaveOf("p-refused", "nobody")), askOf(2, leaveOf("p-refused", "nobody")), askOf(4, leaveOf("not-there", "nobody"))}}
}

func heartbeatOf(group, member string, generation int32) *kmsg.HeartbeatRequest {
	r := kmsg.NewPtrHeartbeatRequest()
	r.Group, r.MemberID, r.Generation = group, member, generation
	return r
}

func syncOf(group, member string, generation int32) *kmsg.SyncGroupRequest {
	r := kmsg.NewPtrSyncGroupRequest()
	r.Group, r.MemberID, r.Generation = group, member, generation
	return r
}

func leaveOf(group, member string) *kmsg.LeaveGroupRequest {
	r := kmsg.NewPtrLeaveGroupRequest()
	r.Group, r.MemberID = group, member
	r.Members = []kmsg.LeaveGroupRequestMember{{MemberID: member}}
	return r
}

// membershipProbe is the life of a member: join, sync, heartbeat, commit, be described, leave.
func membershipProbe() probe {
	const group = "p-members"
	member := func(b *broker) string { return b.state["member"].(string) }
	learn := func(b *broker, c *conn) (string, error) {
		response, err := c.request(joinRequest(group, "", 10_000, "consumer", "range", "roundrobin"), 5)
		if err != nil {
			return "", err
		}
		b.state["member"] = response.(*kmsg.JoinGroupResponse).MemberID
		return fmt.Sprint("code ", response.(*kmsg.JoinGroupResponse).ErrorCode, "\n"), nil
	}
	describe := func(version int16) step {
		return func(b *broker, c *conn) (string, error) {
			response, err := c.request(describeGroups(group), version)
			if err != nil {
				return "", err
			}
			for i := range response.(*kmsg.DescribeGroupsResponse).Groups {
				for j := range response.(*kmsg.DescribeGroupsResponse).Groups[i].Members {
					response.(*kmsg.DescribeGroupsResponse).Groups[i].Members[j].ClientHost = ""
				}
			}
			return normalise(response), nil
		}
	}
	return probe{"life of a member", []step{topic("p-members", 1), ready(group), learn,
		ask(5, func(b *broker) kmsg.Request {
			return joinRequest(group, member(b), 10_000, "consumer", "range", "roundrobin")
		}),
		askOf(5, joinRequest(group, "", 10_000, "connect", "range")), askOf(5, joinRequest(group, "", 10_000, "consumer", "other")),
		ask(4, func(b *broker) kmsg.Request { return heartbeatOf(group, member(b), 9) }),
		ask(3, func(b *broker) kmsg.Request { return syncOf(group, member(b), 9) }),
		ask(3, func(b *broker) kmsg.Request {
			r := syncOf(group, member(b), 1)
			r.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: member(b), MemberAssignment: []byte{0, 1, 0, 0}}}
			return r
		}),
		ask(5, func(b *broker) kmsg.Request {
			r := syncOf(group, member(b), 1)
			r.ProtocolType, r.Protocol = ptr("consumer"), ptr("range")
			return r
		}),
		ask(5, func(b *broker) kmsg.Request {
			r := syncOf(group, member(b), 1)
			r.ProtocolType, r.Protocol = ptr("consumer"), ptr("other")
			return r
		}),
		ask(4, func(b *broker) kmsg.Request { return heartbeatOf(group, member(b), 1) }),
		describe(5), describe(0), describe(6),
		ask(7, func(b *broker) kmsg.Request { return commitAs(group, member(b), 1, "p-members", 3) }),
		ask(7, func(b *broker) kmsg.Request { return commitAs(group, member(b), 0, "p-members", 3) }),
		ask(7, func(b *broker) kmsg.Request { return commitAs(group, "", -1, "p-members", 3) }),
		ask(7, func(b *broker) kmsg.Request { return commitAs(group, "nobody", 1, "p-members", 3) }),
		askOf(2, deleteGroups(group)), askOf(0, deleteOffsets(group, "p-members", 0)),
		ask(4, func(b *broker) kmsg.Request { return leaveOf(group, member(b)) }),
		describe(5), askOf(0, deleteOffsets(group, "p-members", 0)), askOf(7, fetchOffsets(group, "p-members")), askOf(2, deleteGroups(group)), askOf(2, deleteGroups(group)), askOf(2, deleteGroups("not-there")), describe(5), describe(6),
	}}
}

func commit(group, topic string, partition int32, offset int64) *kmsg.OffsetCommitRequest {
	r := commitAs(group, "", -1, topic, offset)
	r.Topics[0].Partitions[0].Partition = partition
	return r
}

func commitAs(group, member string, generation int32, topic string, offset int64) *kmsg.OffsetCommitRequest {
	r := kmsg.NewPtrOffsetCommitRequest()
	r.Group, r.MemberID, r.Generation = group, member, generation
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic = topic
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset, p.Metadata, p.LeaderEpoch = offset, ptr("note"), 0
	t.Partitions = append(t.Partitions, p)
	r.Topics = append(r.Topics, t)
	return r
}

func fetchOffsets(group string, topics ...string) *kmsg.OffsetFetchRequest {
	r := kmsg.NewPtrOffsetFetchRequest()
	r.Group = group
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group, g.MemberEpoch = group, -1
	for _, name := range topics {
		r.Topics = append(r.Topics, kmsg.OffsetFetchRequestTopic{Topic: name, Partitions: []int32{0, 1}})
		g.Topics = append(g.Topics, kmsg.OffsetFetchRequestGroupTopic{Topic: name, Partitions: []int32{0, 1}})
	}
	r.Groups = append(r.Groups, g)
	return r
}

func offsetsProbe() probe {
	long := commit("p-offsets-group", "p-group-topic", 0, 9)
	long.Topics[0].Partitions[0].Metadata = ptr(fmt.Sprintf("%05000d", 1))
	null := commit("p-offsets-group", "p-group-topic", 1, 11)
	null.Topics[0].Partitions[0].Metadata = nil
	negative := commit("p-offsets-group", "p-group-topic", 1, -1)
	all := kmsg.NewPtrOffsetFetchRequest()
	all.Group = "p-offsets-group"
	return probe{"committed offsets", []step{topic("p-group-topic", 2), ready("p-offsets-group"), askOf(8, fetchOffsets("p-offsets-group", "p-group-topic")), askOf(8, commit("p-offsets-group", "p-group-topic", 0, 7)), askOf(8, long), askOf(8, null), askOf(8, negative),
		askOf(1, fetchOffsets("p-offsets-group", "p-group-topic")), askOf(5, fetchOffsets("p-offsets-group", "p-group-topic")), askOf(7, fetchOffsets("p-offsets-group", "p-group-topic", "not-there")), askOf(8, fetchOffsets("p-offsets-group", "p-group-topic")),
		askOf(9, fetchOffsets("not-there", "p-group-topic")), askOf(5, all), askOf(8, commitAs("p-offsets-group", "ghost", 3, "p-group-topic", 1)),
		askOf(0, deleteOffsets("p-offsets-group", "p-group-topic", 0)), askOf(0, deleteOffsets("p-offsets-group", "not-there", 0)), askOf(0, deleteOffsets("not-there", "p-group-topic", 0)), askOf(8, fetchOffsets("p-offsets-group", "p-group-topic")),
		askOf(6, describeGroups("p-offsets-group")), askOf(2, deleteGroups("p-offsets-group")), askOf(8, fetchOffsets("p-offsets-group", "p-group-topic"))}}
}

func describeGroups(groups ...string) *kmsg.DescribeGroupsRequest {
	r := kmsg.NewPtrDescribeGroupsRequest()
	r.Groups = groups
	return r
}

func deleteGroups(groups ...string) *kmsg.DeleteGroupsRequest {
	r := kmsg.NewPtrDeleteGroupsRequest()
	r.Groups = groups
	return r
}

func deleteOffsets(group, topic string, partition int32) *kmsg.OffsetDeleteRequest {
	r := kmsg.NewPtrOffsetDeleteRequest()
	r.Group = group
	r.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: partition}}}}
	return r
}

func administrationProbe() probe {
	list := func(version int16, states, types []string) step {
		return func(_ *broker, c *conn) (string, error) {
			r := kmsg.NewPtrListGroupsRequest()
			r.StatesFilter, r.TypesFilter = states, types
			response, err := c.request(r, version)
			if err != nil {
				return "", err
			}
			for _, g := range response.(*kmsg.ListGroupsResponse).Groups {
				if g.Group == "p-listed" { // others depend on which probes ran
					return fmt.Sprintf("code %d: %q %q %q\n", response.(*kmsg.ListGroupsResponse).ErrorCode, g.ProtocolType, g.GroupState, g.GroupType), nil
				}
			}
			return fmt.Sprintf("code %d, group not listed\n", response.(*kmsg.ListGroupsResponse).ErrorCode), nil
		}
	}
	return probe{"listed groups", []step{topic("p-listed", 1), ready("p-listed"), askOf(8, commit("p-listed", "p-listed", 0, 1)), list(0, nil, nil), list(3, nil, nil), list(4, nil, nil), list(5, nil, nil),
		list(4, []string{"Stable"}, nil), list(4, []string{"Empty"}, nil), list(4, []string{"empty"}, nil), list(4, []string{"Nonsense"}, nil), list(5, nil, []string{"classic"}), list(5, nil, []string{"Classic"}), list(5, nil, []string{"consumer"}), list(5, nil, []string{"nonsense"})}}
}
