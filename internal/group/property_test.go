package group

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/shard"
)

// world runs random clients against one shard and checks after every step what must always hold.
type world struct {
	t          *rapid.T
	cfg        Config
	random     env.Random
	shard      *Shard
	nowMs      int64
	log        []shard.Record
	token      shard.Token
	waiting    map[shard.Token]bool
	memberIDs  []string // that the coordinator has given out
	generation int32
}

func TestRandomClients(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, cfg: DefaultConfig(), random: env.NewSeededRandom(rapid.Uint64().Draw(t, "seed")), waiting: map[shard.Token]bool{}}
		w.cfg.MaxSize = int32(rapid.IntRange(1, 6).Draw(t, "max size"))
		w.cfg.RetentionCheckIntervalMs = 1 << 40
		w.shard = NewShard(w.cfg, w.random, NewMetrics(metrics.NewRegistry()))
		t.Repeat(map[string]func(*rapid.T){
			"join":      w.join,
			"rejoin":    w.rejoin,
			"sync":      w.sync,
			"heartbeat": w.heartbeat,
			"leave":     w.leave,
			"commit":    w.commit,
			"advance":   func(t *rapid.T) { w.advance(rapid.Int64Range(0, 12_000).Draw(t, "ms")) },
			"crash":     w.crash,
			"":          w.check,
		})
		// Left alone, the group answers everybody and empties.
		w.advance(3 * 3_600_000)
		if len(w.waiting) > 0 {
			t.Fatalf("never answered: %v", slices.Sorted(maps.Keys(w.waiting)))
		}
		if g := w.shard.group("g"); g != nil && (g.state != stateEmpty || len(g.members) > 0 || len(g.pendingMembers) > 0) {
			t.Fatalf("silent clients, but the group is %s with %d members", g.state, len(g.members))
		}
	})
}

func (w *world) next() shard.Token {
	w.token++
	w.waiting[w.token] = true
	return w.token
}

func (w *world) take(effects shard.Effects) {
	w.log = append(w.log, effects.Records...)
	for _, r := range effects.Responses {
		if !w.waiting[r.Token] {
			w.t.Fatalf("request %d is answered twice", r.Token)
		}
		delete(w.waiting, r.Token)
		if join, ok := r.Value.(*kmsg.JoinGroupResponse); ok {
			if join.MemberID != "" && !slices.Contains(w.memberIDs, join.MemberID) {
				w.memberIDs = append(w.memberIDs, join.MemberID)
			}
			if join.ErrorCode == 0 && join.LeaderID == join.MemberID && len(join.Members) == 0 {
				w.t.Fatalf("the leader %s learns no members", join.MemberID)
			}
		}
	}
}

func (w *world) caller() Caller { return Caller{Token: w.next(), ClientID: "c", ClientHost: "/h"} }

func (w *world) request(t *rapid.T) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.ProtocolType = "g", "consumer"
	req.Version = rapid.SampledFrom([]int16{3, 5, 9}).Draw(t, "version")
	req.SessionTimeoutMillis = rapid.Int32Range(6_000, 20_000).Draw(t, "session")
	req.RebalanceTimeoutMillis = rapid.Int32Range(0, 30_000).Draw(t, "rebalance")
	for _, name := range rapid.SampledFrom([][]string{{"range"}, {"range", "sticky"}, {"sticky", "range"}, {"sticky"}}).Draw(t, "protocols") {
		req.Protocols = append(req.Protocols, kmsg.JoinGroupRequestProtocol{Name: name, Metadata: subscription("t1")})
	}
	return req
}

func (w *world) join(t *rapid.T) {
	req := w.request(t)
	if i := rapid.IntRange(0, 3).Draw(t, "instance"); i > 0 {
		instance := fmt.Sprintf("i%d", i)
		req.InstanceID = &instance
	}
	w.take(w.shard.JoinGroup(w.caller(), req, w.nowMs))
}

// known draws a member id that the coordinator has given out, with its instance id if it has one.
func (w *world) known(t *rapid.T) (id string, instance *string) {
	if len(w.memberIDs) == 0 {
		return "nobody", nil
	}
	id = rapid.SampledFrom(w.memberIDs).Draw(t, "member")
	if id[0] == 'i' {
		name := id[:2]
		instance = &name
	}
	return id, instance
}

func (w *world) rejoin(t *rapid.T) {
	req := w.request(t)
	req.MemberID, req.InstanceID = w.known(t)
	w.take(w.shard.JoinGroup(w.caller(), req, w.nowMs))
}

func (w *world) currentGeneration() int32 {
	if g := w.shard.group("g"); g != nil {
		return g.generation
	}
	return 0
}

func (w *world) sync(t *rapid.T) {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.Generation = "g", w.currentGeneration()-rapid.Int32Range(0, 1).Draw(t, "behind")
	req.MemberID, req.InstanceID = w.known(t)
	for _, id := range w.memberIDs {
		req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: id, MemberAssignment: []byte(id)})
	}
	w.take(w.shard.SyncGroup(w.next(), req, w.nowMs))
}

