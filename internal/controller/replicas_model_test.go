package controller

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

var (
	modelSeeds = flag.Int("controller.seeds", 60, "how many seeds TestReplicasModel runs")
	modelSeed  = flag.Uint64("controller.seed", 0, "the first of them, 0 for one by chance")
)

const modelBrokers = 5

// replicasModel drives the controller as five brokers would: they register, are killed with and without
// losing what they had not synced, replicate, change their ISR, and an operator reassigns, elects and alters. It
// knows every replica's log, and so whether a leader lacks what was acknowledged.
type replicasModel struct {
	*cluster
	random *rand.Rand
	up     map[int32]int64 // epoch of the brokers that run
	lost   map[int32]bool  // may have lost records since they were registered
	parts  map[string]*modelPartition
	next   int
	trace  []string
	count  map[string]int
	err    error
}

// modelPartition is the logs of a partition's replicas.
type modelPartition struct {
	topic      string
	id         int32
	logs       map[int32][]int
	acked      []int
	known      map[int32]followed // what the leader knows of its followers, and of itself
	epochStart int
	last       metadata.Partition
}

// followed is how far a follower's incarnation had fetched.
type followed struct {
	end   int
	epoch int64
}

func (m *replicasModel) fail(format string, args ...any) {
	if m.err == nil {
		m.err = fmt.Errorf(format, args...)
	}
}

func (m *replicasModel) oneIn(n int) bool { return m.random.IntN(n) == 0 }

func newReplicasModel(t *testing.T, seed uint64) *replicasModel {
	levels := []map[string]int16{nil, nil, {metadata.MetadataVersionFeature: 25, metadata.ELRVersionFeature: 1}}
	m := &replicasModel{cluster: newClusterAt(t, nil, levels[seed%uint64(len(levels))]), random: rand.New(rand.NewPCG(seed, 0x636f6e74)), up: map[int32]int64{}, lost: map[int32]bool{},
		parts: map[string]*modelPartition{}, count: map[string]int{}}
	m.cluster.random = env.NewSeededRandom(seed)
	for id := int32(1); id <= modelBrokers; id++ {
		m.start(id)
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	for _, topic := range []struct {
		name     string
		replicas int16
		minISR   string
	}{{"a", 3, ""}, {"b", 5, "3"}, {"c", 2, "2"}, {"d", 3, "1"}, {"e", 1, ""}} {
		created := kmsg.CreateTopicsRequestTopic{Topic: topic.name, NumPartitions: 2, ReplicationFactor: topic.replicas}
		if topic.minISR != "" {
			created.Configs = append(created.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: minISRConfig, Value: &topic.minISR})
		}
		req.Topics = append(req.Topics, created)
		for id := range int32(2) {
			m.parts[fmt.Sprintf("%s-%d", topic.name, id)] = &modelPartition{topic: topic.name, id: id, logs: map[int32][]int{}, known: map[int32]followed{}}
		}
	}
	m.do("create", req)
	return m
}

// do has the controller decide, and checks what becomes of every partition, record by record.
func (m *replicasModel) do(what string, req kmsg.Request) kmsg.Response {
	result, err := m.c.Handle(Input{Image: m.image, NextOffset: m.image.Offset + 1, Random: m.cluster.random}, req)
	if err != nil {
		m.t.Fatal(err)
	}
	m.takeIn(what, result.Records)
	return result.Response
}

func (m *replicasModel) takeIn(what string, records []metadata.Record) {
	for _, r := range records {
		m.apply([]metadata.Record{r})
		if change, ok := r.(*metadata.PartitionChangeRecord); ok {
			p := m.image.TopicByID(change.TopicID).Partition(change.PartitionID)
			m.trace = append(m.trace, fmt.Sprintf("%s: %s-%d leader %d epoch %d replicas %v isr %v%s", what, m.image.TopicByID(change.TopicID).Name, p.ID, p.Leader, p.LeaderEpoch, p.Replicas, p.ISR, unusual(p)))
		}
		for _, key := range m.keys() {
			m.follow(m.parts[key])
		}
	}
	for _, key := range m.keys() {
		m.checkRest(m.parts[key])
	}
}

