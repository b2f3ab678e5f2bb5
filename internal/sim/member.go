package sim

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

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

// member is a consumer in a group. It raises the committed offsets of what it owns.
type member struct {
	w        *World
	conn     *connection
	group    string
	name     string
	instance *string // static member
	state    memberState

	memberID   string
	generation int32
	owned      []kafka.TopicPartition
	positions  map[kafka.TopicPartition]int64 // nil until the committed offsets are fetched
	waiting    bool
}

const groupTopic = "orders"

func (w *World) addMember(groupID string, static bool) {
	m := &member{w: w, group: groupID, name: fmt.Sprintf("member-%d", len(w.members)), generation: -1}
	if static {
		m.instance = &m.name
	}
	m.conn = w.connect(m.name, false, m.broken)
	w.members = append(w.members, m)
	m.plan(w.between(0, 2000))
}

func (m *member) plan(delayMs int64) {
	if m.waiting {
		return
	}
	m.waiting = true
	m.w.after(delayMs, func() {
		m.waiting = false
		if m.conn.inFlight == 0 {
			m.step()
		}
	})
}

// broken has the member go on: with a heartbeat if it was stable, else it joins again.
func (m *member) broken() { m.plan(m.w.between(20, 400)) }

func (m *member) step() {
	w := m.w
	switch {
	case m.state == memberGone:
		m.state, m.memberID, m.generation = memberJoining, "", -1
		m.join()
	case m.state == memberJoining:
		m.join()
	case m.positions == nil:
		m.fetchOffsets()
	case !w.healing && w.oneIn(60):
		m.leave()
	case !w.healing && w.oneIn(60):
		w.note("%s crashes", m.name)
		m.drop()
		m.plan(w.between(100, 9000))
	case w.oneIn(2):
		m.commit()
	default:
		m.heartbeat()
	}
}

// drop forgets the membership.
func (m *member) drop() { m.state, m.owned, m.positions = memberGone, nil, nil }

// rejoin has the member join again; where it is no longer known, as a new one.
func (m *member) rejoin(code int16, delayMs int64) {
	switch kafka.ErrorCode(code) {
	case kafka.ErrUnknownMemberID, kafka.ErrFencedInstanceID:
		m.memberID, m.generation = "", -1
	}
	m.state, m.owned, m.positions = memberJoining, nil, nil
	m.plan(delayMs)
}

// ask sends a request to the group's coordinator. step's answer goes to done, at the client;
// failures of the coordinator are retried.
func ask[R any](m *member, name string, step groupStep, leaves func(R), done func(R)) {
	var value R
	var failure error
	m.conn.send(name, func(p *process, answer func()) {
		p.groups.do(m.group, step, func(v any, err error) {
			if failure = err; err == nil {
				value = v.(R)
				if leaves != nil && p.alive() {
					leaves(value)
				}
			}
			answer()
		})
	}, func() {
		if failure != nil {
			m.plan(m.w.between(50, 500))
			return
		}
		done(value)
	})
}

func (m *member) join() {
	req := kmsg.NewPtrJoinGroupRequest()
	req.SetVersion(9)
	req.Group, req.MemberID, req.InstanceID, req.ProtocolType = m.group, m.memberID, m.instance, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 6000, 4000
	metadata := kmsg.ConsumerMemberMetadata{Topics: []string{groupTopic}}
	req.Protocols = append(req.Protocols, kmsg.JoinGroupRequestProtocol{Name: "range", Metadata: metadata.AppendTo(nil)})
	ask(m, "join", func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
		return s.JoinGroup(group.Caller{Token: token, ClientID: m.name, ClientHost: "/sim"}, req, nowMs)
	}, nil, func(r *kmsg.JoinGroupResponse) {
		w := m.w
		w.note("%s joins %s: generation %d leader %v, %v", m.name, m.group, r.Generation, r.LeaderID == r.MemberID, kafka.ErrorCode(r.ErrorCode))
		switch {
		case r.ErrorCode == 0:
			m.memberID, m.generation = r.MemberID, r.Generation
			m.sync(r)
		case kafka.ErrorCode(r.ErrorCode) == kafka.ErrMemberIDRequired:
			m.memberID = r.MemberID
			m.plan(w.between(0, 50))
		default:
			m.rejoin(r.ErrorCode, w.between(50, 500))
		}
	})
}

// assign spreads the topic's partitions over the members.
func assign(members []kmsg.JoinGroupResponseMember) []kmsg.SyncGroupRequestGroupAssignment {
	assignments := make([]kmsg.SyncGroupRequestGroupAssignment, len(members))
	for i := range members {
		a := kmsg.ConsumerMemberAssignment{}
		topic := kmsg.ConsumerMemberAssignmentTopic{Topic: groupTopic}
		for partition := i; partition < ordersPartitions; partition += len(members) {
			topic.Partitions = append(topic.Partitions, int32(partition))
		}
		a.Topics = append(a.Topics, topic)
		assignments[i] = kmsg.SyncGroupRequestGroupAssignment{MemberID: members[i].MemberID, MemberAssignment: a.AppendTo(nil)}
	}
	return assignments
}

