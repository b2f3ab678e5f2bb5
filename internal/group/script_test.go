package group

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/shard"
)

// script drives one shard by the commands of testdata/*.txt. Requests are named by their tokens;
// the random part of a member id is shown as a number: c1#1.
type script struct {
	t       testing.TB
	shard   *Shard
	cfg     Config
	random  env.Random
	nowMs   int64
	log     []shard.Record
	aliases map[string]string // member id -> alias
	members map[string]string // alias -> member id
	out     strings.Builder
}

func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		if !strings.HasSuffix(path, ".script") {
			return
		}
		s := newScript(t)
		datadriven.RunTest(t, path, s.run)
	})
}

func newScript(t testing.TB) *script {
	s := &script{
		t: t, cfg: DefaultConfig(), random: env.NewSeededRandom(1),
		aliases: map[string]string{}, members: map[string]string{},
	}
	s.shard = NewShard(s.cfg, s.random, NewMetrics(metrics.NewRegistry()))
	return s
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	s.out.Reset()
	a := args{t: t, d: d, s: s}
	switch d.Cmd {
	case "config":
		s.configure(a)
	case "advance":
		s.advance(a.int64("ms"))
	case "reload":
		s.reload(a.optional("compare", "yes") == "yes")
	case "state":
		s.printState(a.string("group"))
	default:
		s.request(a)
	}
	if s.out.Len() == 0 {
		return "ok\n"
	}
	return s.out.String()
}

func (s *script) configure(a args) {
	if v := a.optional("max-size", ""); v != "" {
		s.cfg.MaxSize = int32(mustInt(a.t, v))
	}
	if v := a.optional("initial-delay", ""); v != "" {
		s.cfg.InitialRebalanceDelayMs = int32(mustInt(a.t, v))
	}
	if v := a.optional("max-batch", ""); v != "" {
		n := int32(mustInt(a.t, v))
		s.cfg.MaxBatchSizeBytes = func() int32 { return n }
	}
	if v := a.optional("retention", ""); v != "" {
		s.cfg.OffsetsRetentionMs = mustInt(a.t, v)
	}
	s.shard = NewShard(s.cfg, s.random, NewMetrics(metrics.NewRegistry()))
	s.show(s.shard.Activate(s.nowMs))
}

// advance moves the time on, stopping at each deadline.
func (s *script) advance(ms int64) {
	target := s.nowMs + ms
	for s.shard.NextDeadlineMs() <= target {
		s.nowMs = max(s.nowMs, s.shard.NextDeadlineMs())
		effects := s.shard.Tick(s.nowMs)
		if len(effects.Records)+len(effects.Responses) > 0 {
			fmt.Fprintf(&s.out, "at %d ms\n", s.nowMs)
		}
		s.show(effects)
	}
	s.nowMs = target
}

// reload replaces the shard by one that is built from the records of its log, as after a crash.
func (s *script) reload(compare bool) {
	rebuilt := replayAll(s.t, s.cfg, s.random, s.log)
	if before, after := durableStates(s.shard, rebuilt); compare && after != before {
		fmt.Fprintf(&s.out, "DIFFERS: before\n%safter\n%s", before, after)
	}
	s.shard = rebuilt
	s.show(s.shard.Activate(s.nowMs))
}

func replayAll(t testing.TB, cfg Config, random env.Random, log []shard.Record) *Shard {
	s := NewShard(cfg, random, NewMetrics(metrics.NewRegistry()))
	for i, r := range log {
		if err := s.Replay(shard.Position{Offset: int64(i), ProducerID: kafka.NoProducerID}, r); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
	}
	return s
}

// durableStates describes what a crash must not change: the offsets, and the groups that are not
// rebalancing in the live shard.
func durableStates(live, rebuilt *Shard) (before, after string) {
	rebalancing := map[string]bool{}
	for _, g := range live.sortedGroups() {
		rebalancing[g.id] = g.state == statePreparingRebalance || g.state == stateCompletingRebalance
	}
	return durableState(live, rebalancing), durableState(rebuilt, rebalancing)
}

