package controller

import (
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// maxElections bounds the elections of one round, so that requests get their turn in between.
const maxElections = 1000

// BalanceLeaders returns the elections that make preferred replicas leaders which can be, and whether
// there are more of them.
func (c *Controller) BalanceLeaders(in Input) (records []metadata.Record, more bool) {
	return c.electWhere(in, electPreferred, func(p *metadata.Partition, _ topicRules) bool { return p.Leader != p.Replicas[0] })
}

// ElectUncleanLeaders returns the unclean elections of partitions without leader whose topics allow
// them, and whether there are more of them.
func (c *Controller) ElectUncleanLeaders(in Input) (records []metadata.Record, more bool) {
	return c.electWhere(in, electUnclean, func(p *metadata.Partition, rules topicRules) bool { return p.Leader == kafka.NoLeader && rules.unclean })
}

func (c *Controller) electWhere(in Input, how election, want func(*metadata.Partition, topicRules) bool) (records []metadata.Record, more bool) {
	changes := c.changePartitions(in.Image)
	for topic := range in.Image.Topics() {
		rules := changes.rules(topic)
		for _, p := range topic.Partitions {
			if !want(p, rules) {
				continue
			}
			if len(changes.records) == maxElections {
				return changes.records, true
			}
			change := changes.begin(topic, p)
			change.election = how
			changes.add(change)
		}
	}
	return changes.records, false
}
