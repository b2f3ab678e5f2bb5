package cluster

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator"
	"github.com/moldau/moldau/internal/group"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/shard"
)

type memberState int

const (
	memberJoining memberState = iota
	memberStable
	memberGone // has left or crashed; comes back later
)

// groupTopic is what the members share out; nobody has to write it.
const (
	groupTopic = "orders"
	groupName  = "billing"
)

// member is a consumer in a group. It raises the committed offsets of what it owns.
type member struct {
	client
	instance *string // static member
	state    memberState

	memberID   string
	generation int32
	owned      []kafka.TopicPartition
	positions  map[kafka.TopicPartition]int64 // nil until the committed offsets are fetched
}

func (w *World) addMember(static bool) {
	m := &member{client: newClient(w, fmt.Sprintf("member-%d", len(w.members))), generation: -1}
	m.prompt = true
	if static {
		m.instance = &m.name
	}
	w.members = append(w.members, m)
	w.after(w.between(0, 500), m.step)
}

func (m *member) plan(low, high int64) { m.w.after(m.w.between(low, high), m.step) }

func (m *member) step() {
	w := m.w
	switch {
	case m.coordinatorOf(kafka.ConsumerOffsetsTopic, groupName) == kafka.NoLeader:
		m.refresh(func() { m.plan(10, 100) })
	case m.state == memberGone:
		m.state, m.memberID, m.generation = memberJoining, "", -1
		m.join()
	case m.state == memberJoining:
		m.join()
	case m.positions == nil:
		m.fetchOffsets()
	case !w.healing && w.oneIn(40):
		m.leave()
	case !w.healing && w.oneIn(40):
		w.note("%s crashes", m.name)
		m.drop()
		m.plan(100, 4000)
	case w.oneIn(2):
		m.commit()
	default:
		m.heartbeat()
	}
}

// drop forgets the membership.
func (m *member) drop() { m.state, m.owned, m.positions = memberGone, nil, nil }

// rejoin has the member join again; where it is no longer known, as a new one.
func (m *member) rejoin(code int16, low, high int64) {
	switch kafka.ErrorCode(code) {
	case kafka.ErrUnknownMemberID, kafka.ErrFencedInstanceID:
		m.memberID, m.generation = "", -1
	}
	m.state, m.owned, m.positions = memberJoining, nil, nil
	m.plan(low, high)
}

// request sends a request to the group's coordinator. leaves gets the answer where it leaves, done at the client;
// failures are tried again.
func request[R any](m *member, step coordinator.Step[*group.Shard], leaves, done func(R)) {
	m.ask(m.coordinatorOf(kafka.ConsumerOffsetsTopic, groupName), func(p *process, answer func(any)) {
		p.groups.do(groupName, step, func(v any, err error) {
			if err != nil {
				answer(kafka.CodeOf(err))
				return
			}
			if leaves != nil && p.alive() {
				leaves(v.(R))
			}
			answer(v)
		})
	}, func(answer any, err error) {
		if err != nil {
			m.refresh(func() { m.plan(10, 200) })
			return
		}
		done(answer.(R))
	})
}

func (m *member) join() {
	req := kmsg.NewPtrJoinGroupRequest()
	req.SetVersion(9)
	req.Group, req.MemberID, req.InstanceID, req.ProtocolType = groupName, m.memberID, m.instance, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 6000, 1000
	metadata := kmsg.ConsumerMemberMetadata{Topics: []string{groupTopic}}
	req.Protocols = append(req.Protocols, kmsg.JoinGroupRequestProtocol{Name: "range", Metadata: metadata.AppendTo(nil)})
	request(m, func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
		return s.JoinGroup(group.Caller{Token: token, ClientID: m.name, ClientHost: "/sim"}, req, nowMs)
	}, nil, func(r *kmsg.JoinGroupResponse) {
		m.w.note("%s joins: generation %d leader %v, %v", m.name, r.Generation, r.LeaderID == r.MemberID, kafka.ErrorCode(r.ErrorCode))
		switch {
		case r.ErrorCode == 0:
			m.memberID, m.generation = r.MemberID, r.Generation
			m.sync(r)
		case kafka.ErrorCode(r.ErrorCode) == kafka.ErrMemberIDRequired:
			m.memberID = r.MemberID
			m.plan(0, 30)
		default:
			m.rejoin(r.ErrorCode, 20, 200)
		}
	})
}

