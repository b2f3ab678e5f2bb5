package broker

import (
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/quota"
)

// publishThrottles has this broker copy replicas as fast as the dynamic configs say, on the loader's goroutine.
func (b *broker) publishThrottles(image *metadata.Image, delta *metadata.Delta) {
	c := b.cluster
	if c == nil || c.leaderThrottle == nil {
		return
	}
	isLimitChanged := false
	for _, change := range delta.ChangedConfigs() {
		switch change.Resource.Type {
		case kafka.ConfigResourceBroker:
			isLimitChanged = true
		case kafka.ConfigResourceTopic:
			topic := change.Resource.Name
			configs := image.Config(change.Resource)
			c.leaderThrottle.SetReplicas(topic, throttledReplicas(configs["leader.replication.throttled.replicas"], b.config.NodeID))
			c.followerThrottle.SetReplicas(topic, throttledReplicas(configs["follower.replication.throttled.replicas"], b.config.NodeID))
		}
	}
	if isLimitChanged {
		layers := b.configs.layers(image)
		c.leaderThrottle.SetLimit(dynamicRate(layers, "leader.replication.throttled.rate"))
		c.followerThrottle.SetLimit(dynamicRate(layers, "follower.replication.throttled.rate"))
	}
}

// throttledReplicas reads "*" or pairs of partition:broker, of which it takes those of one broker.
func throttledReplicas(text string, broker int32) quota.ThrottledReplicas {
	text = strings.TrimSpace(text)
	if text == "*" {
		return quota.ThrottledReplicas{All: true}
	}
	var replicas quota.ThrottledReplicas
	for pair := range strings.SplitSeq(text, ",") {
		partition, of, _ := strings.Cut(strings.TrimSpace(pair), ":")
		p, err := strconv.ParseInt(partition, 10, 32)
		if err == nil && of == strconv.Itoa(int(broker)) && !slices.Contains(replicas.Partitions, int32(p)) {
			replicas.Partitions = append(replicas.Partitions, int32(p))
		}
	}
	return replicas
}

func (b *broker) registerThrottles() {
	rate := func(t *quota.Replication) func() float64 {
		return func() float64 { return t.BytesPerSecond(b.clock.Now().UnixMilli()) }
	}
	b.metrics.GaugeFunc("kafka_server_leaderreplication_byte_rate", "Bytes per second that followers fetch here of throttled replicas.", rate(b.cluster.leaderThrottle))
	b.metrics.GaugeFunc("kafka_server_followerreplication_byte_rate", "Bytes per second that this broker fetches of its throttled replicas.", rate(b.cluster.followerThrottle))
}
