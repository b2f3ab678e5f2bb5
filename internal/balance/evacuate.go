package balance

import (
	"fmt"
	"slices"
)

// leaveLeaderships has other replicas lead what brokers that are to be emptied lead or are preferred for. It
// copies nothing, so clients are off such a broker long before its data is.
func (m *model) leaveLeaderships() {
	for i := range m.parts {
		p := &m.parts[i]
		if p.IsMoving || len(p.replicas) == 0 {
			continue
		}
		first := &m.brokers[p.replicas[0]]
		leaves := first.State == Leaving || first.State == Gone
		if next := m.nextLeader(p); leaves && next > 0 {
			replicas := slices.Clone(p.replicas)
			replicas[0], replicas[next] = replicas[next], replicas[0]
			m.change(p, replicas, Lead, first.why())
			continue
		}
		for _, b := range p.replicas[1:] {
			// It leads although another one is preferred: an election is enough.
			if leader := &m.brokers[b]; leader.ID == p.Leader && leader.State == Leaving && first.State == Active {
				m.change(p, p.replicas, Lead, leader.why())
			}
		}
	}
}

// nextLeader is the place of the active replica whose broker leads least, -1 if there is none.
func (m *model) nextLeader(p *modelPartition) int {
	best := -1
	for i, b := range p.replicas {
		if m.brokers[b].State == Active && (best < 0 || m.brokers[b].load[inLeaders] < m.brokers[p.replicas[best]].load[inLeaders]) {
			best = i
		}
	}
	return best
}

func (b *modelBroker) why() string {
	if b.State == Gone {
		return fmt.Sprintf("broker %d is dead", b.ID)
	}
	return fmt.Sprintf("broker %d is drained", b.ID)
}

// evacuate gives the replicas of brokers in a state to others. What cannot be moved is blocked: by too few
// brokers, racks, or disks.
func (m *model) evacuate(state State) {
	blocked := map[int]*Blocked{}
	for i := range m.parts {
		p := &m.parts[i]
		if p.IsMoving {
			continue
		}
		replicas, source := slices.Clone(p.replicas), -1
		for j, b := range p.replicas {
			if m.brokers[b].State != state {
				continue
			}
			to, why := m.refuge(p, replicas, j)
			if to < 0 {
				if blocked[b] == nil {
					blocked[b] = &Blocked{Broker: m.brokers[b].ID, Why: why}
				}
				blocked[b].Partitions++
				continue
			}
			replicas[j], source = to, b
			// Leaderships that went to others for the time being are shared again with the data.
			if m.brokers[to].load[inLeaders]+1 < m.brokers[replicas[0]].load[inLeaders] {
				replicas[0], replicas[j] = replicas[j], replicas[0]
			}
		}
		if source < 0 {
			continue
		}
		if m.full() {
			break
		}
		m.change(p, replicas, Evacuate, m.brokers[source].why())
	}
	for b := range m.brokers {
		if blocked[b] != nil {
			m.plan.Blocked = append(m.plan.Blocked, *blocked[b])
		}
	}
	m.average()
}

// refuge finds the broker that takes the j-th of replicas over: one whose rack has the fewest replicas,
// and of these the least loaded.
func (m *model) refuge(p *modelPartition, replicas []int, j int) (best int, why string) {
	before := max(m.rackScore(replicas), m.idealRackScore(len(replicas)))
	best = -1
	var bestScore int
	var bestLoad float64
	free, fitting := 0, 0
	candidate := slices.Clone(replicas)
	for b := range m.brokers {
		if m.brokers[b].State != Active || m.brokers[b].IsCordoned || slices.Contains(replicas, b) || p.on(b) {
			continue
		}
		free++
		if !m.fits(b, p.SizeBytes, m.o.DiskLimitPercent) {
			continue
		}
		fitting++
		candidate[j] = b
		score := m.rackScore(candidate)
		if score > before {
			continue
		}
		load := m.relativeLoad(b)
		if best < 0 || score < bestScore || score == bestScore && load < bestLoad {
			best, bestScore, bestLoad = b, score, load
		}
	}
	topicPartition := fmt.Sprintf("%s-%d", p.Topic, p.ID)
	switch {
	case best >= 0:
		return best, ""
	case free == 0:
		return -1, fmt.Sprintf("replication factor %d of %s needs more brokers than are active: add a broker, or lower the replication factor", len(replicas), topicPartition)
	case fitting == 0:
		return -1, fmt.Sprintf("%s has %d bytes and would fill the disk of every other broker above %d %%: add disks or a broker", topicPartition, p.SizeBytes, m.o.DiskLimitPercent)
	}
	return -1, fmt.Sprintf("the replicas of %s would be in fewer racks: add a broker, or room, in the rack of the one that leaves", topicPartition)
}

// relativeLoad is a broker's load as the sum of its parts of the averages.
func (m *model) relativeLoad(b int) (sum float64) {
	for _, d := range []int{inReplicas, inBytes, inRate} {
		if m.mean[d] > 0 {
			sum += float64(m.brokers[b].load[d]) / m.mean[d]
		}
	}
	return sum
}

// rackScore is lowest where replicas are spread over the most racks.
func (m *model) rackScore(replicas []int) (score int) {
	for i, a := range replicas {
		for _, b := range replicas[:i] {
			if m.brokers[a].Rack == m.brokers[b].Rack {
				score++
			}
		}
	}
	return score
}

// idealRackScore is the best score that the brokers allow that take replicas.
func (m *model) idealRackScore(replicationFactor int) int {
	if score, ok := m.ideal[replicationFactor]; ok {
		return score
	}
	free, used := map[string]int{}, map[string]int{}
	for i := range m.brokers {
		if m.brokers[i].State == Active && !m.brokers[i].IsCordoned {
			free[m.brokers[i].Rack]++
		}
	}
	score := 0
	for range replicationFactor {
		best, found := "", false
		for i := range m.brokers {
			rack := m.brokers[i].Rack
			if free[rack] > 0 && (!found || used[rack] < used[best]) {
				best, found = rack, true
			}
		}
		if !found {
			break
		}
		score += used[best] // pairs with those that are in the rack already
		used[best]++
		free[best]--
	}
	m.ideal[replicationFactor] = score
	return score
}