func (m *member) partitions() (all []kafka.TopicPartition) {
	for i := range m.image.TopicByName(groupTopic).Partitions {
		all = append(all, kafka.TopicPartition{Topic: groupTopic, Partition: int32(i)})
	}
	return all
}

func (m *member) sync(joined *kmsg.JoinGroupResponse) {
	w, generation := m.w, m.generation
	req := kmsg.NewPtrSyncGroupRequest()
	req.SetVersion(5)
	req.Group, req.MemberID, req.InstanceID, req.Generation = groupName, m.memberID, m.instance, generation
	if joined.LeaderID == joined.MemberID && !joined.SkipAssignment {
		all := m.partitions()
		for i, other := range joined.Members {
			a := kmsg.ConsumerMemberAssignment{}
			topic := kmsg.ConsumerMemberAssignmentTopic{Topic: groupTopic}
			for j := i; j < len(all); j += len(joined.Members) {
				topic.Partitions = append(topic.Partitions, all[j].Partition)
			}
			a.Topics = append(a.Topics, topic)
			req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: other.MemberID, MemberAssignment: a.AppendTo(nil)})
		}
	}
	request(m, func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
		return s.SyncGroup(token, req, nowMs)
	}, func(r *kmsg.SyncGroupResponse) {
		if r.ErrorCode == 0 {
			w.group(w.check.owners.Assigned(groupName, generation, m.name, w.decodeAssignment(r.MemberAssignment)))
		}
	}, func(r *kmsg.SyncGroupResponse) {
		w.note("%s syncs generation %d: %v", m.name, generation, kafka.ErrorCode(r.ErrorCode))
		if r.ErrorCode != 0 {
			m.rejoin(r.ErrorCode, 10, 200)
			return
		}
		w.count["rebalances"]++
		m.state, m.owned, m.positions = memberStable, w.decodeAssignment(r.MemberAssignment), nil
		m.plan(0, 100)
	})
}

// group takes what a checker of groups says, which holds within the fault budget.
func (w *World) group(err error) {
	if !w.budget.isExceeded {
		w.demand(err)
	}
}

func (w *World) decodeAssignment(data []byte) (owned []kafka.TopicPartition) {
	if len(data) == 0 {
		return nil
	}
	var a kmsg.ConsumerMemberAssignment
	if err := a.ReadFrom(data); err != nil {
		w.fail("an assignment cannot be decoded: %w", err)
	}
	for _, topic := range a.Topics {
		for _, partition := range topic.Partitions {
			owned = append(owned, kafka.TopicPartition{Topic: topic.Topic, Partition: partition})
		}
	}
	return owned
}

func (m *member) heartbeat() {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.InstanceID, req.Generation = groupName, m.memberID, m.instance, m.generation
	request(m, func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
		return s.Heartbeat(token, req, nowMs)
	}, nil, func(r *kmsg.HeartbeatResponse) { m.goOn(r.ErrorCode) })
}

// goOn continues after an answer that may tell the member to join again.
func (m *member) goOn(code int16) {
	if code != 0 {
		m.w.note("%s: %v", m.name, kafka.ErrorCode(code))
		m.rejoin(code, 0, 100)
		return
	}
	m.plan(50, 500)
}

func (m *member) leave() {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.SetVersion(5)
	req.Group = groupName
	req.Members = append(req.Members, kmsg.LeaveGroupRequestMember{MemberID: m.memberID, InstanceID: m.instance})
	m.drop()
	request(m, func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
		return s.LeaveGroup(token, req, nowMs)
	}, nil, func(r *kmsg.LeaveGroupResponse) {
		m.w.note("%s leaves: %v", m.name, kafka.ErrorCode(r.ErrorCode))
		m.plan(100, 2000)
	})
}

