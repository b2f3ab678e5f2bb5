package balancer

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/balance"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

func contains(ids []int32, id int32) bool { return slices.Contains(ids, id) }

// watchAbsent notes since when brokers are absent, and plans anew where one goes or comes.
func (b *Balancer) watchAbsent(v View, nowMs int64) {
	for broker := range v.Image.Brokers() {
		_, isAbsent := b.absentMs[broker.ID]
		switch {
		case isAbsent && broker.Active():
			delete(b.absentMs, broker.ID)
			b.nextPlanMs = 0
		case !isAbsent && !broker.Active():
			b.absentMs[broker.ID] = nowMs
			b.nextPlanMs = 0
		}
	}
	for id := range b.absentMs {
		if v.Image.Broker(id) == nil {
			delete(b.absentMs, id)
		}
	}
}

// stateOf says what may be done with a broker; nil is one that was unregistered and still has replicas.
func (b *Balancer) stateOf(v View, id int32, broker *metadata.Broker, nowMs int64) balance.State {
	isDraining := contains(v.Settings.Draining, id)
	switch {
	case broker != nil && broker.Active() && isDraining:
		return balance.Leaving
	case broker != nil && broker.Active():
		return balance.Active
	case isDraining && (broker == nil || broker.Fenced):
		return balance.Gone
	case v.Settings.Mode == config.BalancerOff:
		return balance.Absent
	case broker == nil:
		return balance.Gone
	}
	since, known := b.absentMs[id]
	if timeout := v.Settings.DeadBrokerTimeoutMs; known && timeout >= 0 && broker.Fenced && nowMs-since >= timeout {
		return balance.Gone
	}
	return balance.Absent
}

// cluster describes the cluster to the planner.
func (b *Balancer) cluster(v View, nowMs int64) balance.Cluster {
	var c balance.Cluster
	states := map[int32]balance.State{}
	other := b.otherBytes()
	for broker := range v.Image.Brokers() {
		described := balance.Broker{ID: broker.ID, State: b.stateOf(v, broker.ID, broker, nowMs), IsCordoned: broker.IsCordoned(), Volumes: other[broker.ID]}
		if broker.Rack != nil {
			described.Rack = *broker.Rack
		}
		states[broker.ID] = described.State
		c.Brokers = append(c.Brokers, described)
	}
	for topic := range v.Image.Topics() {
		for _, p := range topic.Partitions {
			for _, id := range p.Replicas {
				if _, known := states[id]; !known {
					states[id] = b.stateOf(v, id, nil, nowMs)
					c.Brokers = append(c.Brokers, balance.Broker{ID: id, State: states[id]})
				}
			}
			c.Partitions = append(c.Partitions, b.partition(topic, p, states))
		}
	}
	return c
}

// otherBytes are the volumes of brokers, with what is used there by anything but the replicas that the
// broker has reported with it. So what is planned counts at once, and not with the next report.
func (b *Balancer) otherBytes() map[int32][]balance.Volume {
	all := map[int32][]balance.Volume{}
	for id, load := range b.loads {
		volumes := make([]balance.Volume, len(load.volumes))
		for i, volume := range load.volumes {
			volumes[i] = balance.Volume{CapacityBytes: volume.CapacityBytes, OtherBytes: volume.UsedBytes}
		}
		for _, p := range load.partitions {
			if int(p.volume) < len(volumes) && p.volume >= 0 {
				volumes[p.volume].OtherBytes -= p.sizeBytes
			}
		}
		for i := range volumes {
			volumes[i].OtherBytes = max(volumes[i].OtherBytes, 0)
		}
		all[id] = volumes
	}
	return all
}

