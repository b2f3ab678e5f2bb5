package controller

import (
	"slices"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// maxPartitionsPerRequest is Kafka's bound on what one request may create.
const maxPartitionsPerRequest = 10_000

// placer stripes replicas over the brokers: leaders round-robin from a random start, followers at
// a shift that grows with every round, so that a broker's followers spread. Brokers that
// are fenced get replicas only where there are too few others.
type placer struct {
	image      *metadata.Image
	active     []int32
	fenced     []int32
	registered int
	start      uint64
	shift      uint64
}

func newPlacer(image *metadata.Image, random env.Random) *placer {
	p := &placer{image: image}
	for b := range image.Brokers() {
		p.registered++
		if b.Active() {
			p.active = append(p.active, b.ID)
		} else {
			p.fenced = append(p.fenced, b.ID)
		}
	}
	if len(p.active) > 1 {
		p.start, p.shift = random.Uint64()>>1, random.Uint64()>>1
	}
	return p
}

// check returns an error unless partitions with replicationFactor replicas can be placed.
func (p *placer) check(replicationFactor int16) error {
	switch {
	case len(p.active) == 0:
		return kafka.Errorf(kafka.ErrInvalidReplicationFactor,
			"Unable to replicate the partition %d time(s): no broker is there that is neither fenced nor shutting down.", replicationFactor)
	case int(replicationFactor) > p.registered:
		return kafka.Errorf(kafka.ErrInvalidReplicationFactor,
			"Unable to replicate the partition %d time(s): The target replication factor of %d cannot be reached because only %d broker(s) are registered.",
			replicationFactor, replicationFactor, p.registered)
	}
	return nil
}

// place returns the replicas of the n-th partition placed, the preferred leader first.
func (p *placer) place(n int, replicationFactor int16) []int32 {
	count := uint64(len(p.active))
	first := (p.start + uint64(n)) % count
	shift := p.shift + uint64(n)/count
	replicas := []int32{p.active[first]}
	for j := uint64(0); len(replicas) < int(replicationFactor) && j+1 < count; j++ {
		replicas = append(replicas, p.active[(first+1+(shift+j)%(count-1))%count])
	}
	for i := 0; len(replicas) < int(replicationFactor); i++ {
		replicas = append(replicas, p.fenced[i])
	}
	return replicas
}

// checkManual checks the replicas that a client chose for one partition. replicationFactor is
// that of the partitions before, 0 for the first.
func checkManual(image *metadata.Image, partition int32, replicas []int32, replicationFactor int) error {
	if len(replicas) == 0 {
		return kafka.Errorf(kafka.ErrInvalidReplicaAssignment, "The manual partition assignment includes an empty replica list.")
	}
	sorted := slices.Sorted(slices.Values(replicas))
	active := false
	for i, id := range sorted {
		b := image.Broker(id)
		if b == nil {
			return kafka.Errorf(kafka.ErrInvalidReplicaAssignment,
				"The manual partition assignment includes broker %d, but no such broker is registered.", id)
		}
		if i > 0 && sorted[i-1] == id {
			return kafka.Errorf(kafka.ErrInvalidReplicaAssignment, "The manual partition assignment includes the broker %d more than once.", id)
		}
		active = active || b.Active()
	}
	if replicationFactor > 0 && len(replicas) != replicationFactor {
		return kafka.Errorf(kafka.ErrInvalidReplicaAssignment,
			"The manual partition assignment includes a partition with %d replica(s), but this is not consistent with previous partitions, which have %d replica(s).",
			len(replicas), replicationFactor)
	}
	if !active {
		return kafka.Errorf(kafka.ErrInvalidReplicaAssignment,
			"All brokers specified in the manual partition assignment for partition %d are fenced or in controlled shutdown.", partition)
	}
	return nil
}

// newPartition returns the record of a partition on these replicas, of which one at least is active.
func newPartition(image *metadata.Image, topicID kafka.UUID, id int32, replicas []int32) *metadata.PartitionRecord {
	r := &metadata.PartitionRecord{PartitionID: id, TopicID: topicID, Replicas: replicas,
		ISR: make([]int32, 0, len(replicas)), Directories: make([]kafka.UUID, len(replicas))}
	for i, broker := range replicas {
		b := image.Broker(broker)
		if b.Active() {
			r.ISR = append(r.ISR, broker)
		}
		// With several log dirs the broker chooses, and tells later.
		r.Directories[i] = kafka.DirectoryUnassigned
		if len(b.LogDirs) == 1 {
			r.Directories[i] = b.LogDirs[0]
		}
	}
	r.Leader = r.ISR[0]
	return r
}