func (m *member) fetchOffsets() {
	w := m.w
	if len(m.owned) == 0 {
		m.positions = map[kafka.TopicPartition]int64{}
		m.plan(0, 200)
		return
	}
	req := kmsg.NewOffsetFetchRequestGroup()
	req.Group = groupName
	topic := kmsg.OffsetFetchRequestGroupTopic{Topic: groupTopic}
	for _, tp := range m.partitions() {
		topic.Partitions = append(topic.Partitions, tp.Partition)
	}
	req.Topics = append(req.Topics, topic)
	offsets := func(r *kmsg.OffsetFetchResponseGroup) map[kafka.TopicPartition]int64 {
		all := map[kafka.TopicPartition]int64{}
		for _, p := range r.Topics[0].Partitions {
			all[kafka.TopicPartition{Topic: groupTopic, Partition: p.Partition}] = p.Offset
		}
		return all
	}
	request(m, func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
		return s.FetchOffsets(token, &req, false, nowMs)
	}, func(r *kmsg.OffsetFetchResponseGroup) {
		if r.ErrorCode == 0 {
			for _, p := range r.Topics[0].Partitions {
				w.group(w.check.commits.Fetched(groupName, kafka.TopicPartition{Topic: groupTopic, Partition: p.Partition}, p.Offset))
			}
		}
	}, func(r *kmsg.OffsetFetchResponseGroup) {
		if r.ErrorCode != 0 {
			m.goOn(r.ErrorCode)
			return
		}
		m.positions = map[kafka.TopicPartition]int64{}
		for tp, offset := range offsets(r) {
			if slices.Contains(m.owned, tp) {
				m.positions[tp] = offset
			}
		}
		m.plan(0, 100)
	})
}

func (m *member) commit() {
	w := m.w
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic, topic.TopicID = groupTopic, m.image.TopicByName(groupTopic).ID
	sent := map[kafka.TopicPartition]int64{}
	for _, tp := range m.owned {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset = tp.Partition, max(0, m.positions[tp])+w.between(1, 9)
		m.positions[tp], sent[tp] = p.Offset, p.Offset
		topic.Partitions = append(topic.Partitions, p)
	}
	if len(sent) == 0 {
		m.heartbeat()
		return
	}
	req := kmsg.NewPtrOffsetCommitRequest()
	req.SetVersion(9)
	req.Group, req.MemberID, req.InstanceID, req.Generation = groupName, m.memberID, m.instance, m.generation
	req.Topics = append(req.Topics, topic)
	owned := slices.Clone(m.owned)
	request(m, func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
		for _, tp := range owned {
			w.check.commits.Sent(groupName, tp, sent[tp])
		}
		return s.CommitOffsets(token, req, nowMs)
	}, func(r *kmsg.OffsetCommitResponse) {
		for _, p := range r.Topics[0].Partitions {
			if p.ErrorCode == 0 {
				tp := kafka.TopicPartition{Topic: groupTopic, Partition: p.Partition}
				w.check.commits.Acked(groupName, tp, sent[tp])
				w.count["commits"]++
			}
		}
	}, func(r *kmsg.OffsetCommitResponse) { m.goOn(r.Topics[0].Partitions[0].ErrorCode) })
}

// unsettled tells why the group is not stable, "" if it is.
func (w *World) unsettled() string {
	generation, owners := int32(-1), map[kafka.TopicPartition]int{}
	for _, m := range w.members {
		if m.state != memberStable || m.positions == nil || generation >= 0 && m.generation != generation {
			return m.name + " has not joined the others"
		}
		generation = m.generation
		for _, tp := range m.owned {
			owners[tp]++
		}
	}
	if len(w.members) > 0 {
		for _, tp := range w.members[0].partitions() {
			if owners[tp] != 1 {
				return fmt.Sprintf("%s has %d owners", tp, owners[tp])
			}
		}
	}
	return ""
}
