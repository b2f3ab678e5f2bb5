package sim

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

// GroupTopic is what the members share out; nobody has to write it.
const GroupTopic = "orders"

// MembersOptions are what groups need of their world.
type MembersOptions struct {
	Loop    Loop
	NewLine func(name string) Line
	// TopicID is GroupTopic's.
	TopicID    func() kafka.UUID
	Partitions int32 // of it
	Owners     *OwnershipHistory
	Commits    *CommitHistory
}

// Members is the workload of consumer groups.
type Members struct {
	MembersOptions
	all        []*member
	Rebalances int
	Committed  int // offsets
}

// NewMembers returns the workload before its start.
func NewMembers(o MembersOptions) *Members { return &Members{MembersOptions: o} }

// member is a consumer in a group. It raises the committed offsets of what it owns.
type member struct {
	*Members
	line     Line
	group    string
	name     string
	instance *string // static member
	state    memberState

	memberID   string
	generation int32
	owned      []kafka.TopicPartition
	positions  map[kafka.TopicPartition]int64 // nil until the committed offsets are fetched
}

// Start starts the three members of a group, of which one is static.
func (ms *Members) Start(groupID string) {
	for i := range 3 {
		name := fmt.Sprintf("member-%d", len(ms.all))
		m := &member{Members: ms, line: ms.NewLine(name), group: groupID, name: name, generation: -1}
		if i == 0 {
			m.instance = &m.name
		}
		ms.all = append(ms.all, m)
		m.plan(0, 500)
	}
}

// Unsettled tells why a group is not stable, "" if it is.
func (ms *Members) Unsettled(groupID string) string {
	generation, owners := int32(-1), map[kafka.TopicPartition]int{}
	for _, m := range ms.all {
		if m.group != groupID {
			continue
		}
		if m.state != memberStable || m.positions == nil || generation >= 0 && m.generation != generation {
			return m.name + " has not joined the others in " + groupID
		}
		generation = m.generation
		for _, tp := range m.owned {
			owners[tp]++
		}
	}
	for _, tp := range ms.shared() {
		if owners[tp] != 1 {
			return fmt.Sprintf("%s has %d owners in %s", tp, owners[tp], groupID)
		}
	}
	return ""
}

// shared are the partitions that a group shares out.
func (ms *Members) shared() (all []kafka.TopicPartition) {
	for partition := range ms.Partitions {
		all = append(all, kafka.TopicPartition{Topic: GroupTopic, Partition: partition})
	}
	return all
}

func (m *member) plan(lowMs, highMs int64) { m.Loop.After(m.Loop.Between(lowMs, highMs), m.step) }

func (m *member) coordinator() kafka.TopicPartition {
	return coordinatorPartition(kafka.ConsumerOffsetsTopic, m.group)
}

func (m *member) step() {
	if !m.line.Reaches(m.coordinator(), func() { m.plan(10, 100) }) {
		return
	}
	switch {
	case m.state == memberGone:
		m.state, m.memberID, m.generation = memberJoining, "", -1
		m.join()
	case m.state == memberJoining:
		m.join()
	case m.positions == nil:
		m.fetchOffsets()
	case !m.Loop.IsHealing() && m.Loop.OneIn(40):
		m.leave()
	case !m.Loop.IsHealing() && m.Loop.OneIn(40):
		m.Loop.Note("%s crashes", m.name)
		m.drop()
		m.plan(100, 4000)
	case m.Loop.OneIn(2):
		m.commit()
	default:
		m.heartbeat()
	}
}

// drop forgets the membership.
func (m *member) drop() { m.state, m.owned, m.positions = memberGone, nil, nil }

// rejoin has the member join again; where it is no longer known, as a new one.
func (m *member) rejoin(code int16, lowMs, highMs int64) {
	switch kafka.ErrorCode(code) {
	case kafka.ErrUnknownMemberID, kafka.ErrFencedInstanceID:
		m.memberID, m.generation = "", -1
	}
	m.state, m.owned, m.positions = memberJoining, nil, nil
	m.plan(lowMs, highMs)
}

