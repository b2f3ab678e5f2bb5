package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/replica"
	"github.com/moldau/moldau/internal/security"
)

// OffsetForLeaderEpoch says where leader epochs end (API key 23), from which a consumer finds
// out that records it has read were lost (KIP-320).
type OffsetForLeaderEpoch struct {
	Replicas   *replica.Manager
	Metadata   func() *metadata.Image
	Authorizer security.Authorizer
}

// Handle answers every partition.
func (h *OffsetForLeaderEpoch) Handle(_ context.Context, r *Request) Reply {
	req := r.Body.(*kmsg.OffsetForLeaderEpochRequest)
	response := kmsg.NewPtrOffsetForLeaderEpochResponse()
	response.Topics = make([]kmsg.OffsetForLeaderEpochResponseTopic, len(req.Topics))
	access := topicAccess{h.Metadata(), h.Authorizer, r.Conn, security.OperationDescribe}
	for i := range req.Topics {
		in, out := &req.Topics[i], &response.Topics[i]
		out.Topic = in.Topic
		out.Partitions = make([]kmsg.OffsetForLeaderEpochResponseTopicPartition, len(in.Partitions))
		_, code := access.byName(in.Topic)
		for j := range in.Partitions {
			p, answer := &in.Partitions[j], &out.Partitions[j]
			answer.Default()
			answer.Partition = p.Partition
			end, err := partition.EpochEnd{LeaderEpoch: kafka.NoLeaderEpoch, EndOffset: kafka.NoOffset}, error(code)
			if code == kafka.ErrNone {
				end, err = h.lookup(kafka.TopicPartition{Topic: in.Topic, Partition: p.Partition}, p.CurrentLeaderEpoch, p.LeaderEpoch)
			}
			answer.ErrorCode = int16(kafka.CodeOf(err))
			answer.LeaderEpoch, answer.EndOffset = end.LeaderEpoch, end.EndOffset
		}
	}
	return Respond(response)
}

func (h *OffsetForLeaderEpoch) lookup(tp kafka.TopicPartition, currentLeaderEpoch, leaderEpoch int32) (partition.EpochEnd, error) {
	r, err := h.Replicas.Lookup(tp)
	if err != nil {
		return partition.EpochEnd{LeaderEpoch: kafka.NoLeaderEpoch, EndOffset: kafka.NoOffset}, err
	}
	return r.EndOffsetForEpoch(currentLeaderEpoch, leaderEpoch)
}