func (w *world) heartbeat(t *rapid.T) {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.Generation = "g", w.currentGeneration()
	req.MemberID, req.InstanceID = w.known(t)
	w.take(w.shard.Heartbeat(w.next(), req, w.nowMs))
}

func (w *world) leave(t *rapid.T) {
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = "g"
	m := kmsg.LeaveGroupRequestMember{}
	m.MemberID, m.InstanceID = w.known(t)
	req.Members = append(req.Members, m)
	w.take(w.shard.LeaveGroup(w.next(), req, w.nowMs))
}

func (w *world) commit(t *rapid.T) {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation = 9, "g", w.currentGeneration()
	req.MemberID, req.InstanceID = w.known(t)
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset = rapid.Int32Range(0, 2).Draw(t, "partition"), w.nowMs
	req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "t1", TopicID: topicID("t1"), Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}}}
	w.take(w.shard.CommitOffsets(w.next(), req, w.nowMs))
}

func (w *world) advance(ms int64) {
	target := w.nowMs + ms
	for w.shard.NextDeadlineMs() <= target {
		w.nowMs = max(w.nowMs, w.shard.NextDeadlineMs())
		w.take(w.shard.Tick(w.nowMs))
		w.check(w.t)
	}
	w.nowMs = target
}

// crash replaces the shard by one built from the log. Nobody waits any more: the runtime has
// failed their requests.
func (w *world) crash(t *rapid.T) {
	s := NewShard(w.cfg, w.random, NewMetrics(metrics.NewRegistry()))
	for i, r := range w.log {
		if err := s.Replay(shard.Position{Offset: int64(i), ProducerID: -1}, r); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
	}
	if before, after := durableStates(w.shard, s); before != after {
		t.Fatalf("before the crash\n%safter\n%s", before, after)
	}
	w.shard, w.waiting = s, map[shard.Token]bool{}
	w.generation = w.currentGeneration()
	w.take(s.Activate(w.nowMs))
}

func (w *world) check(t *rapid.T) {
	parked := map[shard.Token]bool{}
	for _, g := range w.shard.sortedGroups() {
		w.checkGroup(t, g, parked)
	}
	if !maps.Equal(parked, w.waiting) {
		t.Fatalf("parked in the shard: %v; not answered: %v", slices.Sorted(maps.Keys(parked)), slices.Sorted(maps.Keys(w.waiting)))
	}
	if now := w.currentGeneration(); now < w.generation {
		t.Fatalf("the generation went from %d to %d", w.generation, now)
	}
	w.generation = w.currentGeneration()
}

func (w *world) checkGroup(t *rapid.T, g *classicGroup, parked map[shard.Token]bool) {
	awaitingJoin, pendingSync, supported := 0, 0, map[string]int{}
	for _, m := range g.members {
		if g.membersByID[m.id] != m || m.instanceID != nil && g.staticMembers[*m.instanceID] != m {
			t.Fatalf("member %s is not found by its ids", m.id)
		}
		if m.heartbeat.pos == 0 && !m.satisfiesHeartbeat() {
			t.Fatalf("nobody would notice that member %s is dead", m.id)
		}
		for _, token := range []shard.Token{m.joinToken, m.syncToken} {
			if token != 0 {
				parked[token] = true
			}
		}
		if m.awaitsJoin() {
			awaitingJoin++
		}
		if m.pendingSync {
			pendingSync++
		}
		if m.awaitsJoin() && g.state != statePreparingRebalance || m.awaitsSync() && g.state != stateCompletingRebalance {
			t.Fatalf("member %s waits in state %s", m.id, g.state)
		}
		for _, p := range m.protocols {
			supported[p.name]++
		}
	}
	switch {
	case len(g.membersByID) != len(g.members):
		t.Fatalf("%d members by id, %d in order", len(g.membersByID), len(g.members))
	case awaitingJoin != g.awaitingJoin || pendingSync != g.pendingSync || !maps.Equal(supported, g.supported):
		t.Fatalf("counted %d %d %v, kept %d %d %v", awaitingJoin, pendingSync, supported, g.awaitingJoin, g.pendingSync, g.supported)
	case (g.leader == "") != (len(g.members) == 0) || g.leader != "" && g.membersByID[g.leader] == nil:
		t.Fatalf("leader %q of %d members", g.leader, len(g.members))
	case g.state == stateEmpty && len(g.members) > 0 || g.state == stateStable && len(g.members) == 0:
		t.Fatalf("%s with %d members", g.state, len(g.members))
	case g.state == statePreparingRebalance && g.joinTimer.pos == 0:
		t.Fatal("nothing ends the rebalance")
	case g.state == stateCompletingRebalance && pendingSync > 0 && g.syncTimer.pos == 0:
		t.Fatal("nothing ends the wait for SyncGroup")
	}
}
