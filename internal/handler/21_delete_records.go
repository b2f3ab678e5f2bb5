package handler

import (
	"context"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/replica"
	"github.com/moldau/moldau/internal/security"
)

// DeleteRecords moves log start offsets forward (API key 21).
type DeleteRecords struct {
	Replicas   *replica.Manager
	Metadata   func() *metadata.Image
	Authorizer security.Authorizer
}

// Handle answers every partition. A partition that is named twice gets the last offset.
func (h *DeleteRecords) Handle(ctx context.Context, r *Request) Reply {
	req := r.Body.(*kmsg.DeleteRecordsRequest)
	response := kmsg.NewPtrDeleteRecordsResponse()
	access := topicAccess{h.Metadata(), h.Authorizer, r.Conn, security.OperationDelete}
	refused := map[kafka.TopicPartition]kafka.ErrorCode{}
	offsets := map[kafka.TopicPartition]int64{}
	for i := range req.Topics {
		in := &req.Topics[i]
		topic, code := access.byName(in.Topic)
		for _, p := range in.Partitions {
			tp := kafka.TopicPartition{Topic: in.Topic, Partition: p.Partition}
			switch {
			case code != kafka.ErrNone:
				refused[tp] = code
			case topic.Partition(p.Partition) == nil:
				refused[tp] = kafka.ErrUnknownTopicOrPartition
			case kafka.IsInternalTopic(in.Topic):
				refused[tp] = kafka.ErrInvalidTopicException
			default:
				offsets[tp] = p.Offset
			}
		}
	}
	deleted := h.Replicas.DeleteRecords(ctx, offsets, time.Duration(req.TimeoutMillis)*time.Millisecond)
	answered := map[kafka.TopicPartition]bool{}
	index := map[string]int{}
	for i := range req.Topics {
		name := req.Topics[i].Topic
		for _, p := range req.Topics[i].Partitions {
			tp := kafka.TopicPartition{Topic: name, Partition: p.Partition}
			if answered[tp] {
				continue
			}
			answered[tp] = true
			at, known := index[name]
			if !known {
				at = len(response.Topics)
				index[name] = at
				response.Topics = append(response.Topics, kmsg.DeleteRecordsResponseTopic{Topic: name})
			}
			response.Topics[at].Partitions = append(response.Topics[at].Partitions, deletionAnswer(tp, refused, deleted))
		}
	}
	return Respond(response)
}

func deletionAnswer(tp kafka.TopicPartition, refused map[kafka.TopicPartition]kafka.ErrorCode, deleted map[kafka.TopicPartition]replica.DeletedRecords) kmsg.DeleteRecordsResponseTopicPartition {
	answer := kmsg.NewDeleteRecordsResponseTopicPartition()
	answer.Partition = tp.Partition
	if code, ok := refused[tp]; ok {
		answer.LowWatermark, answer.ErrorCode = kafka.NoOffset, int16(code)
		return answer
	}
	d := deleted[tp]
	answer.LowWatermark, answer.ErrorCode = d.LowWatermark, int16(kafka.CodeOf(d.Err))
	if kafka.CodeOf(d.Err) == kafka.ErrUnknownServerError {
		slog.Error("cannot delete records", "partition", tp.String(), "error", d.Err)
	}
	return answer
}
