package balance

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// reliefPercent is how far below the limit a disk is brought once it is above it, and up to how far below
// it others are filled for that: else two disks near the limit would hand the same replicas to and fro.
const reliefPercent = 3

// keptPart is the part of what other data leaves of a disk that its replicas may keep, even above the limit: a disk that
// is full of something else is not mended by taking all replicas off it.
const keptPart = 4

// relieve takes replicas off disks above the limit, as few bytes as are enough.
func (m *model) relieve() {
	for b := range m.brokers {
		if m.brokers[b].State != Active {
			continue
		}
		for v := range m.brokers[b].used {
			volume := m.brokers[b].Volumes[v]
			capacity := float64(volume.CapacityBytes)
			limit := int64(capacity * float64(m.o.DiskLimitPercent) / 100)
			if capacity <= 0 || m.brokers[b].used[v] <= limit {
				continue
			}
			kept := volume.OtherBytes + max(volume.CapacityBytes-volume.OtherBytes, 0)/keptPart
			goal := max(int64(capacity*float64(m.o.DiskLimitPercent-reliefPercent)/100), kept)
			if need := m.brokers[b].used[v] - goal; !m.relieveVolume(b, v, need) {
				return
			}
			if goal > limit {
				m.plan.Blocked = append(m.plan.Blocked, Blocked{Broker: m.brokers[b].ID, Why: fmt.Sprintf(
					"disk of broker %d is above %d %%, and something else than replicas takes %d %% of it, so that moving them is not enough: find out what fills the disk and free it, or add disks",
					m.brokers[b].ID, m.o.DiskLimitPercent, int64(math.Round(100*float64(volume.OtherBytes)/capacity)))})
			}
		}
	}
	m.average()
}

// relieveVolume moves need bytes off a volume; false when the plan is full.
func (m *model) relieveVolume(b, v int, need int64) bool {
	var candidates []*modelPartition
	for i := range m.parts {
		p := &m.parts[i]
		if j := slices.Index(p.replicas, b); j >= 0 && !p.IsMoving && p.SizeBytes > 0 && (int(p.volumes[j]) == v || p.volumes[j] < 0) {
			candidates = append(candidates, p)
		}
	}
	// Ascending: the first that is enough, else the largest.
	slices.SortStableFunc(candidates, func(x, y *modelPartition) int { return cmp.Compare(x.SizeBytes, y.SizeBytes) })
	why := fmt.Sprintf("disk of broker %d is above %d %%", m.brokers[b].ID, m.o.DiskLimitPercent)
	for need > 0 && len(candidates) > 0 {
		at, _ := slices.BinarySearchFunc(candidates, need, func(p *modelPartition, need int64) int { return cmp.Compare(p.SizeBytes, need) })
		at = min(at, len(candidates)-1)
		p := candidates[at]
		candidates = slices.Delete(candidates, at, at+1)
		to := m.roomiest(p, b)
		if to < 0 {
			continue
		}
		if m.full() {
			return false
		}
		need -= p.SizeBytes
		m.change(p, replaced(p.replicas, b, to), Relieve, why)
	}
	if need > 0 {
		m.plan.Blocked = append(m.plan.Blocked, Blocked{Broker: m.brokers[b].ID,
			Why: fmt.Sprintf("%s, and no other broker can take what is too much: add disks or a broker, or lower the retention", why)})
	}
	return true
}

// roomiest is the broker with the emptiest disk that can take a replica over from b.
func (m *model) roomiest(p *modelPartition, b int) int {
	best, bestUse := -1, 0.0
	for to := range m.brokers {
		if m.brokers[to].State != Active || !m.mayTake(p, b, to) {
			continue
		}
		if use := m.diskUse(to); best < 0 || use < bestUse {
			best, bestUse = to, use
		}
	}
	return best
}

// mayTake reports whether a broker can take a replica over from b: racks are used no worse, and its
// disk stays clear of the limit.
func (m *model) mayTake(p *modelPartition, b, to int) bool {
	if p.on(to) || m.brokers[to].IsCordoned || !m.fits(to, p.SizeBytes, m.o.DiskLimitPercent-reliefPercent) {
		return false
	}
	before, after := 0, 0
	for _, other := range p.replicas {
		if other == b {
			continue
		}
		if m.brokers[other].Rack == m.brokers[b].Rack {
			before++
		}
		if m.brokers[other].Rack == m.brokers[to].Rack {
			after++
		}
	}
	return after <= before
}

// diskUse is the used part of the fullest volume.
func (m *model) diskUse(b int) (use float64) {
	for v, used := range m.brokers[b].used {
		if capacity := m.brokers[b].Volumes[v].CapacityBytes; capacity > 0 {
			use = max(use, float64(used)/float64(capacity))
		}
	}
	return use
}

// replaced returns replicas with another one in the place of from.
func replaced(replicas []int, from, to int) []int {
	replicas = slices.Clone(replicas)
	replicas[slices.Index(replicas, from)] = to
	return replicas
}
