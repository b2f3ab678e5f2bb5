package replica_test

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// controller is a scripted one, which keeps the rules of KIP-966. Its log is committed at once, and reaches the nodes
// in order, some late.
type controller struct {
	c       *cluster
	log     [][]metadata.Record
	epochs  map[int32]int64 // of the brokers that are registered and not dead
	fenced  map[int32]bool
	next    int64
	topicID kafka.UUID
	state   []*metadata.PartitionRecord
}

func newController(c *cluster) *controller {
	k := &controller{c: c, epochs: map[int32]int64{}, fenced: map[int32]bool{}, next: 10, topicID: kafka.UUID{7, 7}}
	records := []metadata.Record{&metadata.TopicRecord{Name: topicName, TopicID: k.topicID}}
	for i := range int32(partitionCount) {
		replicas := []int32{1 + i%nodeCount, 1 + (i+1)%nodeCount, 1 + (i+2)%nodeCount}
		p := &metadata.PartitionRecord{PartitionID: i, TopicID: k.topicID, Replicas: replicas, ISR: slices.Clone(replicas), Leader: kafka.NoLeader, Directories: make([]kafka.UUID, nodeCount)}
		k.state = append(k.state, p)
		records = append(records, snapshot(p))
	}
	k.log = append(k.log, records)
	return k
}

// snapshot is a record of what a partition is now.
func snapshot(p *metadata.PartitionRecord) *metadata.PartitionRecord {
	r := *p
	r.ISR, r.EligibleLeaderReplicas = slices.Clone(p.ISR), slices.Clone(p.EligibleLeaderReplicas)
	return &r
}

// commit writes what has changed.
func (k *controller) commit(records ...metadata.Record) {
	if len(records) == 0 {
		return
	}
	k.log = append(k.log, records)
	for _, n := range k.c.nodes {
		n.hear(len(k.log))
	}
}

// change lets f change every partition, elects leaders where there are none, and commits it after first.
func (k *controller) change(first []metadata.Record, f func(p *metadata.PartitionRecord) (changed bool)) {
	for _, p := range k.state {
		changed := f(p)
		if k.elect(p) || changed {
			p.PartitionEpoch++
			first = append(first, snapshot(p))
			k.c.note("controller: partition %d leader %d epoch %d isr %v elr %v partition epoch %d", p.PartitionID, p.Leader, p.LeaderEpoch, p.ISR, p.EligibleLeaderReplicas, p.PartitionEpoch)
		}
	}
	k.commit(first...)
}

func (k *controller) mayLead(id int32) bool { return k.epochs[id] != 0 && !k.fenced[id] }

func (k *controller) elect(p *metadata.PartitionRecord) bool {
	if p.Leader != kafka.NoLeader {
		return false
	}
	for _, from := range [][]int32{p.ISR, p.EligibleLeaderReplicas} {
		for _, id := range from {
			if k.mayLead(id) {
				p.Leader, p.LeaderEpoch = id, p.LeaderEpoch+1
				if !slices.Contains(p.ISR, id) {
					p.ISR = append(p.ISR, id)
				}
				p.EligibleLeaderReplicas = without(p.EligibleLeaderReplicas, id)
				return true
			}
		}
	}
	return false
}

func without(ids []int32, id int32) []int32 {
	return slices.DeleteFunc(slices.Clone(ids), func(other int32) bool { return other == id })
}

// register takes a broker in, fenced. Whoever may have lost data leaves the ISR and the eligible leaders; a killed process has
// lost nothing.
func (k *controller) register(id int32, hasLost bool) int64 {
	k.next++
	k.epochs[id], k.fenced[id] = k.next, true
	rack := "r"
	k.change([]metadata.Record{&metadata.RegisterBrokerRecord{BrokerID: id, BrokerEpoch: k.next, Fenced: true, Rack: &rack,
		Endpoints: []metadata.Endpoint{{Name: "PLAINTEXT", Host: "h", Port: 9092}}}},
		func(p *metadata.PartitionRecord) bool { return hasLost && k.remove(p, id, false) })
	return k.next
}

func (k *controller) unfence(id int32, epoch int64) {
	if k.epochs[id] != epoch || !k.fenced[id] {
		return
	}
	k.fenced[id] = false
	k.change([]metadata.Record{&metadata.BrokerRegistrationChangeRecord{BrokerID: id, BrokerEpoch: epoch, Fenced: -1}}, func(*metadata.PartitionRecord) bool { return false })
}

func (k *controller) fence(id int32) {
	epoch := k.epochs[id]
	delete(k.epochs, id)
	k.fenced[id] = true
	k.change([]metadata.Record{&metadata.BrokerRegistrationChangeRecord{BrokerID: id, BrokerEpoch: epoch, Fenced: 1}},
		func(p *metadata.PartitionRecord) bool { return k.remove(p, id, true) })
}

