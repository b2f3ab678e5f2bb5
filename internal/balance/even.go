package balance

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

const (
	// shortlist is of how many of the best candidates those are chosen that are moved before all are looked at anew.
	shortlist = 256
	// A round moves at most maxRound replicas between two brokers, and a part of what they have: or the first pair
	// would share what all should.
	maxRound  = 64
	roundPart = 100
	// topicWeight is what a topic's even spread counts beside the sum of replicas: it decides between moves
	// that are as good.
	topicWeight = 0.25
)

var dimensionNames = [dimensions]string{"replicas", "bytes", "bytes produced", "leaderships", "bytes produced to leaders"}

// pair is a broker that has too much of something beside one that has too little.
type pair struct{ dimension, from, to int }

// even moves replicas, then leaderships, until no broker's load is farther from the average than half the
// tolerance, if one was farther than the whole. Each step lowers the sum over the brokers and
// dimensions of (load/average)² by more than minGain: so it ends, and what it leaves behind it leaves alone.
func (m *model) even() {
	for m.evenBy([]int{inReplicas, inBytes, inRate}, m.moveReplicas) || m.evenBy([]int{inLeaders, inLeaderRate}, m.moveLeaderships) {
	}
}

// noteFull says which targets cannot be given what they lack, since their disks are full.
func (m *model) noteFull() {
	for b := range m.brokers {
		broker := &m.brokers[b]
		lacks := slices.ContainsFunc([]int{inReplicas, inBytes, inRate}, func(d int) bool { return m.mean[d] > 0 && m.share(b, d) < 1-m.tolerance() })
		if !broker.target || broker.IsCordoned || !lacks || m.fits(b, 0, m.o.DiskLimitPercent-reliefPercent) {
			continue
		}
		m.plan.Full = append(m.plan.Full, broker.ID)
		m.plan.Blocked = append(m.plan.Blocked, Blocked{Broker: broker.ID, Why: fmt.Sprintf(
			"the disk of broker %d is %d %% full and takes replicas up to %d %% only (moldau.balancer.disk.limit.percent): free space on it, or add disks; then it is given its share",
			broker.ID, int64(math.Round(100*m.diskUse(b))), m.o.DiskLimitPercent-reliefPercent)})
	}
}

func (m *model) tolerance() float64 { return float64(m.o.TolerancePercent) / 100 }

// evenBy reports whether it found anything to move.
func (m *model) evenBy(dimensions []int, move func(pair) bool) (moved bool) {
	if len(m.pairs(dimensions, m.tolerance())) == 0 {
		return false
	}
	for !m.plan.More && slices.ContainsFunc(m.pairs(dimensions, m.tolerance()/2), move) {
		moved = true
	}
	return moved && !m.plan.More
}

// pairs returns where something could be evened out, the worst first.
func (m *model) pairs(dimensions []int, tolerance float64) (all []pair) {
	for _, d := range dimensions {
		if m.mean[d] == 0 {
			continue
		}
		for to := range m.brokers {
			for from := range m.brokers {
				high, low := m.share(from, d), m.share(to, d)
				if m.brokers[to].target && m.brokers[from].State == Active && high > low && (high > 1+tolerance || low < 1-tolerance) {
					all = append(all, pair{d, from, to})
				}
			}
		}
	}
	slices.SortStableFunc(all, func(a, b pair) int {
		return cmp.Compare(m.share(b.from, b.dimension)-m.share(b.to, b.dimension), m.share(a.from, a.dimension)-m.share(a.to, a.dimension))
	})
	return all
}

// share is a broker's load as a part of the average.
func (m *model) share(b, dimension int) float64 {
	return float64(m.brokers[b].load[dimension]) / m.mean[dimension]
}

func (m *model) needs(p pair, tolerance float64) bool {
	high, low := m.share(p.from, p.dimension), m.share(p.to, p.dimension)
	return high > low && (high > 1+tolerance || low < 1-tolerance)
}

func (m *model) why(p pair) string {
	return fmt.Sprintf("broker %d has %.0f %% of the average of %s, broker %d %.0f %%", m.brokers[p.from].ID, 100*m.share(p.from, p.dimension),
		dimensionNames[p.dimension], m.brokers[p.to].ID, 100*m.share(p.to, p.dimension))
}

