package broker

import (
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/quota"
)

// throttles hold back the copying of replicas between brokers: leader what is fetched from this one, follower what it
// fetches, balancer what of that the balancer has it copied.
type throttles struct{ leader, follower, balancer *quota.Replication }

func (b *broker) newThrottles() {
	window := quotaWindow(b.config.ReplicationQuotaSamples, b.config.ReplicationQuotaSampleSeconds)
	b.throttles = throttles{leader: quota.NewReplication(window), follower: quota.NewReplication(window), balancer: quota.NewReplication(copyWindow)}
	b.throttles.balancer.SetLimit(firstCopyRate)
	rate := func(t *quota.Replication) func() float64 {
		return func() float64 { return t.BytesPerSecond(b.clock.Now().UnixMilli()) }
	}
	b.metrics.GaugeFunc("kafka_server_leaderreplication_byte_rate", "Bytes per second that followers fetch here of throttled replicas.", rate(b.throttles.leader))
	b.metrics.GaugeFunc("kafka_server_followerreplication_byte_rate", "Bytes per second that this broker fetches of its throttled replicas.", rate(b.throttles.follower))
	b.metrics.GaugeFunc("moldau_balancer_copy_byte_rate", "Bytes per second that this broker fetches of replicas that the balancer gives it.", rate(b.throttles.balancer))
}

// publishThrottles has this broker copy replicas as fast as the dynamic configs say, on the loader's goroutine.
func (b *broker) publishThrottles(image *metadata.Image, delta *metadata.Delta) {
	isLimitChanged := false
	for _, change := range delta.ChangedConfigs() {
		switch change.Resource.Type {
		case kafka.ConfigResourceBroker:
			isLimitChanged = true
		case kafka.ConfigResourceTopic:
			topic := change.Resource.Name
			configs := image.Config(change.Resource)
			b.throttles.leader.SetReplicas(topic, throttledReplicas(configs["leader.replication.throttled.replicas"], b.config.NodeID))
			b.throttles.follower.SetReplicas(topic, throttledReplicas(configs["follower.replication.throttled.replicas"], b.config.NodeID))
		}
	}
	if isLimitChanged {
		layers := b.configs.layers(image)
		b.throttles.leader.SetLimit(dynamicRate(layers, "leader.replication.throttled.rate"))
		b.throttles.follower.SetLimit(dynamicRate(layers, "follower.replication.throttled.rate"))
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
