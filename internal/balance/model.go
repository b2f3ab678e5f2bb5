package balance

import (
	"cmp"
	"slices"
)

// What a broker's load is made of.
const (
	inReplicas = iota
	inBytes
	inRate
	inLeaders
	inLeaderRate // bytes produced to the partitions that it leads
	dimensions
)

// Averages per broker below these do not matter.
const (
	minorBytes          = 64 << 20
	minorBytesPerSecond = 64 << 10
)

type load [dimensions]int64

// model is a cluster as the moves planned so far make it. Brokers and partitions are known by their
// index; brokers ascend by ID, partitions by topic and ID.
type model struct {
	o       Options
	brokers []modelBroker
	parts   []modelPartition
	// inTopic is how many replicas of each topic each broker has, topic × brokers.
	inTopic []int32
	// mean is the average load of the active brokers, 0 where it does not matter.
	mean   [dimensions]float64
	active int
	ideal  map[int]int
	plan   Plan
	copies int // moves of the plan that copy data
}

type modelBroker struct {
	Broker
	load   load
	used   []int64 // per volume
	target bool    // may be given more to even out the load
}

type modelPartition struct {
	*Partition
	topic    int
	replicas []int
	volumes  []int8
	move     int  // in the plan, -1 for none
	copied   bool // the move copies data
}

func newModel(c Cluster, o Options) *model {
	m := &model{o: o, ideal: map[int]int{}}
	index := map[int32]int{}
	for _, b := range c.Brokers {
		m.brokers = append(m.brokers, modelBroker{Broker: b, target: b.State == Active && (o.Targets == nil || slices.Contains(o.Targets, b.ID))})
	}
	known := map[int32]bool{}
	for _, b := range c.Brokers {
		known[b.ID] = true
	}
	for i := range c.Partitions {
		for _, id := range c.Partitions[i].Replicas {
			if !known[id] {
				known[id] = true
				m.brokers = append(m.brokers, modelBroker{Broker: Broker{ID: id, State: Absent}})
			}
		}
	}
	slices.SortFunc(m.brokers, func(a, b modelBroker) int { return cmp.Compare(a.ID, b.ID) })
	for i := range m.brokers {
		b := &m.brokers[i]
		index[b.ID] = i
		for _, v := range b.Volumes {
			b.used = append(b.used, v.OtherBytes)
		}
		if b.State == Active {
			m.active++
		}
	}
	m.addPartitions(c.Partitions, index)
	m.average()
	return m
}

func (m *model) addPartitions(partitions []Partition, index map[int32]int) {
	sorted := make([]*Partition, 0, len(partitions))
	for i := range partitions {
		sorted = append(sorted, &partitions[i])
	}
	slices.SortFunc(sorted, func(a, b *Partition) int { return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.ID, b.ID)) })
	m.parts = make([]modelPartition, 0, len(sorted))
	topics := 0
	for i, p := range sorted {
		if i == 0 || p.Topic != sorted[i-1].Topic {
			topics++
		}
		part := modelPartition{Partition: p, topic: topics - 1, move: -1}
		for j, id := range p.Replicas {
			volume := int8(unknownVolume)
			if j < len(p.Volumes) {
				volume = p.Volumes[j]
			}
			part.replicas, part.volumes = append(part.replicas, index[id]), append(part.volumes, volume)
		}
		m.parts = append(m.parts, part)
	}
	m.inTopic = make([]int32, topics*len(m.brokers))
	for i := range m.parts {
		p := &m.parts[i]
		for j, b := range p.replicas {
			m.addReplica(p, b, p.volumes[j], 1)
		}
		m.addLeader(p, 1)
	}
}

// addReplica counts a replica in, or with sign -1 out.
func (m *model) addReplica(p *modelPartition, b int, volume int8, sign int64) {
	broker := &m.brokers[b]
	broker.load[inReplicas] += sign
	broker.load[inBytes] += sign * p.SizeBytes
	broker.load[inRate] += sign * p.BytesPerSecond
	m.inTopic[p.topic*len(m.brokers)+b] += int32(sign)
	for v := range broker.used {
		if int(volume) == v || volume < 0 || int(volume) >= len(broker.used) {
			broker.used[v] += sign * p.SizeBytes
		}
	}
}