func (m *member) sync(joined *kmsg.JoinGroupResponse) {
	w := m.w
	req := kmsg.NewPtrSyncGroupRequest()
	req.SetVersion(5)
	req.Group, req.MemberID, req.InstanceID, req.Generation = m.group, m.memberID, m.instance, m.generation
	if joined.LeaderID == joined.MemberID && !joined.SkipAssignment {
		req.GroupAssignment = assign(joined.Members)
	}
	generation := m.generation
	ask(m, "sync", func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
		return s.SyncGroup(token, req, nowMs)
	}, func(r *kmsg.SyncGroupResponse) {
		if r.ErrorCode == 0 {
			w.check(w.owners.Assigned(m.group, generation, m.name, w.decodeAssignment(r.MemberAssignment)))
		}
	}, func(r *kmsg.SyncGroupResponse) {
		w.note("%s syncs generation %d of %s: %v", m.name, generation, m.group, kafka.ErrorCode(r.ErrorCode))
		if r.ErrorCode != 0 {
			m.rejoin(r.ErrorCode, w.between(10, 300))
			return
		}
		w.stats.Rebalances++
		m.state, m.owned, m.positions = memberStable, w.decodeAssignment(r.MemberAssignment), nil
		m.plan(w.between(0, 100))
	})
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
	req.Group, req.MemberID, req.InstanceID, req.Generation = m.group, m.memberID, m.instance, m.generation
	ask(m, "heartbeat", func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
		return s.Heartbeat(token, req, nowMs)
	}, nil, func(r *kmsg.HeartbeatResponse) { m.goOn(r.ErrorCode) })
}

// goOn continues after an answer that may tell the member to join again.
func (m *member) goOn(code int16) {
	if code != 0 {
		m.w.note("%s: %v", m.name, kafka.ErrorCode(code))
		m.rejoin(code, m.w.between(0, 200))
		return
	}
	m.plan(m.w.between(100, 1200))
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
		m.w.note("%s leaves %s: %v", m.name, m.group, kafka.ErrorCode(r.ErrorCode))
		m.plan(m.w.between(100, 5000))
	})
}

func (m *member) fetchOffsets() {
	w := m.w
	if len(m.owned) == 0 {
		m.positions = map[kafka.TopicPartition]int64{}
		m.plan(w.between(0, 500))
		return
	}
	req := fetchOffsetsRequest(m.group)
	ask(m, "fetch offsets", func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
		return s.FetchOffsets(token, req, false, nowMs)
	}, func(r *kmsg.OffsetFetchResponseGroup) { w.checkFetched(m.group, r) }, func(r *kmsg.OffsetFetchResponseGroup) {
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
		m.plan(w.between(0, 200))
	})
}

func fetchOffsetsRequest(groupID string) *kmsg.OffsetFetchRequestGroup {
	req := kmsg.NewOffsetFetchRequestGroup()
	req.Group = groupID
	topic := kmsg.OffsetFetchRequestGroupTopic{Topic: groupTopic}
	for partition := range int32(ordersPartitions) {
		topic.Partitions = append(topic.Partitions, partition)
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

func (w *World) checkFetched(groupID string, r *kmsg.OffsetFetchResponseGroup) {
	if r.ErrorCode != 0 {
		return
	}
	offsets := offsetsOf(r)
	for partition := range int32(ordersPartitions) {
		tp := kafka.TopicPartition{Topic: groupTopic, Partition: partition}
		offset, answered := offsets[tp]
		if !answered {
			w.fail("an answer about the offsets of %s leaves out %s", groupID, tp)
			return
		}
		w.check(w.commits.Fetched(groupID, tp, offset))
	}
}

func (m *member) commit() {
	w := m.w
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic, topic.TopicID = groupTopic, w.admin.facts[groupTopic].id
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
	req.Group, req.MemberID, req.InstanceID, req.Generation = m.group, m.memberID, m.instance, m.generation
	req.Topics = append(req.Topics, topic)
	owned := slices.Clone(m.owned)
	ask(m, "commit", func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
		for _, tp := range owned {
			w.commits.Sent(m.group, tp, sent[tp])
		}
		return s.CommitOffsets(token, req, nowMs)
	}, func(r *kmsg.OffsetCommitResponse) {
		for _, p := range r.Topics[0].Partitions {
			if p.ErrorCode == 0 {
				tp := kafka.TopicPartition{Topic: groupTopic, Partition: p.Partition}
				w.commits.Acked(m.group, tp, sent[tp])
				w.stats.Commits++
			}
		}
	}, func(r *kmsg.OffsetCommitResponse) { m.goOn(r.Topics[0].Partitions[0].ErrorCode) })
}