// ask sends a request to the group's coordinator. leaves gets the answer where it leaves, done at the client; failures of
// the coordinator are tried again.
func ask[R any](m *member, name string, step coordinator.Step[*group.Shard], leaves, done func(R)) {
	m.line.Ask(m.coordinator(), name, func(at *Coordinators, answer func(any)) {
		at.Groups.do(m.group, step, func(v any, err error) {
			if err != nil {
				answer(kafka.CodeOf(err))
				return
			}
			if leaves != nil && at.IsAlive() {
				leaves(v.(R))
			}
			answer(v)
		})
	}, func(answer any) { done(answer.(R)) }, func() { m.plan(10, 200) })
}

func (m *member) join() {
	req := kmsg.NewPtrJoinGroupRequest()
	req.SetVersion(9)
	req.Group, req.MemberID, req.InstanceID, req.ProtocolType = m.group, m.memberID, m.instance, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 6000, 1000
	metadata := kmsg.ConsumerMemberMetadata{Topics: []string{GroupTopic}}
	req.Protocols = append(req.Protocols, kmsg.JoinGroupRequestProtocol{Name: "range", Metadata: metadata.AppendTo(nil)})
	ask(m, "join", func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
		return s.JoinGroup(group.Caller{Token: token, ClientID: m.name, ClientHost: "/sim"}, req, nowMs)
	}, nil, func(r *kmsg.JoinGroupResponse) {
		m.Loop.Note("%s joins %s: generation %d leader %v, %v", m.name, m.group, r.Generation, r.LeaderID == r.MemberID, kafka.ErrorCode(r.ErrorCode))
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

// assign spreads the topic's partitions over the members.
func (ms *Members) assign(members []kmsg.JoinGroupResponseMember) []kmsg.SyncGroupRequestGroupAssignment {
	assignments := make([]kmsg.SyncGroupRequestGroupAssignment, len(members))
	for i := range members {
		a := kmsg.ConsumerMemberAssignment{}
		topic := kmsg.ConsumerMemberAssignmentTopic{Topic: GroupTopic}
		for partition := i; partition < int(ms.Partitions); partition += len(members) {
			topic.Partitions = append(topic.Partitions, int32(partition))
		}
		a.Topics = append(a.Topics, topic)
		assignments[i] = kmsg.SyncGroupRequestGroupAssignment{MemberID: members[i].MemberID, MemberAssignment: a.AppendTo(nil)}
	}
	return assignments
}

func (m *member) sync(joined *kmsg.JoinGroupResponse) {
	req := kmsg.NewPtrSyncGroupRequest()
	req.SetVersion(5)
	req.Group, req.MemberID, req.InstanceID, req.Generation = m.group, m.memberID, m.instance, m.generation
	if joined.LeaderID == joined.MemberID && !joined.SkipAssignment {
		req.GroupAssignment = m.assign(joined.Members)
	}
	generation := m.generation
	ask(m, "sync", func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
		return s.SyncGroup(token, req, nowMs)
	}, func(r *kmsg.SyncGroupResponse) {
		if r.ErrorCode == 0 {
			m.Loop.Check(m.Owners.Assigned(m.group, generation, m.name, m.decodeAssignment(r.MemberAssignment)))
		}
	}, func(r *kmsg.SyncGroupResponse) {
		m.Loop.Note("%s syncs generation %d of %s: %v", m.name, generation, m.group, kafka.ErrorCode(r.ErrorCode))
		if r.ErrorCode != 0 {
			m.rejoin(r.ErrorCode, 10, 200)
			return
		}
		m.Rebalances++
		m.state, m.owned, m.positions = memberStable, m.decodeAssignment(r.MemberAssignment), nil
		m.plan(0, 100)
	})
}

func (ms *Members) decodeAssignment(data []byte) (owned []kafka.TopicPartition) {
	if len(data) == 0 {
		return nil
	}
	var a kmsg.ConsumerMemberAssignment
	if err := a.ReadFrom(data); err != nil {
		ms.Loop.Fail("an assignment cannot be decoded: %w", err)
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
	req.Group, req.MemberID, req.InstanceID, req.Generation = m.group, m.memberID, m.instance, m.generation
	ask(m, "heartbeat", func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
		return s.Heartbeat(token, req, nowMs)
	}, nil, func(r *kmsg.HeartbeatResponse) { m.goOn(r.ErrorCode) })
}

// goOn continues after an answer that may tell the member to join again.
func (m *member) goOn(code int16) {
	if code != 0 {
		m.Loop.Note("%s: %v", m.name, kafka.ErrorCode(code))
		m.rejoin(code, 0, 100)
		return
	}
	m.plan(50, 500)
}

func (m *member) leave() {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.SetVersion(5)
	req.Group = m.group
	req.Members = append(req.Members, kmsg.LeaveGroupRequestMember{MemberID: m.memberID, InstanceID: m.instance})
	m.drop()
	ask(m, "leave", func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
		return s.LeaveGroup(token, req, nowMs)
	}, nil, func(r *kmsg.LeaveGroupResponse) {
		m.Loop.Note("%s leaves %s: %v", m.name, m.group, kafka.ErrorCode(r.ErrorCode))
		m.plan(100, 2000)
	})
}

