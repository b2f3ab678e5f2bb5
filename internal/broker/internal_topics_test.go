package broker

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
)

// TestCoordinatorsFollowMaxMessageBytes changes the config of __consumer_offsets while a group
// commits: what fits in a batch is what the log takes.
func TestCoordinatorsFollowMaxMessageBytes(t *testing.T) {
	t.Parallel()
	n := newConfigNode(t, map[string]string{"offsets.topic.num.partitions": "1"})
	n.topic("t", nil)
	commit := func(metadataBytes int) string {
		t.Helper()
		text := fmt.Sprintf("%0*d", metadataBytes, 1)
		r := kmsg.NewPtrOffsetCommitRequest()
		r.Group, r.Generation = "g", -1
		topic := kmsg.NewOffsetCommitRequestTopic()
		topic.Topic, topic.TopicID = "t", n.b.storage.Log(kafka.TopicPartition{Topic: "t"}).TopicID()
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Offset, p.Metadata = 0, &text
		topic.Partitions = append(topic.Partitions, p)
		r.Topics = append(r.Topics, topic)
		code := request[*kmsg.OffsetCommitResponse](n, r).Topics[0].Partitions[0].ErrorCode
		return kafka.ErrorCode(code).Error()
	}
	const none, tooLarge = "NONE", "UNKNOWN_SERVER_ERROR"
	for deadline := time.Now().Add(10 * time.Second); commit(10) != none; { // the first makes the topic
		if time.Now().After(deadline) {
			t.Fatal("offsets cannot be committed")
		}
	}
	check := func(metadataBytes int, want, when string) {
		t.Helper()
		if got := commit(metadataBytes); got != want {
			t.Errorf("%s: %s, want %s", when, got, want)
		}
	}
	set := func(value *string) { n.alter(ofTopic(kafka.ConsumerOffsetsTopic, "max.message.bytes", value)) }
	check(1000, none, "default")
	set(ptr("500"))
	check(1000, tooLarge, "lowered")
	check(100, none, "lowered, and the commit is small")
	set(nil)
	check(1000, none, "as before")
	n.alter(ofCluster("message.max.bytes", ptr("500")))
	check(1000, tooLarge, "lowered for the cluster")
	n.restart(nil)
	check(1000, tooLarge, "lowered for the cluster, after a restart")
	n.alter(ofCluster("message.max.bytes", nil))
	check(1000, none, "the cluster's value is gone")
}