func durableState(s *Shard, rebalancing map[string]bool) string {
	var b strings.Builder
	for _, g := range s.sortedGroups() {
		fmt.Fprintf(&b, "%s", g.id)
		switch {
		case rebalancing[g.id]:
		case g.state == stateEmpty:
			fmt.Fprintf(&b, " Empty type=%q generation=%d", g.protocolType, g.generation)
			if !g.isSimple() {
				fmt.Fprintf(&b, " since=%d", g.stateSinceMs)
			}
		default:
			fmt.Fprintf(&b, " %s type=%q generation=%d protocol=%q leader=%s subscribed=%v", g.state, g.protocolType, g.generation, g.protocol, g.leader, sortedKeys(g.subscribed))
			for _, m := range g.members {
				fmt.Fprintf(&b, " [%s %v %s %s %d %d %q %q]", m.id, m.instanceID != nil, m.clientID, m.clientHost, m.rebalanceTimeoutMs, m.sessionTimeoutMs, m.metadataFor(g.protocol), m.assignment)
			}
		}
		b.WriteByte('\n')
		for _, topic := range sortedKeys(g.offsets) {
			for _, p := range sortedKeys(g.offsets[topic]) {
				o := g.offsets[topic][p]
				o.recordOffset = 0
				fmt.Fprintf(&b, "  %s-%d %+v\n", topic, p, o)
			}
		}
	}
	return b.String()
}

func (s *script) request(a args) {
	token := shard.Token(a.int64("token"))
	var effects shard.Effects
	switch a.d.Cmd {
	case "join":
		req := kmsg.NewPtrJoinGroupRequest()
		req.Version = int16(mustInt(a.t, a.optional("version", "9")))
		req.Group, req.MemberID, req.InstanceID = a.string("group"), s.memberID(a.optional("member", "")), a.pointer("instance")
		req.SessionTimeoutMillis = int32(mustInt(a.t, a.optional("session", "10000")))
		req.RebalanceTimeoutMillis = int32(mustInt(a.t, a.optional("rebalance", "20000")))
		req.ProtocolType = a.optional("type", "consumer")
		for _, p := range a.list("protocols", "range:t1") {
			name, topics, _ := strings.Cut(p, ":")
			req.Protocols = append(req.Protocols, kmsg.JoinGroupRequestProtocol{Name: name, Metadata: subscription(topics)})
		}
		effects = s.shard.JoinGroup(Caller{Token: token, ClientID: a.optional("client", "c"), ClientHost: "/127.0.0.1"}, req, s.nowMs)
	case "sync":
		req := kmsg.NewPtrSyncGroupRequest()
		req.Group, req.MemberID, req.InstanceID, req.Generation = a.string("group"), s.memberID(a.string("member")), a.pointer("instance"), int32(a.int64("generation"))
		req.ProtocolType, req.Protocol = a.pointer("type"), a.pointer("protocol")
		for _, p := range a.list("assign", "") {
			member, assignment, _ := strings.Cut(p, ":")
			req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: s.memberID(member), MemberAssignment: []byte(assignment)})
		}
		effects = s.shard.SyncGroup(token, req, s.nowMs)
	case "heartbeat":
		req := kmsg.NewPtrHeartbeatRequest()
		req.Group, req.MemberID, req.InstanceID, req.Generation = a.string("group"), s.memberID(a.string("member")), a.pointer("instance"), int32(a.int64("generation"))
		effects = s.shard.Heartbeat(token, req, s.nowMs)
	case "leave":
		req := kmsg.NewPtrLeaveGroupRequest()
		req.Group = a.string("group")
		for _, p := range a.list("members", "") {
			member, instance, static := strings.Cut(p, ":")
			m := kmsg.LeaveGroupRequestMember{MemberID: s.memberID(member)}
			if static {
				m.InstanceID = &instance
			}
			req.Members = append(req.Members, m)
		}
		effects = s.shard.LeaveGroup(token, req, s.nowMs)
	default:
		effects = s.offsetRequest(a, token)
	}
	s.show(effects)
}

