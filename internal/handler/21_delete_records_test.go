package handler

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/security"
)

func TestDeleteRecords(t *testing.T) {
	t.Parallel()
	d := newDataPlane(t)
	h := &DeleteRecords{Replicas: d.replicas, Metadata: d.replicas.Image, Authorizer: d}
	d.create("t", 1, 1)
	d.create("secret", 1, 1)
	d.create("remote", 1, 2)
	d.create(kafka.ConsumerOffsetsTopic, 1, 1)
	d.denied[security.Topic("secret")] = true
	d.doProduce(withProduce(newProduceRequest(9, 1), "t", 0, records(t, -1, "a", "b", "c", "d")))
	remove := func(version int16, topic string, partition int32, offset int64) kmsg.DeleteRecordsResponseTopicPartition {
		req := kmsg.NewPtrDeleteRecordsRequest()
		req.SetVersion(version)
		req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: partition, Offset: offset}}}}
		return answerOf[*kmsg.DeleteRecordsResponse](d, h, req).Topics[0].Partitions[0]
	}
	for _, c := range []struct {
		name      string
		version   int16
		topic     string
		partition int32
		offset    int64
		want      kafka.ErrorCode
		low       int64
	}{
		{"forward", 0, "t", 0, 2, 0, 2},
		{"never back", 1, "t", 0, 1, 0, 2},
		{"above the high watermark", 2, "t", 0, 5, kafka.ErrOffsetOutOfRange, -1},
		{"negative", 2, "t", 0, -2, kafka.ErrOffsetOutOfRange, -1},
		{"unknown topic", 2, "nope", 0, 0, kafka.ErrUnknownTopicOrPartition, -1},
		{"unknown partition", 2, "t", 7, 0, kafka.ErrUnknownTopicOrPartition, -1},
		{"not allowed", 2, "secret", 0, 0, kafka.ErrTopicAuthorizationFailed, -1},
		{"led elsewhere", 2, "remote", 0, 0, kafka.ErrNotLeaderOrFollower, -1},
		{"internal topic", 2, kafka.ConsumerOffsetsTopic, 0, 0, kafka.ErrInvalidTopicException, -1},
	} {
		got := remove(c.version, c.topic, c.partition, c.offset)
		if kafka.ErrorCode(got.ErrorCode) != c.want || got.LowWatermark != c.low || got.Partition != c.partition {
			t.Errorf("%s: %v, low watermark %d; want %v, %d", c.name, kafka.ErrorCode(got.ErrorCode), got.LowWatermark, c.want, c.low)
		}
	}
	// Lookups stay at or above the new start, the maximum timestamp too (Kafka's does not).
	for _, timestamp := range []int64{kafka.EarliestTimestamp, 0, kafka.MaxTimestamp} {
		if got := listOffset(d, 11, "t", 0, timestamp, -1); got.ErrorCode != 0 || got.Offset < 2 {
			t.Errorf("offset for %d is %d (%v), below the log start 2", timestamp, got.Offset, kafka.ErrorCode(got.ErrorCode))
		}
	}
	if got := remove(2, "t", 0, -1); got.ErrorCode != 0 || got.LowWatermark != 4 {
		t.Errorf("to the high watermark: %v, low watermark %d", kafka.ErrorCode(got.ErrorCode), got.LowWatermark)
	}
	if got := listOffset(d, 11, "t", 0, kafka.MaxTimestamp, -1); got.ErrorCode != 0 || got.Offset != -1 {
		t.Errorf("maximum timestamp of a log without records: offset %d", got.Offset)
	}
}

func TestDeleteRecordsRefusesCompactedTopics(t *testing.T) {
	t.Parallel()
	for _, alsoDelete := range []bool{false, true} {
		d := newDataPlane(t)
		d.config.Compact, d.config.Delete = true, alsoDelete
		d.create("t", 1, 1)
		h := &DeleteRecords{Replicas: d.replicas, Metadata: func() *metadata.Image { return d.replicas.Image() }, Authorizer: d}
		req := kmsg.NewPtrDeleteRecordsRequest()
		req.SetVersion(2)
		req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: "t", Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: 0}}}}
		want := kafka.ErrPolicyViolation
		if alsoDelete {
			want = kafka.ErrNone
		}
		if got := answerOf[*kmsg.DeleteRecordsResponse](d, h, req).Topics[0].Partitions[0]; kafka.ErrorCode(got.ErrorCode) != want {
			t.Errorf("delete %v: %v, want %v", alsoDelete, kafka.ErrorCode(got.ErrorCode), want)
		}
	}
}
