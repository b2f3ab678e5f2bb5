package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/replica"
	"github.com/moldau/moldau/internal/security"
)

// DescribeProducers shows the idempotent producers that partitions know (API key 61).
type DescribeProducers struct {
	Replicas   *replica.Manager
	Metadata   func() *metadata.Image
	Authorizer security.Authorizer
}

// Handle answers every partition.
func (h *DescribeProducers) Handle(_ context.Context, r *Request) Reply {
	req, resp := r.Body.(*kmsg.DescribeProducersRequest), kmsg.NewPtrDescribeProducersResponse()
	access := topicAccess{h.Metadata(), h.Authorizer, r.Conn, security.OperationRead}
	for _, topic := range req.Topics {
		answer := kmsg.DescribeProducersResponseTopic{Topic: topic.Topic}
		refusal := kafka.ValidateTopicName(topic.Topic)
		if refusal == nil {
			if _, code := access.byName(topic.Topic); code != kafka.ErrNone {
				refusal = kafka.Errorf(code, "this server does not host this topic, or the client may not see it")
			}
		}
		for _, p := range topic.Partitions {
			described := kmsg.NewDescribeProducersResponseTopicPartition()
			described.Partition = p
			if err := refusal; err != nil {
				described.ErrorCode, described.ErrorMessage = int16(kafka.CodeOf(err)), kafka.MessageOf(err)
			} else if err := h.describe(kafka.TopicPartition{Topic: topic.Topic, Partition: p}, &described); err != nil {
				described.ErrorCode, described.ErrorMessage = int16(kafka.CodeOf(err)), kafka.MessageOf(err)
			}
			answer.Partitions = append(answer.Partitions, described)
		}
		resp.Topics = append(resp.Topics, answer)
	}
	return Respond(resp)
}

func (h *DescribeProducers) describe(tp kafka.TopicPartition, out *kmsg.DescribeProducersResponseTopicPartition) error {
	rep, err := h.Replicas.Lookup(tp)
	if err != nil {
		return err
	}
	if err := rep.CheckLeader(kafka.NoLeaderEpoch); err != nil {
		return err
	}
	for _, e := range rep.Log().Producers() {
		out.ActiveProducers = append(out.ActiveProducers, kmsg.DescribeProducersResponseTopicPartitionActiveProducer{
			ProducerID: e.ProducerID, ProducerEpoch: int32(e.Epoch), LastSequence: e.LastSequence(), LastTimestamp: e.LastTimestampMs,
			CoordinatorEpoch: e.CoordinatorEpoch, CurrentTxnStartOffset: e.TxnFirstOffset,
		})
	}
	return nil
}