func (s *script) offsetRequest(a args, token shard.Token) shard.Effects {
	switch a.d.Cmd {
	case "commit":
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Version = int16(mustInt(a.t, a.optional("version", "9")))
		req.Group, req.MemberID, req.InstanceID = a.string("group"), s.memberID(a.optional("member", "")), a.pointer("instance")
		req.Generation = int32(mustInt(a.t, a.optional("generation", "-1")))
		req.RetentionTimeMillis = mustInt(a.t, a.optional("retention", "-1"))
		for _, o := range a.list("offsets", "") { // topic-partition=offset
			tp, offset, _ := strings.Cut(o, "=")
			topic, partition := parsePartition(a.t, tp)
			p := kmsg.NewOffsetCommitRequestTopicPartition()
			p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = partition, mustInt(a.t, offset), 5, a.pointer("metadata")
			req.Topics = append(req.Topics, kmsg.OffsetCommitRequestTopic{Topic: topic, TopicID: topicID(topic), Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}})
		}
		return s.shard.CommitOffsets(token, req, s.nowMs)
	case "fetch":
		req := kmsg.NewOffsetFetchRequestGroup()
		req.Group = a.string("group")
		for _, tp := range a.list("partitions", "") {
			topic, partition := parsePartition(a.t, tp)
			req.Topics = append(req.Topics, kmsg.OffsetFetchRequestGroupTopic{Topic: topic, TopicID: topicID(a.optional("topic-id-of", "")), Partitions: []int32{partition}})
		}
		return s.shard.FetchOffsets(token, &req, a.optional("stable", "no") == "yes", s.nowMs)
	case "delete-offsets":
		req := kmsg.NewPtrOffsetDeleteRequest()
		req.Group = a.string("group")
		for _, tp := range a.list("partitions", "") {
			topic, partition := parsePartition(a.t, tp)
			req.Topics = append(req.Topics, kmsg.OffsetDeleteRequestTopic{Topic: topic, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: partition}}})
		}
		return s.shard.DeleteOffsets(token, req, s.nowMs)
	case "describe":
		return s.shard.DescribeGroups(token, a.list("groups", ""), int16(mustInt(a.t, a.optional("version", "6"))), s.nowMs)
	case "list":
		return s.shard.ListGroups(token, a.list("states", ""), a.list("types", ""), s.nowMs)
	case "delete-groups":
		return s.shard.DeleteGroups(token, a.list("groups", ""), s.nowMs)
	case "delete-topics":
		var topics []DeletedTopic
		for _, name := range a.list("topics", "") {
			topics = append(topics, DeletedTopic{Name: name, ID: topicID(a.optional("topic-id-of", name))})
		}
		return s.shard.DeleteTopics(topics, s.nowMs)
	case "replay-pending": // a transactional commit, as another coordinator wrote it
		k := offsetKey{group: a.string("group")}
		k.topic, k.partition = parsePartition(a.t, a.string("partition"))
		r := offsetCommitRecord(k, committedOffset{offset: a.int64("offset"), leaderEpoch: -1, commitTimestampMs: s.nowMs, expireTimestampMs: noExpiry})
		if err := s.shard.Replay(shard.Position{Offset: a.int64("at"), ProducerID: a.int64("producer")}, r); err != nil {
			a.t.Fatal(err)
		}
	case "txn-commit": // as a client does; the runtime appends and replays
		return s.transactionalCommit(a, token)
	case "txn-end": // the marker of the transaction's coordinator
		e := s.shard.EndTransaction(token, shard.Marker{ProducerID: a.int64("producer"), Epoch: 1, Committed: a.string("result") == "commit"}, s.nowMs)
		fmt.Fprintf(&s.out, "marker producer=%d committed=%t\n", e.Marker.ProducerID, e.Marker.Committed)
		s.shard.ReplayEndTransaction(e.Marker.ProducerID, e.Marker.Committed)
	case "replay-marker":
		s.shard.ReplayEndTransaction(a.int64("producer"), a.string("result") == "commit")
	default:
		a.t.Fatalf("%s: unknown command %s", a.d.Pos, a.d.Cmd)
	}
	return shard.Effects{}
}

// topicID is the id that scripts give a topic: its name, padded; none for no name.
func topicID(name string) kafka.UUID {
	var u kafka.UUID
	copy(u[:], name)
	return u
}

