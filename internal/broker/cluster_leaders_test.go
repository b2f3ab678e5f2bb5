package broker

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/peer"
)

// TestLeadershipsReturnUnasked: a broker that was stopped leads again what prefers it (auto.leader.rebalance.enable), as often as
// leader.imbalance.check.interval.seconds says.
func TestLeadershipsReturnUnasked(t *testing.T) {
	t.Parallel()
	c := newClusterNodes(t)
	c.prepare = func(_ int, properties map[string]string) func(b *broker) {
		properties["leader.imbalance.check.interval.seconds"] = "1"
		return func(*broker) {}
	}
	c.start(0, 1, 2)
	c.awaitMetadata(0, "three brokers", func(image *metadata.Image) bool { return image.BrokerCount() == 3 && !image.Broker(3).Fenced })
	req := kmsg.NewPtrCreateTopicsRequest()
	req.SetVersion(req.MaxVersion())
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = "t", -1, -1
	topic.ReplicaAssignment = []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Partition: 0, Replicas: []int32{3, 1, 2}}}
	req.Topics = append(req.Topics, topic)
	resp, err := c.running[0].channel.Send(t.Context(), peer.Origin{Principal: "User:ANONYMOUS"}, req)
	if err != nil {
		t.Fatal(err)
	}
	if created := resp.(*kmsg.CreateTopicsResponse).Topics[0]; created.ErrorCode != 0 {
		t.Fatal(kafka.ErrorCode(created.ErrorCode))
	}
	led := func(by int32) func(image *metadata.Image) bool {
		return func(image *metadata.Image) bool { p := image.Partition("t", 0); return p != nil && p.Leader == by }
	}
	c.awaitMetadata(0, "node 3 leads", led(3))
	c.stop(2)
	c.awaitMetadata(0, "node 1 leads while node 3 is away", led(1))
	c.start(2)
	c.awaitMetadata(0, "node 3 leads again", led(3))
}