func (m *model) addLeader(p *modelPartition, sign int64) {
	if len(p.replicas) > 0 {
		first := &m.brokers[p.replicas[0]]
		first.load[inLeaders] += sign
		first.load[inLeaderRate] += sign * p.BytesPerSecond
	}
}

// average works out what the active brokers carry on average.
func (m *model) average() {
	var sum load
	for i := range m.brokers {
		if m.brokers[i].State == Active {
			for d := range sum {
				sum[d] += m.brokers[i].load[d]
			}
		}
	}
	for d := range sum {
		m.mean[d] = float64(sum[d]) / float64(max(m.active, 1))
	}
	for d, minor := range map[int]float64{inBytes: minorBytes, inRate: minorBytesPerSecond, inLeaderRate: minorBytesPerSecond} {
		if m.mean[d] < minor {
			m.mean[d] = 0
		}
	}
}

func (m *model) loads() (all []Load) {
	for i := range m.brokers {
		b := &m.brokers[i]
		all = append(all, Load{Broker: b.ID, Replicas: b.load[inReplicas], Leaders: b.load[inLeaders], Bytes: b.load[inBytes], BytesPerSecond: b.load[inRate]})
	}
	return all
}

// fits reports whether a replica fits on a broker below a limit, in whichever of its volumes it chooses.
func (m *model) fits(b int, sizeBytes int64, limitPercent int) bool {
	for v, used := range m.brokers[b].used {
		if capacity := m.brokers[b].Volumes[v].CapacityBytes; capacity > 0 && float64(used+sizeBytes) > float64(capacity)*float64(limitPercent)/100 {
			return false
		}
	}
	return true
}

func (p *modelPartition) on(b int) bool { return slices.Contains(p.replicas, b) }

// change gives a partition other replicas and notes it in the plan. A partition that is in the plan
// already for data is moved once, to where the last change wants it.
func (m *model) change(p *modelPartition, replicas []int, goal Goal, why string) {
	volumes := make([]int8, len(replicas))
	for i, b := range replicas {
		volumes[i] = unknownVolume
		if j := slices.Index(p.replicas, b); j >= 0 {
			volumes[i] = p.volumes[j]
		} else {
			m.addReplica(p, b, unknownVolume, 1)
		}
	}
	for j, b := range p.replicas {
		if !slices.Contains(replicas, b) {
			m.addReplica(p, b, p.volumes[j], -1)
		}
	}
	m.addLeader(p, -1)
	from := m.ids(p.replicas)
	p.replicas, p.volumes = replicas, volumes
	m.addLeader(p, 1)
	if p.move < 0 || m.plan.Moves[p.move].Goal == Lead && goal != Lead {
		p.move = len(m.plan.Moves)
		m.plan.Moves = append(m.plan.Moves, Move{Topic: p.Topic, Partition: p.ID, From: from, Goal: goal, Why: why})
	}
	move := &m.plan.Moves[p.move]
	move.To = m.ids(replicas)
	added := without(move.To, move.From)
	move.Bytes = p.SizeBytes * int64(len(added))
	if len(added) > 0 && !p.copied {
		p.copied = true
		m.copies++
	}
}

func (m *model) ids(replicas []int) []int32 {
	ids := make([]int32, len(replicas))
	for i, b := range replicas {
		ids[i] = m.brokers[b].ID
	}
	return ids
}

func without(ids, gone []int32) (rest []int32) {
	for _, id := range ids {
		if !slices.Contains(gone, id) {
			rest = append(rest, id)
		}
	}
	return rest
}

// full reports whether the plan has all the moves that it may have, and notes that there are more.
func (m *model) full() bool {
	if m.o.MaxMoves > 0 && m.copies >= m.o.MaxMoves {
		m.plan.More = true
	}
	return m.plan.More
}