// gain is by how much a partition's change of hands lowers the sum of squares.
func (m *model) gain(p *modelPartition, from, to int, isReplica, isLeader bool) (sum float64) {
	add := func(d int, amount int64) {
		if m.mean[d] > 0 {
			a, high, low := float64(amount), float64(m.brokers[from].load[d]), float64(m.brokers[to].load[d])
			sum += 2 * a * (high - low - a) / (m.mean[d] * m.mean[d])
		}
	}
	if isLeader {
		add(inLeaders, 1)
		add(inLeaderRate, p.BytesPerSecond)
	}
	if isReplica {
		add(inReplicas, 1)
		add(inBytes, p.SizeBytes)
		add(inRate, p.BytesPerSecond)
		row := m.inTopic[p.topic*len(m.brokers):]
		sum += topicWeight * 2 * float64(row[from]-row[to]-1) / (m.mean[inReplicas] * m.mean[inReplicas])
	}
	return sum
}

// minGain is what a change must bring at least: a tenth of what one partition of average size does at the edge of the
// tolerance, and more where data has to be copied for it.
func (m *model) minGain(dimension int, sizeBytes int64) float64 {
	least := m.tolerance() / 10 / max(m.mean[dimension], 1)
	if m.mean[inBytes] > 0 {
		least += m.tolerance() / 4 * float64(sizeBytes) / m.mean[inBytes]
	}
	return least
}

// shift has the best of the partitions change hands, one after the other, until the pair needs it no more.
// worth is what a partition's change brings; below 0 it is not made.
func (m *model) shift(hands pair, worth func(*modelPartition) float64, change func(*modelPartition, string)) (moved bool) {
	type candidate struct {
		p     *modelPartition
		worth float64
	}
	better := func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.worth, a.worth), cmp.Compare(a.p.SizeBytes, b.p.SizeBytes))
	}
	candidates := make([]candidate, 0, shortlist)
	for i := range m.parts {
		if p := &m.parts[i]; !p.IsMoving && p.on(hands.from) {
			c := candidate{p, worth(p)}
			if c.worth <= 0 || len(candidates) == shortlist && better(c, candidates[shortlist-1]) >= 0 {
				continue
			}
			at, _ := slices.BinarySearchFunc(candidates, c, func(x, c candidate) int { return cmp.Or(better(x, c), -1) })
			candidates = slices.Insert(candidates[:min(len(candidates), shortlist-1)], at, c)
		}
	}
	why := m.why(hands)
	for range min(max(int(m.mean[inReplicas])/roundPart, 1), maxRound) {
		if !m.needs(hands, m.tolerance()/2) || len(candidates) == 0 {
			break
		}
		best := 0
		for i := range candidates {
			candidates[i].worth = worth(candidates[i].p)
			if better(candidates[i], candidates[best]) < 0 {
				best = i
			}
		}
		if candidates[best].worth <= 0 || m.full() {
			break
		}
		change(candidates[best].p, why)
		moved = true
		candidates = slices.Delete(candidates, best, best+1)
	}
	return moved
}

// moveReplicas moves replicas of a pair and reports whether it found any.
func (m *model) moveReplicas(hands pair) bool {
	return m.shift(hands, func(p *modelPartition) float64 {
		if !m.mayTake(p, hands.from, hands.to) {
			return 0
		}
		return m.gain(p, hands.from, hands.to, true, p.replicas[0] == hands.from) - m.minGain(inReplicas, p.SizeBytes)
	}, func(p *modelPartition, why string) {
		m.change(p, replaced(p.replicas, hands.from, hands.to), Even, why)
	})
}

// moveLeaderships has the second broker of a pair lead what the first leads and both have.
func (m *model) moveLeaderships(hands pair) bool {
	return m.shift(hands, func(p *modelPartition) float64 {
		if p.replicas[0] != hands.from || !p.on(hands.to) {
			return 0
		}
		return m.gain(p, hands.from, hands.to, false, true) - m.minGain(inLeaders, 0)
	}, func(p *modelPartition, why string) {
		replicas := slices.Clone(p.replicas)
		at := slices.Index(replicas, hands.to)
		replicas[0], replicas[at] = replicas[at], replicas[0]
		m.change(p, replicas, Even, why)
	})
}