// partition describes a partition as it will be when what is under way has ended. One of which a replica
// is missing that could be there is left alone.
func (b *Balancer) partition(topic *metadata.Topic, p *metadata.Partition, states map[int32]balance.State) balance.Partition {
	described := balance.Partition{Topic: topic.Name, ID: p.ID, Leader: p.Leader, IsMoving: p.IsReassigning() || p.Leader == kafka.NoLeader}
	key := partitionKey{topic.ID, p.ID}
	for _, id := range p.Replicas {
		state := states[id]
		if !contains(p.ISR, id) && state != balance.Gone && !contains(p.AddingReplicas, id) {
			described.IsMoving = true
		}
		if contains(p.RemovingReplicas, id) {
			continue
		}
		volume := int8(-1)
		if load := b.loads[id]; load != nil {
			if known, ok := load.partitions[key]; ok {
				volume = known.volume
				if id == p.Leader || p.Leader == kafka.NoLeader {
					described.SizeBytes, described.BytesPerSecond = known.sizeBytes, known.bytesPerSecond
				}
				described.SizeBytes = max(described.SizeBytes, known.sizeBytes)
			}
		}
		described.Replicas, described.Volumes = append(described.Replicas, id), append(described.Volumes, volume)
	}
	if contains(p.RemovingReplicas, p.Leader) {
		if load := b.loads[p.Leader]; load != nil {
			described.SizeBytes = max(described.SizeBytes, load.partitions[key].sizeBytes)
			described.BytesPerSecond = load.partitions[key].bytesPerSecond
		}
	}
	return described
}

// obstacle says why nothing may be moved at present, "" if something may.
func (b *Balancer) obstacle(v View, nowMs int64) string {
	var unheard, absent []string
	brokers, away := 0, 0
	holds := holders(v.Image)
	for broker := range v.Image.Brokers() {
		if broker.Active() || holds[broker.ID] { // nobody waits for the others
			brokers++
		}
		if !broker.Active() && holds[broker.ID] {
			away++
		}
		switch state := b.stateOf(v, broker.ID, broker, nowMs); {
		case state == balance.Absent && !holds[broker.ID]:
		case state == balance.Absent:
			absent = append(absent, fmt.Sprint(broker.ID))
		case state != balance.Gone && !b.isHeard(broker, nowMs):
			unheard = append(unheard, fmt.Sprint(broker.ID))
		}
	}
	switch {
	case brokers == 1:
		return "there is one broker only"
	case 2*away >= brokers:
		return fmt.Sprintf("%d of %d brokers are not there", away, brokers)
	case len(absent) > 0:
		return fmt.Sprintf("broker %s is not there: bring it back, or drain it to have its replicas made anew elsewhere%s", strings.Join(absent, ", nor is "), b.patience(v))
	case len(unheard) > 0:
		return fmt.Sprintf("broker %s has not reported its load yet", unheard[0])
	}
	for topic := range v.Image.Topics() {
		minISR := -1
		for _, p := range topic.Partitions {
			if p.IsReassigning() && !p.Balancing {
				return fmt.Sprintf("%s-%d is being reassigned by somebody else: wait until that has ended, or cancel it", topic.Name, p.ID)
			}
			if len(p.ISR) == len(p.Replicas) {
				continue
			}
			if minISR < 0 {
				minISR = v.MinISR(topic)
			}
			if missing := b.missing(v, p, nowMs); missing != "" && len(p.ISR) < kafka.EffectiveMinISR(minISR, len(p.Replicas)-len(p.AddingReplicas)) {
				return fmt.Sprintf("%s-%d has fewer replicas in sync than min.insync.replicas: broker %s does not follow", topic.Name, p.ID, missing)
			}
		}
	}
	return ""
}

// holders are the brokers that have replicas, not counting those that are on their way to them.
func holders(image *metadata.Image) map[int32]bool {
	all := map[int32]bool{}
	for topic := range image.Topics() {
		for _, p := range topic.Partitions {
			for _, id := range p.Replicas {
				if !contains(p.AddingReplicas, id) {
					all[id] = true
				}
			}
		}
	}
	return all
}

func (b *Balancer) isHeard(broker *metadata.Broker, nowMs int64) bool {
	load := b.loads[broker.ID]
	return load != nil && load.isComplete && load.epoch == broker.Epoch && nowMs-load.atMs < staleReportMs
}

func (b *Balancer) patience(v View) string {
	if v.Settings.DeadBrokerTimeoutMs < 0 || v.Settings.Mode == config.BalancerOff {
		return ""
	}
	return fmt.Sprintf(" (done without being asked after %d s, moldau.balancer.dead.broker.timeout.ms)", v.Settings.DeadBrokerTimeoutMs/1000)
}

// missing is a replica that is not in sync on a broker that is expected to have it so.
func (b *Balancer) missing(v View, p *metadata.Partition, nowMs int64) string {
	for _, id := range p.Replicas {
		if !contains(p.ISR, id) && !contains(p.AddingReplicas, id) && b.stateOf(v, id, v.Image.Broker(id), nowMs) != balance.Gone {
			return fmt.Sprint(id)
		}
	}
	return ""
}