func (m *replicasModel) keys() []string {
	var keys []string
	for key := range m.parts {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func (m *replicasModel) partition(mp *modelPartition) *metadata.Partition {
	return m.image.Partition(mp.topic, mp.id)
}

// follow checks one change and has a new leader begin.
func (m *replicasModel) follow(mp *modelPartition) {
	p := m.partition(mp)
	if p == nil {
		return
	}
	old := mp.last
	if old.Replicas == nil {
		old = *p
		old.LeaderEpoch--
	}
	mp.last = *p
	name := fmt.Sprintf("%s-%d", mp.topic, mp.id)
	all := slices.Concat(p.ISR, p.ELR)
	switch {
	case len(p.Replicas) == 0 || len(p.Replicas) != len(p.Directories) || slices.Contains(p.Replicas, kafka.NoLeader):
		m.fail("%s has replicas %v in %v", name, p.Replicas, p.Directories)
	case len(slices.Compact(slices.Sorted(slices.Values(p.Replicas)))) != len(p.Replicas):
		m.fail("%s has a replica twice: %v", name, p.Replicas)
	case len(slices.Compact(slices.Sorted(slices.Values(all)))) != len(all):
		m.fail("%s: ISR %v and ELR %v overlap", name, p.ISR, p.ELR)
	case !containsAll(p.Replicas, slices.Concat(all, p.LastKnownELR, p.AddingReplicas, p.RemovingReplicas)):
		m.fail("%s has replicas %v, and others in ISR %v%s", name, p.Replicas, p.ISR, unusual(p))
	case len(only(p.AddingReplicas, p.RemovingReplicas)) > 0:
		m.fail("%s adds and removes the same replica:%s", name, unusual(p))
	case p.Leader != kafka.NoLeader && !slices.Contains(p.ISR, p.Leader):
		m.fail("%s is led by %d, which is not in its ISR %v", name, p.Leader, p.ISR)
	case p.LeaderRecoveryState == metadata.RecoveringLeader && len(p.ISR) > 1:
		m.fail("%s recovers, and has ISR %v", name, p.ISR)
	case p.LeaderEpoch < old.LeaderEpoch || p.PartitionEpoch < old.PartitionEpoch || p.Leader != old.Leader && p.LeaderEpoch == old.LeaderEpoch:
		m.fail("%s: from leader %d epoch %d to leader %d epoch %d", name, old.Leader, old.LeaderEpoch, p.Leader, p.LeaderEpoch)
	}
	if p.LeaderEpoch == old.LeaderEpoch || p.Leader == kafka.NoLeader {
		return
	}
	mp.known, mp.epochStart = map[int32]followed{}, len(mp.logs[p.Leader])
	if _, up := m.up[p.Leader]; !up && p.LeaderRecoveryState != metadata.RecoveringLeader {
		return // nobody has told the controller yet. It will never serve in this epoch
	}
	if len(p.Replicas) == 1 && len(old.Replicas) == 1 { // nobody else has more
		mp.acked = slices.Clone(commonPrefix(mp.acked, mp.logs[p.Leader]))
	}
	if hasPrefix(mp.logs[p.Leader], mp.acked) {
		m.count["clean election"]++
		return
	}
	if p.LeaderRecoveryState != metadata.RecoveringLeader {
		m.fail("%s: leader %d of epoch %d has %v, and %v were acknowledged: elected cleanly from ISR %v ELR %v", name, p.Leader, p.LeaderEpoch, mp.logs[p.Leader], mp.acked, old.ISR, old.ELR)
	}
	for _, id := range slices.Concat(old.ISR, old.ELR) {
		if !m.lost[id] && !m.allowsUnclean(mp.topic) {
			m.fail("%s: leader %d was elected uncleanly although ISR %v and ELR %v were left", name, p.Leader, old.ISR, old.ELR)
		}
	}
	m.count["unclean election"]++
	mp.acked = slices.Clone(commonPrefix(mp.acked, mp.logs[p.Leader]))
}

func (m *replicasModel) allowsUnclean(topic string) bool {
	return m.image.Config(kafka.ConfigResource{Type: kafka.ConfigResourceTopic, Name: topic})[uncleanConfig] == "true"
}

// checkRest is what holds between requests.
func (m *replicasModel) checkRest(mp *modelPartition) {
	p := m.partition(mp)
	if p == nil {
		return
	}
	for _, id := range p.ISR {
		if b := m.image.Broker(id); (b == nil || !b.Active()) && len(p.Replicas) > 1 {
			m.fail("%s-%d: broker %d is not active, and in the ISR %v", mp.topic, mp.id, id, p.ISR)
		}
	}
	if p.Leader != kafka.NoLeader {
		if b := m.image.Broker(p.Leader); b == nil || !b.Active() {
			m.fail("%s-%d is led by %d, which is not active", mp.topic, mp.id, p.Leader)
		}
		return
	}
	could := p.ISR
	if len(could) == 0 {
		could = p.ELR
	}
	for _, id := range could {
		if b := m.image.Broker(id); b != nil && b.Active() {
			m.fail("%s-%d has no leader, and broker %d could lead it:%s", mp.topic, mp.id, id, unusual(p))
		}
	}
}

func hasPrefix(log, prefix []int) bool { return len(commonPrefix(log, prefix)) == len(prefix) }

func commonPrefix(a, b []int) []int {
	for i := range a {
		if i == len(b) || a[i] != b[i] {
			return a[:i]
		}
	}
	return a
}

// start registers a broker, and perhaps unfences it.
func (m *replicasModel) start(id int32) {
	r := registration{id: id}
	if b := m.image.Broker(id); b != nil && !m.lost[id] {
		r.previous = b.Epoch
	}
	resp := m.do(fmt.Sprintf("register %d (lost data: %v)", id, r.previous == 0), registrationOf(r, m.image.Offset)).(*kmsg.BrokerRegistrationResponse)
	if resp.ErrorCode != 0 {
		m.fail("broker %d cannot register: %s", id, kafka.ErrorCode(resp.ErrorCode))
	}
	m.up[id], m.lost[id] = resp.BrokerEpoch, false
	m.beat(id, false)
}

func (m *replicasModel) beat(id int32, shutdown bool) *kmsg.BrokerHeartbeatResponse {
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.BrokerID, req.BrokerEpoch, req.CurrentMetadataOffset, req.WantShutdown = id, m.up[id], m.image.Offset, shutdown
	return m.do(fmt.Sprintf("heartbeat %d", id), req).(*kmsg.BrokerHeartbeatResponse)
}

// stop ends a broker's process. If power fails, the ends of its logs go.
func (m *replicasModel) stop(id int32, power bool) {
	m.trace = append(m.trace, fmt.Sprintf("broker %d stops, power lost: %v", id, power))
	delete(m.up, id)
	for _, key := range m.keys() {
		mp := m.parts[key]
		if log := mp.logs[id]; power && len(log) > 0 {
			mp.logs[id] = log[:m.random.IntN(len(log)+1)]
			m.lost[id] = true
			if p := m.partition(mp); len(p.Replicas) == 1 { // nobody has more
				mp.acked = slices.Clone(commonPrefix(mp.acked, mp.logs[id]))
			}
		}
	}
}

// replicate has the leader write, followers fetch, and the high watermark move.
func (m *replicasModel) replicate(mp *modelPartition, everything bool) {
	p := m.partition(mp)
	if _, up := m.up[p.Leader]; !up {
		return
	}
	leader := mp.logs[p.Leader]
	if !everything {
		m.next++
		leader = append(slices.Clone(leader), m.next)
	}
	mp.logs[p.Leader], mp.known[p.Leader] = leader, followed{len(leader), m.up[p.Leader]}
	for _, id := range p.Replicas {
		if _, up := m.up[id]; !up || id == p.Leader || !everything && m.oneIn(3) {
			continue
		}
		log := slices.Clone(commonPrefix(mp.logs[id], leader))
		take := len(leader) - len(log)
		if !everything {
			take = m.random.IntN(take + 1)
		}
		mp.logs[id] = append(log, leader[len(log):len(log)+take]...)
		mp.known[id] = followed{len(mp.logs[id]), m.up[id]}
	}
	if len(p.ISR) >= kafka.EffectiveMinISR(m.c.changePartitions(m.image).rules(m.image.TopicByName(mp.topic)).minISR, len(p.Replicas)-len(p.AddingReplicas)) {
		end := len(leader)
		for _, id := range p.ISR {
			end = min(end, mp.known[id].end)
		}
		if end > len(mp.acked) {
			mp.acked = slices.Clone(leader[:end])
		}
	}
}

// alterISR has the leader take out who lags and take in who has caught up.
func (m *replicasModel) alterISR(mp *modelPartition, everything bool) {
	p := m.partition(mp)
	epoch, up := m.up[p.Leader]
	if !up {
		return
	}
	req := kmsg.NewPtrAlterPartitionRequest()
	req.Version, req.BrokerID, req.BrokerEpoch = 3, p.Leader, epoch
	asked := kmsg.AlterPartitionRequestTopicPartition{Partition: p.ID, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch}
	if !everything && m.oneIn(20) {
		asked.PartitionEpoch--
	}
	for _, id := range p.Replicas {
		caughtUp := mp.known[id].end >= max(len(mp.acked), mp.epochStart) && (slices.Contains(p.ISR, id) && !m.oneIn(4) || m.oneIn(2) || everything)
		if id == p.Leader && mp.known[id].epoch == 0 {
			mp.known[id] = followed{len(mp.logs[id]), epoch}
		}
		if id == p.Leader || caughtUp && p.LeaderRecoveryState == metadata.RecoveredLeader {
			asked.NewEpochISR = append(asked.NewEpochISR, kmsg.AlterPartitionRequestTopicPartitionNewEpochISR{BrokerID: id, BrokerEpoch: mp.known[id].epoch})
		}
	}
	req.Topics = []kmsg.AlterPartitionRequestTopic{{TopicID: m.image.TopicByName(mp.topic).ID, Partitions: []kmsg.AlterPartitionRequestTopicPartition{asked}}}
	resp := m.do("isr", req).(*kmsg.AlterPartitionResponse)
	code := kafka.ErrorCode(resp.ErrorCode)
	if code == kafka.ErrNone {
		code = kafka.ErrorCode(resp.Topics[0].Partitions[0].ErrorCode)
	}
	m.count["isr "+code.Error()]++
}

func (m *replicasModel) reassign(mp *modelPartition) {
	req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	asked := kmsg.AlterPartitionAssignmentsRequestTopicPartition{Partition: mp.id}
	if !m.oneIn(3) {
		for _, id := range m.random.Perm(modelBrokers)[:1+m.random.IntN(4)] {
			asked.Replicas = append(asked.Replicas, int32(id)+1)
		}
	}
	req.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: mp.topic, Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{asked}}}
	resp := m.do(fmt.Sprintf("reassign to %v", asked.Replicas), req).(*kmsg.AlterPartitionAssignmentsResponse)
	m.count["reassign "+kafka.ErrorCode(resp.Topics[0].Partitions[0].ErrorCode).Error()]++
}

