package controller

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// maxPartitionsPerRequest is Kafka's bound on what one request may create.
const maxPartitionsPerRequest = 10_000

// placer stripes replicas over the brokers: leaders round-robin from a random start, followers at
// a shift that grows with every round, so that a broker's followers spread, and each in a rack that has none
// yet, as far as there are racks. Brokers that are fenced get replicas only where there are
// too few others, or for their rack.
type placer struct {
	racks      map[int32]string
	active     []int32 // one of each rack in turn
	fenced     []int32
	registered int
	draining   int // brokers that get nothing new, since they are being emptied
	start      uint64
	shift      uint64
}

func newPlacer(image *metadata.Image, random env.Random, draining []int32) *placer {
	p := &placer{racks: map[int32]string{}}
	for b := range image.Brokers() {
		if slices.Contains(draining, b.ID) {
			p.draining++
			continue
		}
		if b.IsCordoned() {
			continue
		}
		p.registered++
		if b.Rack != nil {
			p.racks[b.ID] = *b.Rack
		}
		if b.Active() {
			p.active = append(p.active, b.ID)
		} else {
			p.fenced = append(p.fenced, b.ID)
		}
	}
	p.active = p.interleave(p.active)
	if len(p.active) > 1 {
		p.start, p.shift = random.Uint64()>>1, random.Uint64()>>1
	}
	return p
}

// interleave orders brokers so that neighbours are in different racks.
func (p *placer) interleave(brokers []int32) []int32 {
	nth := make(map[int32]int, len(brokers)) // within its rack
	count := map[string]int{}
	for _, id := range brokers {
		nth[id] = count[p.racks[id]]
		count[p.racks[id]]++
	}
	slices.SortStableFunc(brokers, func(a, b int32) int {
		if len(count) == 1 {
			return cmp.Compare(a, b)
		}
		return cmp.Or(cmp.Compare(nth[a], nth[b]), cmp.Compare(p.racks[a], p.racks[b]))
	})
	return brokers
}

// check returns an error unless partitions with replicationFactor replicas can be placed.
func (p *placer) check(replicationFactor int16) error {
	switch {
	case len(p.active) == 0:
		return kafka.Errorf(kafka.ErrInvalidReplicationFactor,
			"Unable to replicate the partition %d time(s): no broker is there that is neither fenced nor shutting down and has a log dir that is not cordoned%s.", replicationFactor, p.butDraining())
	case int(replicationFactor) > p.registered:
		return kafka.Errorf(kafka.ErrInvalidReplicationFactor,
			"Unable to replicate the partition %d time(s): The target replication factor of %d cannot be reached because only %d broker(s) are registered with a log dir that is not cordoned%s.",
			replicationFactor, replicationFactor, p.registered, p.butDraining())
	}
	return nil
}

// butDraining says how many brokers are left out because they are being emptied.
func (p *placer) butDraining() string {
	if p.draining == 0 {
		return ""
	}
	return fmt.Sprintf(", without the %d that are being drained", p.draining)
}

// place returns the replicas of the n-th partition placed, the preferred leader first.
func (p *placer) place(n int, replicationFactor int16) []int32 {
	count := uint64(len(p.active))
	first := (p.start + uint64(n)) % count
	shift := p.shift + uint64(n)/count
	candidates := make([]int32, 0, p.registered)
	for j := uint64(0); j+1 < count; j++ {
		candidates = append(candidates, p.active[(first+1+(shift+j)%(count-1))%count])
	}
	return p.spread([]int32{p.active[first]}, append(candidates, p.fenced...), int(replicationFactor))
}

// spread adds candidates to replicas, in their order, but each from a rack that has the fewest of them.
func (p *placer) spread(replicas, candidates []int32, replicationFactor int) []int32 {
	inRack := map[string]int{}
	for _, id := range replicas {
		inRack[p.racks[id]]++
	}
	for len(replicas) < replicationFactor && len(candidates) > 0 {
		best := 0
		for i, id := range candidates {
			if inRack[p.racks[id]] < inRack[p.racks[candidates[best]]] {
				best = i
			}
		}
		replicas = append(replicas, candidates[best])
		inRack[p.racks[candidates[best]]]++
		candidates = slices.Delete(candidates, best, best+1)
	}
	return replicas
}

// checkReplicas checks the replicas that a client chose for one partition.
func checkReplicas(image *metadata.Image, replicas []int32) error {
	if len(replicas) == 0 {
		return kafka.Errorf(kafka.ErrInvalidReplicaAssignment, "The manual partition assignment includes an empty replica list.")
	}
	sorted := slices.Sorted(slices.Values(replicas))
	for i, id := range sorted {
		b := image.Broker(id)
		if b == nil {
			return kafka.Errorf(kafka.ErrInvalidReplicaAssignment,
				"The manual partition assignment includes broker %d, but no such broker is registered.", id)
		}
		if b.IsCordoned() {
			return kafka.Errorf(kafka.ErrInvalidReplicaAssignment, "The manual partition assignment includes broker %d, but all its log directories are cordoned.", id)
		}
		if i > 0 && sorted[i-1] == id {
			return kafka.Errorf(kafka.ErrInvalidReplicaAssignment, "The manual partition assignment includes the broker %d more than once.", id)
		}
	}
	return nil
}

// checkManual checks the replicas that a client chose for a new partition. replicationFactor is
// that of the partitions before, 0 for the first.
func checkManual(image *metadata.Image, partition int32, replicas []int32, replicationFactor int) error {
	if err := checkReplicas(image, replicas); err != nil {
		return err
	}
	if replicationFactor > 0 && len(replicas) != replicationFactor {
		return kafka.Errorf(kafka.ErrInvalidReplicaAssignment,
			"The manual partition assignment includes a partition with %d replica(s), but this is not consistent with previous partitions, which have %d replica(s).",
			len(replicas), replicationFactor)
	}
	if !slices.ContainsFunc(replicas, func(id int32) bool { return image.Broker(id).Active() }) {
		return kafka.Errorf(kafka.ErrInvalidReplicaAssignment,
			"All brokers specified in the manual partition assignment for partition %d are fenced or in controlled shutdown.", partition)
	}
	return nil
}

// newPartition returns the record of a partition on these replicas, of which one at least is active.
func newPartition(image *metadata.Image, topicID kafka.UUID, id int32, replicas []int32) *metadata.PartitionRecord {
	r := &metadata.PartitionRecord{PartitionID: id, TopicID: topicID, Replicas: replicas,
		ISR: make([]int32, 0, len(replicas))}
	for _, broker := range replicas {
		b := image.Broker(broker)
		if b.Active() {
			r.ISR = append(r.ISR, broker)
		}
		if image.HasDirectories() {
			r.Directories = append(r.Directories, firstDirectory(b))
		}
	}
	r.Leader = r.ISR[0]
	return r
}
