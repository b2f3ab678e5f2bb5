package sim

import (
	"github.com/moldau/moldau/internal/group"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/shard"
)

// groupPlane hosts the group coordinator's shards.
type groupPlane struct {
	*plane[*group.Shard]
}

type groupStep = shardStep[*group.Shard]

func newGroupPlane(p *process, registry *metrics.Registry) *groupPlane {
	c, m := groupConfig(), group.NewMetrics(registry)
	return &groupPlane{newPlane(p, kafka.ConsumerOffsetsTopic, func() *group.Shard { return group.NewShard(c, p.random, m) })}
}

func groupConfig() group.Config {
	c := group.DefaultConfig()
	c.InitialRebalanceDelayMs = 300
	// The expiry of empty groups would excuse generations that begin again.
	c.RetentionCheckIntervalMs = producerExpirationMs
	return c
}

// publish follows the metadata, and has the shards forget the offsets of deleted topics.
func (g *groupPlane) publish(image *metadata.Image, delta *metadata.Delta) {
	g.plane.publish(image, delta)
	var deleted []group.DeletedTopic
	for _, topic := range delta.DeletedTopics() {
		deleted = append(deleted, group.DeletedTopic{Name: topic.Name, ID: topic.ID})
	}
	for i := int32(0); len(deleted) > 0 && i < g.count; i++ {
		if h := g.shards[i]; h != nil {
			h.enqueue(func(s *group.Shard, _ shard.Token, nowMs int64) shard.Effects { return s.DeleteTopics(deleted, nowMs) }, nil)
		}
	}
}