func (m *replicasModel) alter(topic, name, value string) {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: topic,
		Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: name, Value: &value}}}}
	m.do("alter "+topic+" "+name+"="+value, req)
}

func (m *replicasModel) step() {
	keys := m.keys()
	mp := m.parts[keys[m.random.IntN(len(keys))]]
	id := int32(1 + m.random.IntN(modelBrokers))
	_, up := m.up[id]
	switch n := m.random.IntN(100); {
	case n < 40:
		m.replicate(mp, false)
	case n < 60:
		m.alterISR(mp, false)
	case n < 68:
		if up {
			m.stop(id, m.oneIn(3))
		} else {
			m.start(id)
		}
	case n < 74:
		if !up {
			m.takeIn(fmt.Sprintf("fence %d", id), m.c.Fence(Input{Image: m.image}, id))
		}
	case n < 80:
		m.reassign(mp)
	case n < 84:
		records, _ := m.c.BalanceLeaders(Input{Image: m.image})
		m.takeIn("balance", records)
	case n < 87:
		if up && m.beat(id, true).ShouldShutdown {
			m.stop(id, false)
			m.count["controlled shutdown"]++
		}
	case n < 89:
		m.alter("d", minISRConfig, []string{"1", "2"}[m.random.IntN(2)])
	case n < 90:
		m.alter("c", uncleanConfig, []string{"false", "true"}[m.random.IntN(2)])
	case n < 95:
		if up {
			m.beat(id, false)
		}
	}
}

