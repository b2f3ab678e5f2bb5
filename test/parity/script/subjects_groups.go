package script

import (
	"math"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// repeatTransient repeats what a coordinator cannot answer yet.
func repeatTransient[R any](code func(r R) int16) func(*Session, kmsg.Response) bool {
	return func(_ *Session, r kmsg.Response) bool { return transient(code(r.(R))) }
}

func groupSubjects() []subject {
	ownReady := func(s *Session) error { return ready(s.group())(s) }
	return []subject{
		{
			key: 10, build: func(*Session) kmsg.Request {
				r := kmsg.NewPtrFindCoordinatorRequest()
				r.CoordinatorKey, r.CoordinatorKeys = fixedGroup, []string{fixedGroup}
				return r
			},
			forms: []form{
				shape("two keys", true, 4, func(_ *Session, r *kmsg.FindCoordinatorRequest) { r.CoordinatorKeys = []string{fixedGroup, "ready-1"} }),
				shape("transaction", true, 1, func(_ *Session, r *kmsg.FindCoordinatorRequest) {
					r.CoordinatorType, r.CoordinatorKey, r.CoordinatorKeys = 1, fixedTxn, []string{fixedTxn}
				}),
				shape("share group", false, 1, func(s *Session, r *kmsg.FindCoordinatorRequest) {
					r.CoordinatorType, r.CoordinatorKey, r.CoordinatorKeys = 2, "group:x:0", []string{"group:x:0"}
				}),
			},
		},
		{
			key: 11, prepare: []func(*Session) error{ownReady, pendingMember}, forms: joinForms(), learn: learnMember,
			build:  func(s *Session) kmsg.Request { return joinRequest(s.group(), s.member) },
			values: map[string][]value{"SessionTimeoutMillis": constants(int32(-1), int32(0), int32(5999), int32(6000), int32(1_800_000), int32(1_800_001), int32(math.MaxInt32), int32(math.MinInt32))},
		},
		{
			key: 12, prepare: []func(*Session) error{ownReady, stable}, build: func(s *Session) kmsg.Request {
				r := kmsg.NewPtrHeartbeatRequest()
				r.Group, r.MemberID, r.Generation = s.group(), s.member, s.generation
				return r
			},
			forms: []form{shape("group without members", false, 0, func(_ *Session, r *kmsg.HeartbeatRequest) { r.Group = fixedGroup })},
		},
		{
			key: 13, prepare: []func(*Session) error{ownReady, stable}, build: func(s *Session) kmsg.Request {
				r := kmsg.NewPtrLeaveGroupRequest()
				r.Group, r.MemberID, r.Members = s.group(), s.member, []kmsg.LeaveGroupRequestMember{{MemberID: s.member}}
				return r
			},
			forms: []form{
				shape("with a reason", true, 5, func(_ *Session, r *kmsg.LeaveGroupRequest) { r.Members[0].Reason = ptr("done") }),
				shape("long reason", false, 5, func(_ *Session, r *kmsg.LeaveGroupRequest) { r.Members[0].Reason = ptr(strings.Repeat("r", 300)) }),
				shape("one known, one unknown", false, 3, func(s *Session, r *kmsg.LeaveGroupRequest) {
					r.Members = append(r.Members, kmsg.LeaveGroupRequestMember{MemberID: "nobody"})
				}),
				shape("group without members", false, 0, func(_ *Session, r *kmsg.LeaveGroupRequest) { r.Group = fixedGroup }),
			},
		},
		{
			key: 14, prepare: []func(*Session) error{ownReady, joined}, build: func(s *Session) kmsg.Request { return syncRequest(s) },
			forms: []form{
				shape("without a protocol", true, 0, func(_ *Session, r *kmsg.SyncGroupRequest) { r.ProtocolType, r.Protocol = nil, nil }),
				shape("assignment for a stranger", false, 0, func(_ *Session, r *kmsg.SyncGroupRequest) { r.GroupAssignment[0].MemberID = "stranger" }),
				talk("twice", true, 0, send(func(s *Session) kmsg.Request { return syncRequest(s) }), send(func(s *Session) kmsg.Request { return syncRequest(s) })),
			},
		},
		{
			key: 15, sorted: true, prepare: []func(*Session) error{ownReady, stable}, build: func(s *Session) kmsg.Request {
				r := kmsg.NewPtrDescribeGroupsRequest()
				r.Groups = []string{s.group()}
				return r
			},
			forms: []form{
				shape("without members", true, 0, func(_ *Session, r *kmsg.DescribeGroupsRequest) { r.Groups = []string{fixedGroup} }),
				shape("two groups", true, 0, func(_ *Session, r *kmsg.DescribeGroupsRequest) { r.Groups = append(r.Groups, fixedGroup) }),
			},
		},
		{
			key: 16, mineOnly: true, prepare: []func(*Session) error{ownReady, committed}, build: func(*Session) kmsg.Request {
				r := kmsg.NewPtrListGroupsRequest()
				r.StatesFilter, r.TypesFilter = []string{"Empty"}, []string{"classic"}
				return r
			},
			forms: []form{
				shape("all", true, 0, func(_ *Session, r *kmsg.ListGroupsRequest) { r.StatesFilter, r.TypesFilter = nil, nil }),
				shape("state in capitals", true, 4, func(_ *Session, r *kmsg.ListGroupsRequest) { r.StatesFilter = []string{"EMPTY"} }),
				shape("type in capitals", true, 5, func(_ *Session, r *kmsg.ListGroupsRequest) { r.TypesFilter = []string{"CLASSIC"} }),
				shape("another state", true, 4, func(_ *Session, r *kmsg.ListGroupsRequest) { r.StatesFilter = []string{"Stable", "Dead"} }),
				shape("another type", true, 5, func(_ *Session, r *kmsg.ListGroupsRequest) { r.TypesFilter = []string{"consumer"} }),
			},
		},
		{
			key: 42, prepare: []func(*Session) error{ownReady, committed}, build: func(s *Session) kmsg.Request {
				r := kmsg.NewPtrDeleteGroupsRequest()
				r.Groups = []string{s.group()}
				return r
			},
			forms: []form{talk("with a member", false, 0, hush(stable), send(func(s *Session) kmsg.Request {
				r := kmsg.NewPtrDeleteGroupsRequest()
				r.Groups = []string{s.group()}
				return r
			}))},
		},
	}
}

func learnMember(s *Session, r kmsg.Response) {
	answer := r.(*kmsg.JoinGroupResponse)
	if answer.MemberID != "" && answer.MemberID != "nobody" && len(answer.MemberID) > 36 {
		s.labels[answer.MemberID] = "<member>"
	}
}

// pendingMember gets the member id with which a dynamic member joins; before version 4 it joins without one.
func pendingMember(s *Session) error {
	if s.version < 4 {
		return nil
	}
	response, err := s.fetch(joinRequest(s.group(), ""), 5)
	if err != nil {
		return err
	}
	s.member = response.(*kmsg.JoinGroupResponse).MemberID
	s.labels[s.member] = "<member>"
	return nil
}

// leavePending gives the member id of pendingMember back, for which a rebalance would wait.
func leavePending(s *Session) error {
	r := kmsg.NewPtrLeaveGroupRequest()
	r.Group, r.Members = s.group(), []kmsg.LeaveGroupRequestMember{{MemberID: s.member}}
	_, err := s.fetch(r, 4)
	return err
}

func joinForms() []form {
	again := func(change func(s *Session, r *kmsg.JoinGroupRequest)) func(*Session) error {
		return send(func(s *Session) kmsg.Request {
			r := joinRequest(s.group(), s.member)
			change(s, r)
			return r
		})
	}
	same := func(*Session, *kmsg.JoinGroupRequest) {}
	two := func(s *Session, r *kmsg.JoinGroupRequest) {
		r.Protocols = append(r.Protocols, kmsg.JoinGroupRequestProtocol{Name: "roundrobin", Metadata: r.Protocols[0].Metadata})
	}
	static := func(s *Session, r *kmsg.JoinGroupRequest) { r.InstanceID, r.MemberID = ptr("instance"), "" }
	return []form{
		talk("two protocols", true, 0, again(two)),
		talk("first without, then with a member id", true, 4, again(func(_ *Session, r *kmsg.JoinGroupRequest) { r.MemberID = "" }), again(same)),
		talk("again", true, 0, hush(stable), again(same)),
		talk("again with other protocols", true, 0, hush(stable), again(two)),
		talk("again with another type", false, 0, hush(stable), again(func(_ *Session, r *kmsg.JoinGroupRequest) { r.ProtocolType = "connect" })),
		talk("again with no protocol of the group", false, 0, hush(stable), again(func(s *Session, r *kmsg.JoinGroupRequest) { r.Protocols[0].Name = "sticky" })),
		talk("another member with another type", false, 0, hush(stable), again(func(_ *Session, r *kmsg.JoinGroupRequest) { r.MemberID, r.ProtocolType = "", "connect" })),
		talk("static", true, 5, hush(leavePending), again(static), again(static)),
		talk("static with another's member id", false, 5, hush(leavePending), again(static), again(func(_ *Session, r *kmsg.JoinGroupRequest) { r.InstanceID, r.MemberID = ptr("instance"), "nobody" })),
		talk("static with an unknown member id", false, 5, again(func(_ *Session, r *kmsg.JoinGroupRequest) { r.InstanceID, r.MemberID = ptr("instance"), "nobody" })),
		talk("with a reason", true, 8, again(func(_ *Session, r *kmsg.JoinGroupRequest) { r.Reason = ptr("because") })),
		talk("with a long reason", false, 8, again(func(_ *Session, r *kmsg.JoinGroupRequest) { r.Reason = ptr(strings.Repeat("r", 300)) })),
		talk("group with offsets only", true, 0, hush(committed), again(same)),
	}
}