// remove takes a replica out of the ISR. Below the minimum it stays eligible, if it may have everything that was committed: the
// high watermark does not move then.
func (k *controller) remove(p *metadata.PartitionRecord, id int32, keepsData bool) bool {
	isr, elr := without(p.ISR, id), p.EligibleLeaderReplicas
	switch {
	case !keepsData:
		elr = without(elr, id)
	case len(isr) < len(p.ISR) && len(isr) < minInSync:
		elr = append(slices.Clone(elr), id)
	}
	changed := len(isr) != len(p.ISR) || len(elr) != len(p.EligibleLeaderReplicas) || p.Leader == id
	p.ISR, p.EligibleLeaderReplicas = isr, elr
	if p.Leader == id {
		p.Leader = kafka.NoLeader
	}
	return changed
}

// move gives the leadership to another in-sync replica, as a preferred election does.
func (k *controller) move() {
	chosen := k.state[k.c.random.IntN(len(k.state))]
	k.change(nil, func(p *metadata.PartitionRecord) bool {
		if p != chosen || p.Leader == kafka.NoLeader {
			return false
		}
		to := p.ISR[k.c.random.IntN(len(p.ISR))]
		if to == p.Leader || !k.mayLead(to) {
			return false
		}
		p.Leader, p.LeaderEpoch = to, p.LeaderEpoch+1
		k.c.count["moved"]++
		return true
	})
}

// alter answers AlterPartition.
func (k *controller) alter(r *kmsg.AlterPartitionRequest) *kmsg.AlterPartitionResponse {
	response := kmsg.NewPtrAlterPartitionResponse()
	if k.epochs[r.BrokerID] != r.BrokerEpoch {
		response.ErrorCode = int16(kafka.ErrStaleBrokerEpoch)
		return response
	}
	for _, t := range r.Topics {
		out := kmsg.NewAlterPartitionResponseTopic()
		out.TopidID = t.TopicID
		for _, wanted := range t.Partitions {
			answer := kmsg.NewAlterPartitionResponseTopicPartition()
			answer.Partition, answer.ErrorCode = wanted.Partition, int16(k.alterOne(r.BrokerID, &wanted))
			out.Partitions = append(out.Partitions, answer)
		}
		response.Topics = append(response.Topics, out)
	}
	return response
}

func (k *controller) alterOne(from int32, wanted *kmsg.AlterPartitionRequestTopicPartition) kafka.ErrorCode {
	state := k.state[wanted.Partition]
	var isr []int32
	for _, m := range wanted.NewEpochISR {
		isr = append(isr, m.BrokerID)
	}
	isDamaged := wanted.LeaderRecoveryState == metadata.DamagedReplica
	givesUp, renews := isDamaged && slices.Equal(isr, without(state.ISR, from)), isDamaged && state.Leader == from && len(isr) == 0
	switch {
	case wanted.LeaderEpoch != state.LeaderEpoch || state.Leader != from && !givesUp:
		return kafka.ErrFencedLeaderEpoch
	case wanted.PartitionEpoch != state.PartitionEpoch:
		return kafka.ErrInvalidUpdateVersion
	case renews:
		k.change(nil, func(p *metadata.PartitionRecord) bool {
			if p == state {
				p.LeaderEpoch++
				k.c.count["renewed"]++
			}
			return p == state
		})
		return kafka.ErrNone
	case givesUp && (len(isr) < minInSync || !slices.ContainsFunc(isr, k.mayLead)):
		return kafka.ErrIneligibleReplica
	case givesUp:
		k.giveUp(state, from)
		return kafka.ErrNone
	}
	isr = nil
	for _, m := range wanted.NewEpochISR {
		if !k.mayLead(m.BrokerID) || m.BrokerEpoch != kafka.NoBrokerEpoch && m.BrokerEpoch != k.epochs[m.BrokerID] {
			return kafka.ErrIneligibleReplica
		}
		isr = append(isr, m.BrokerID)
	}
	k.change(nil, func(p *metadata.PartitionRecord) bool {
		if p != state {
			return false
		}
		for _, id := range p.ISR {
			if !slices.Contains(isr, id) && len(isr) < minInSync {
				p.EligibleLeaderReplicas = append(slices.Clone(p.EligibleLeaderReplicas), id)
			}
		}
		if len(isr) >= minInSync {
			p.EligibleLeaderReplicas = nil
		}
		p.ISR = isr
		return true
	})
	k.c.count["isr change"]++
	return kafka.ErrNone
}

// giveUp lets a replica go that is damaged. Whatever it has said before does not count in the new epoch.
func (k *controller) giveUp(state *metadata.PartitionRecord, from int32) {
	k.change(nil, func(p *metadata.PartitionRecord) bool {
		if p != state {
			return false
		}
		k.remove(p, from, false)
		if p.Leader != kafka.NoLeader {
			p.LeaderEpoch++
		}
		return true
	})
	k.c.count["gave up"]++
}