// heal starts everybody, and has everything replicated and every reassignment end.
func (m *replicasModel) heal() {
	m.alter("c", uncleanConfig, "true") // it may have lost everybody when it was so
	for id := int32(1); id <= modelBrokers; id++ {
		if _, up := m.up[id]; !up || m.image.Broker(id).InControlledShutdown {
			m.start(id)
		}
	}
	for range 4 {
		for _, key := range m.keys() {
			m.replicate(m.parts[key], true)
			m.alterISR(m.parts[key], true)
		}
	}
	for _, key := range m.keys() {
		p := m.partition(m.parts[key])
		if p.Leader == kafka.NoLeader || len(p.ISR) != len(p.Replicas) || p.IsReassigning() || len(p.ELR)+len(p.LastKnownELR) > 0 {
			m.fail("healed, and %s has leader %d replicas %v isr %v%s", key, p.Leader, p.Replicas, p.ISR, unusual(p))
		}
	}
}

// TestReplicasModel runs random histories against what must always hold.
func TestReplicasModel(t *testing.T) {
	t.Parallel()
	first := *modelSeed
	if first == 0 {
		first = rand.Uint64N(1 << 32)
	}
	total := map[string]int{}
	for seed := first; seed < first+uint64(*modelSeeds); seed++ {
		m := newReplicasModel(t, seed)
		for range 400 {
			if m.step(); m.err != nil {
				break
			}
		}
		if m.err == nil {
			m.heal()
		}
		if m.err != nil {
			t.Fatalf("seed %d (-controller.seed): %v\n%s", seed, m.err, strings.Join(m.trace[max(0, len(m.trace)-60):], "\n"))
		}
		for what, n := range m.count {
			total[what] += n
		}
	}
	t.Logf("seeds from %d: %v", first, total)
	for _, what := range []string{"clean election", "unclean election", "controlled shutdown", "isr NONE", "isr INVALID_UPDATE_VERSION", "isr INELIGIBLE_REPLICA", "isr NEW_LEADER_ELECTED", "reassign NONE"} {
		if total[what] == 0 {
			t.Errorf("seeds from %d: never saw %q", first, what)
		}
	}
}