// subscription is a consumer's metadata for topics joined by "+"; "!" makes metadata that is not
// a subscription.
func subscription(topics string) []byte {
	if strings.HasPrefix(topics, "!") {
		return []byte(topics)
	}
	b := []byte{0, 1}
	names := strings.Split(topics, "+")
	b = binary.BigEndian.AppendUint32(b, uint32(len(names)))
	for _, name := range names {
		b = binary.BigEndian.AppendUint16(b, uint16(len(name)))
		b = append(b, name...)
	}
	return append(b, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0)
}

func (s *script) memberID(alias string) string {
	if id, ok := s.members[alias]; ok {
		return id
	}
	return alias
}

// alias shows a member id; a new one gets the next number of its prefix.
func (s *script) alias(id string) string {
	const uuidLength = 36
	if len(id) <= uuidLength || id[len(id)-uuidLength-1] != '-' {
		return id
	}
	if a, ok := s.aliases[id]; ok {
		return a
	}
	prefix := id[:len(id)-uuidLength-1]
	for n := 1; ; n++ {
		a := prefix + "#" + strconv.Itoa(n)
		if _, taken := s.members[a]; !taken {
			s.aliases[id], s.members[a] = a, id
			return a
		}
	}
}

// args reads the arguments of a command.
type args struct {
	t testing.TB
	d *datadriven.TestData
	s *script
}

func (a args) optional(key, otherwise string) string {
	for _, arg := range a.d.CmdArgs {
		if arg.Key == key {
			return strings.Join(arg.Vals, ",")
		}
	}
	return otherwise
}

func (a args) string(key string) string {
	for _, arg := range a.d.CmdArgs {
		if arg.Key == key {
			return strings.Join(arg.Vals, ",")
		}
	}
	a.t.Fatalf("%s: %s needs %s=", a.d.Pos, a.d.Cmd, key)
	return ""
}

func (a args) pointer(key string) *string {
	for _, arg := range a.d.CmdArgs {
		if arg.Key == key {
			v := strings.Join(arg.Vals, ",")
			return &v
		}
	}
	return nil
}

func (a args) int64(key string) int64 { return mustInt(a.t, a.optional(key, "0")) }

func (a args) list(key, otherwise string) []string {
	v := a.optional(key, otherwise)
	if v == "" {
		return nil
	}
	return strings.Split(v, ",")
}

func mustInt(t testing.TB, s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func parsePartition(t testing.TB, s string) (string, int32) {
	i := strings.LastIndexByte(s, '-')
	if i < 0 {
		t.Fatalf("%q is not topic-partition", s)
	}
	return s[:i], int32(mustInt(t, s[i+1:]))
}

func (s *script) transactionalCommit(a args, token shard.Token) shard.Effects {
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.Group, req.ProducerID, req.Generation = a.string("group"), a.int64("producer"), int32(mustInt(a.t, a.optional("generation", "-1")))
	req.MemberID = s.memberID(a.optional("member", ""))
	if instance := a.optional("instance", ""); instance != "" {
		req.InstanceID = &instance
	}
	topic, partition := parsePartition(a.t, a.string("partition"))
	p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset, p.LeaderEpoch = partition, a.int64("offset"), -1
	if n := mustInt(a.t, a.optional("metadata-bytes", "0")); n > 0 {
		metadata := strings.Repeat("m", int(n))
		p.Metadata = &metadata
	}
	req.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: topic, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{p}}}
	e := s.shard.CommitTransactionalOffsets(token, req, []kafka.UUID{topicID(topic)}, 0, s.nowMs)
	for _, r := range e.Records {
		fmt.Fprintf(&s.out, "of producer %d: ", e.Producer.ID)
		at := int64(len(s.log))
		s.show(shard.Effects{Records: []shard.Record{r}})
		if err := s.shard.Replay(shard.Position{Offset: at, ProducerID: e.Producer.ID}, r); err != nil {
			a.t.Fatal(err)
		}
	}
	code := kafka.ErrorCode(e.Responses[0].Value.(*kmsg.TxnOffsetCommitResponse).Topics[0].Partitions[0].ErrorCode)
	fmt.Fprintf(&s.out, "%d: %v\n", token, code)
	return shard.Effects{}
}
