package balancer

import (
	"slices"

	"github.com/moldau/moldau/internal/balance"
	"github.com/moldau/moldau/internal/metadata"
)

// Progress is how many partitions are being moved, and whether there is something that cannot be.
func (b *Balancer) Progress() (moving int, isStalled bool) {
	return len(b.moves), b.state == stateStalled
}

// Status says what the balancer does and why it does no more.
func (b *Balancer) Status(v View, nowMs int64) balance.Status {
	s := balance.Status{State: b.state, Why: b.why, Mode: v.Settings.Mode, Blocked: b.blocked, Pending: b.pending,
		Draining: v.Settings.Draining, Joining: v.Settings.Joining}
	if b.state == "" {
		s.State, s.Why = stateStalled, "the controller has just become active"
	}
	for _, key := range b.underWay() {
		m := b.moves[key]
		moving := balance.Moving{Move: m.Move, Seconds: (nowMs - m.sinceMs) / 1000}
		for _, id := range without(m.To, m.From) {
			if load := b.loads[id]; load != nil {
				moving.CopiedBytes += load.partitions[partitionKey{m.topic, m.Partition}].sizeBytes
			}
		}
		s.Moving = append(s.Moving, moving)
	}
	loads := map[int32]balance.Load{}
	c := b.cluster(v, nowMs)
	for _, load := range balance.Loads(c) {
		loads[load.Broker] = load
	}
	replicas, leaders := counts(v.Image)
	for _, broker := range c.Brokers {
		described := b.brokerStatus(v, broker, loads[broker.ID])
		described.Replicas, described.Leaders = replicas[broker.ID], leaders[broker.ID]
		s.Brokers = append(s.Brokers, described)
	}
	slices.SortFunc(s.Brokers, func(x, y balance.BrokerStatus) int { return int(x.Load.Broker - y.Load.Broker) })
	return s
}

func (b *Balancer) brokerStatus(v View, broker balance.Broker, load balance.Load) balance.BrokerStatus {
	s := balance.BrokerStatus{Load: load, Rack: broker.Rack, State: "active"}
	registered := v.Image.Broker(broker.ID)
	switch {
	case registered == nil:
		s.State = "unregistered"
	case registered.Fenced:
		s.State = "fenced"
	case registered.InControlledShutdown:
		s.State = "stopping"
	}
	s.IsDraining = contains(v.Settings.Draining, broker.ID)
	if load := b.loads[broker.ID]; load != nil {
		for _, volume := range load.volumes {
			s.CapacityBytes, s.UsedBytes = s.CapacityBytes+volume.CapacityBytes, s.UsedBytes+volume.UsedBytes
		}
		if len(b.moves) > 0 {
			s.CopyBytesPerSecond = load.pace.bytesPerSecond
		}
	}
	return s
}

// counts are the replicas and leaderships of brokers at the moment.
func counts(image *metadata.Image) (replicas, leaders map[int32]int64) {
	replicas, leaders = map[int32]int64{}, map[int32]int64{}
	for topic := range image.Topics() {
		for _, p := range topic.Partitions {
			leaders[p.Leader]++
			for _, id := range p.Replicas {
				replicas[id]++
			}
		}
	}
	return replicas, leaders
}

// Propose is what would be moved if the whole cluster were evened out now.
func (b *Balancer) Propose(v View, nowMs int64) balance.Proposal {
	p := balance.Proposal{Why: b.obstacle(v, nowMs)}
	c := b.cluster(v, nowMs)
	p.Plan = balance.New(c, balance.Options{TolerancePercent: v.Settings.TolerancePercent, DiskLimitPercent: v.Settings.DiskLimitPercent,
		Relieve: true, Even: true})
	return p
}