func (m *member) fetchOffsets() {
	if len(m.owned) == 0 {
		m.positions = map[kafka.TopicPartition]int64{}
		m.plan(0, 200)
		return
	}
	req := m.offsetsRequest(m.group)
	ask(m, "fetch offsets", func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
		return s.FetchOffsets(token, req, false, nowMs)
	}, func(r *kmsg.OffsetFetchResponseGroup) { m.checkFetched(m.group, r) }, func(r *kmsg.OffsetFetchResponseGroup) {
		if r.ErrorCode != 0 {
			m.goOn(r.ErrorCode)
			return
		}
		m.positions = map[kafka.TopicPartition]int64{}
		for tp, offset := range offsetsOf(r) {
			if slices.Contains(m.owned, tp) {
				m.positions[tp] = offset
			}
		}
		m.plan(0, 100)
	})
}

// offsetsRequest asks for all offsets of a group.
func (ms *Members) offsetsRequest(groupID string) *kmsg.OffsetFetchRequestGroup {
	req := kmsg.NewOffsetFetchRequestGroup()
	req.Group = groupID
	topic := kmsg.OffsetFetchRequestGroupTopic{Topic: GroupTopic}
	for _, tp := range ms.shared() {
		topic.Partitions = append(topic.Partitions, tp.Partition)
	}
	req.Topics = append(req.Topics, topic)
	return &req
}

func offsetsOf(r *kmsg.OffsetFetchResponseGroup) map[kafka.TopicPartition]int64 {
	offsets := map[kafka.TopicPartition]int64{}
	for _, topic := range r.Topics {
		for _, p := range topic.Partitions {
			offsets[kafka.TopicPartition{Topic: topic.Topic, Partition: p.Partition}] = p.Offset
		}
	}
	return offsets
}

func (ms *Members) checkFetched(groupID string, r *kmsg.OffsetFetchResponseGroup) {
	if r.ErrorCode != 0 {
		return
	}
	offsets := offsetsOf(r)
	for _, tp := range ms.shared() {
		offset, answered := offsets[tp]
		if !answered {
			ms.Loop.Fail("an answer about the offsets of %s leaves out %s", groupID, tp)
			return
		}
		ms.Loop.Check(ms.Commits.Fetched(groupID, tp, offset))
	}
}

func (m *member) commit() {
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic, topic.TopicID = GroupTopic, m.TopicID()
	sent := map[kafka.TopicPartition]int64{}
	for _, tp := range m.owned {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset = tp.Partition, max(0, m.positions[tp])+m.Loop.Between(1, 9)
		m.positions[tp], sent[tp] = p.Offset, p.Offset
		topic.Partitions = append(topic.Partitions, p)
	}
	if len(sent) == 0 {
		m.heartbeat()
		return
	}
	req := kmsg.NewPtrOffsetCommitRequest()
	req.SetVersion(9)
	req.Group, req.MemberID, req.InstanceID, req.Generation = m.group, m.memberID, m.instance, m.generation
	req.Topics = append(req.Topics, topic)
	owned := slices.Clone(m.owned)
	ask(m, "commit", func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
		for _, tp := range owned {
			m.Commits.Sent(m.group, tp, sent[tp])
		}
		return s.CommitOffsets(token, req, nowMs)
	}, func(r *kmsg.OffsetCommitResponse) {
		for _, p := range r.Topics[0].Partitions {
			if p.ErrorCode == 0 {
				tp := kafka.TopicPartition{Topic: GroupTopic, Partition: p.Partition}
				m.Commits.Acked(m.group, tp, sent[tp])
				m.Committed++
			}
		}
	}, func(r *kmsg.OffsetCommitResponse) { m.goOn(r.Topics[0].Partitions[0].ErrorCode) })
}
