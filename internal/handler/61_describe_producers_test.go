package handler

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
)

func TestDescribeProducers(t *testing.T) {
	f := newTxnPlane(t)
	f.create("secret", 1)
	f.denied[security.Topic("secret")] = true
	p := f.init("x")
	f.mustWrite("x", p, "t", 0, 0)
	f.mustWrite("x", p, "t", 0, 1)
	describe := func(topic string, partition int32) kmsg.DescribeProducersResponseTopicPartition {
		t.Helper()
		req := kmsg.NewPtrDescribeProducersRequest()
		req.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: topic, Partitions: []int32{partition}}}
		return ask[*kmsg.DescribeProducersResponse](f, 0, req).Topics[0].Partitions[0]
	}
	open := describe("t", 0)
	if len(open.ActiveProducers) != 1 || open.ErrorCode != 0 {
		t.Fatalf("%+v", open)
	}
	if a := open.ActiveProducers[0]; a.ProducerID != p.ID || a.ProducerEpoch != int32(p.Epoch) || a.LastSequence != 1 || a.CurrentTxnStartOffset != 0 || a.CoordinatorEpoch != -1 || a.LastTimestamp <= 0 {
		t.Errorf("%+v", a)
	}
	f.mustEnd("x", p, true)
	if a := describe("t", 0).ActiveProducers[0]; a.CurrentTxnStartOffset != -1 || a.CoordinatorEpoch != 0 || a.ProducerEpoch != int32(p.Epoch)+1 || a.LastSequence != -1 {
		t.Errorf("ended: %+v", a)
	}
	if idle := describe("t", 1); idle.ErrorCode != 0 || len(idle.ActiveProducers) != 0 {
		t.Errorf("%+v", idle)
	}
	for topic, want := range map[string]kafka.ErrorCode{"nope": kafka.ErrUnknownTopicOrPartition, "": kafka.ErrInvalidTopicException, "a/b": kafka.ErrInvalidTopicException, "secret": kafka.ErrTopicAuthorizationFailed} {
		wantCode(t, topic, describe(topic, 0).ErrorCode, want)
	}
	for _, partition := range []int32{-1, 2} {
		wantCode(t, "partition", describe("t", partition).ErrorCode, kafka.ErrUnknownTopicOrPartition)
	}
}
