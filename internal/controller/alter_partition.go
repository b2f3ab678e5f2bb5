package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// firstAlterPartitionWithEpochs is the version of AlterPartition in which the leader says of which
// incarnations it speaks (KIP-903).
const firstAlterPartitionWithEpochs = 3

// alterPartition answers AlterPartition (API key 56): leaders change the in-sync replicas of their
// partitions, and end the recovery after an unclean election.
func (c *Controller) alterPartition(in Input, req *kmsg.AlterPartitionRequest) Result {
	resp := kmsg.NewPtrAlterPartitionResponse()
	resp.Version = req.Version
	if _, err := checkBrokerEpoch(in.Image, req.BrokerID, req.BrokerEpoch); err != nil {
		resp.ErrorCode = int16(kafka.CodeOf(err))
		return Result{Response: resp}
	}
	changes := c.changePartitions(in.Image)
	for i := range req.Topics {
		answer := kmsg.NewAlterPartitionResponseTopic()
		answer.TopidID = req.Topics[i].TopicID
		topic := in.Image.TopicByID(req.Topics[i].TopicID)
		for j := range req.Topics[i].Partitions {
			asked := &req.Topics[i].Partitions[j]
			if req.Version < firstAlterPartitionWithEpochs {
				asked.NewEpochISR = withoutEpochs(asked.NewISR)
			}
			result := kmsg.NewAlterPartitionResponseTopicPartition()
			result.Partition = asked.Partition
			if p, code := changes.alterPartition(req.BrokerID, topic, asked); code != kafka.ErrNone {
				result.ErrorCode = int16(code)
			} else {
				result.LeaderID, result.LeaderEpoch, result.PartitionEpoch = p.Leader, p.LeaderEpoch, p.PartitionEpoch
				result.ISR, result.LeaderRecoveryState = p.ISR, p.LeaderRecoveryState
			}
			answer.Partitions = append(answer.Partitions, result)
		}
		resp.Topics = append(resp.Topics, answer)
	}
	return Result{Response: resp, Records: changes.records, Divisible: true}
}

func withoutEpochs(isr []int32) []kmsg.AlterPartitionRequestTopicPartitionNewEpochISR {
	var members []kmsg.AlterPartitionRequestTopicPartitionNewEpochISR
	for _, id := range isr {
		members = append(members, kmsg.AlterPartitionRequestTopicPartitionNewEpochISR{BrokerID: id, BrokerEpoch: kafka.NoBrokerEpoch})
	}
	return members
}

// alterPartition returns the partition after the change that its leader asks for.
func (s *partitionChanges) alterPartition(leader int32, topic *metadata.Topic, asked *kmsg.AlterPartitionRequestTopicPartition) (*metadata.Partition, kafka.ErrorCode) {
	if topic == nil {
		return nil, kafka.ErrUnknownTopicID
	}
	p := topic.Partition(asked.Partition)
	if p == nil {
		return nil, kafka.ErrUnknownTopicOrPartition
	}
	p = s.partition(topic, p)
	if code := s.checkAlterPartition(leader, topic, p, asked); code != kafka.ErrNone {
		return nil, code
	}
	c := s.begin(topic, p)
	c.to.ISR, c.to.LeaderRecoveryState = nil, asked.LeaderRecoveryState
	for _, member := range asked.NewEpochISR {
		c.to.ISR = append(c.to.ISR, member.BrokerID)
	}
	if asked.LeaderRecoveryState == metadata.DamagedReplica {
		c.renew, c.to.LeaderRecoveryState = true, p.LeaderRecoveryState
		if len(c.to.ISR) == 0 {
			c.to.ISR = p.ISR
		} else {
			c.lost = leader
		}
	}
	after, _ := s.add(c)
	if after.Leader != leader {
		// The change completed a reassignment that takes the leadership from this broker: it hears an
		// error although the change was made, as in Kafka, and waits for the metadata.
		return nil, kafka.ErrNewLeaderElected
	}
	return after, kafka.ErrNone
}

// checkAlterPartition fences leaders that know an older state, or a newer one, since then this controller
// is the one that has been replaced.
func (s *partitionChanges) checkAlterPartition(leader int32, topic *metadata.Topic, p *metadata.Partition, asked *kmsg.AlterPartitionRequestTopicPartition) kafka.ErrorCode {
	var isr []int32
	for _, member := range asked.NewEpochISR {
		isr = append(isr, member.BrokerID)
	}
	isValid := slices.Contains(isr, leader) && containsAll(p.Replicas, isr) && len(slices.Compact(slices.Sorted(slices.Values(isr)))) == len(isr)
	isRecovering := asked.LeaderRecoveryState == metadata.RecoveringLeader
	isDamaged := asked.LeaderRecoveryState == metadata.DamagedReplica
	switch {
	case asked.LeaderEpoch > p.LeaderEpoch || asked.PartitionEpoch > p.PartitionEpoch:
		return kafka.ErrNotController
	case asked.LeaderEpoch < p.LeaderEpoch:
		return kafka.ErrFencedLeaderEpoch
	case p.Leader != leader && !isDamaged:
		return kafka.ErrInvalidRequest
	case asked.PartitionEpoch < p.PartitionEpoch:
		return kafka.ErrInvalidUpdateVersion
	case isDamaged:
		return s.checkDamaged(leader, topic, p, isr)
	case !isValid, !isRecovering && asked.LeaderRecoveryState != metadata.RecoveredLeader:
		return kafka.ErrInvalidRequest
	case isRecovering && (len(isr) > 1 || p.LeaderRecoveryState == metadata.RecoveredLeader):
		return kafka.ErrInvalidRequest
	}
	for _, member := range asked.NewEpochISR {
		b := s.broker(member.BrokerID)
		if b == nil || !b.Active() || b.HasFailedDirectory(p) || member.BrokerEpoch != kafka.NoBrokerEpoch && member.BrokerEpoch != b.Epoch {
			return kafka.ErrIneligibleReplica
		}
	}
	return kafka.ErrNone
}

// checkDamaged lets a replica have another leader epoch that wants to cut off damaged data: Moldau's own use of AlterPartition. A leader that names
// no in-sync replicas says that none of it is committed. Any other names the in-sync replicas without itself: it will
// lose records that were acknowledged, so enough others must have them, one of whom can lead.
func (s *partitionChanges) checkDamaged(broker int32, topic *metadata.Topic, p *metadata.Partition, isr []int32) kafka.ErrorCode {
	c := s.begin(topic, p)
	switch {
	case p.Leader == broker && len(isr) == 0:
		return kafka.ErrNone
	case !slices.Contains(p.Replicas, broker) || !slices.Equal(isr, without(p.ISR, broker)):
		return kafka.ErrInvalidRequest
	case len(isr) < kafka.EffectiveMinISR(c.minISR, len(p.Replicas)-len(p.AddingReplicas)) || !slices.ContainsFunc(isr, c.mayLead):
		return kafka.ErrIneligibleReplica
	}
	return kafka.ErrNone
}
