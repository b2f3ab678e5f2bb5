package controller

import (
	"cmp"
	"slices"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// maxGrowing bounds the partitions of a topic that are copied at a time.
const maxGrowing = 10

// growingTopics are those that the cluster made for itself, maybe while it was smaller, and the
// configs that say how many replicas an operator wants of them.
var growingTopics = []struct{ topic, config string }{
	{kafka.ConsumerOffsetsTopic, "offsets.topic.replication.factor"},
	{kafka.TransactionStateTopic, "transaction.state.log.replication.factor"},
}

// GrowInternalTopics returns the reassignments that give internal topics the replicas that the cluster has
// brokers for by now, so that the first node of a cluster is not for ever the only one with the groups' offsets.
func (c *Controller) GrowInternalTopics(in Input) []metadata.Record {
	changes := c.changePartitions(in.Image)
	place := newPlacer(in.Image, in.Random, c.BalancerSettings(in.Image).Draining)
	target := min(config.MaxDefaultReplicas, len(place.active))
	for _, growing := range growingTopics {
		if topic := in.Image.TopicByName(growing.topic); topic != nil && !c.o.Broker.Explicit(growing.config) {
			changes.grow(topic, place, target)
		}
	}
	return changes.records
}

func (s *partitionChanges) grow(topic *metadata.Topic, place *placer, target int) {
	load, leads, underWay := map[int32]int{}, map[int32]int{}, 0
	for _, p := range topic.Partitions {
		leads[p.Replicas[0]]++
		for _, id := range p.Replicas {
			load[id]++
		}
		if p.IsReassigning() {
			underWay++
		}
	}
	for _, p := range topic.Partitions {
		if underWay == maxGrowing {
			return
		}
		if len(p.Replicas) >= target || p.IsReassigning() || p.Leader == kafka.NoLeader {
			continue
		}
		candidates := without(place.active, p.Replicas...)
		slices.SortStableFunc(candidates, func(a, b int32) int { return cmp.Compare(load[a], load[b]) })
		change := s.begin(topic, p)
		change.to.Replicas = place.spread(slices.Clone(p.Replicas), candidates, target)
		change.to.Balancing = true
		change.to.AddingReplicas = without(change.to.Replicas, p.Replicas...)
		// The one that is preferred least often is from now on, so that not all stay with the first broker.
		leads[p.Replicas[0]]--
		slices.SortStableFunc(change.to.Replicas, func(a, b int32) int { return cmp.Compare(leads[a], leads[b]) })
		leads[change.to.Replicas[0]]++
		for _, id := range change.to.AddingReplicas {
			load[id]++
		}
		if _, changed := s.add(change); changed {
			underWay++
		}
	}
}
