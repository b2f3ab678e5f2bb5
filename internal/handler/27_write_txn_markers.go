package handler

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/shard"
)

// WriteTxnMarkers ends transactions in the partitions that this broker leads (API key 27):
// coordinators on other brokers send it, and tools that abort a transaction which hangs.
type WriteTxnMarkers struct {
	Markers    *coordinator.Markers
	Authorizer security.Authorizer
}

// Handle writes one marker per entry and answers when all are committed. What has nothing to write
// is not answered, as in Kafka.
func (h *WriteTxnMarkers) Handle(ctx context.Context, r *Request) Reply {
	req, resp := r.Body.(*kmsg.WriteTxnMarkersRequest), kmsg.NewPtrWriteTxnMarkersResponse()
	allowed := security.Allowed(h.Authorizer, r.Conn, security.OperationAlter, security.Cluster) ||
		security.Allowed(h.Authorizer, r.Conn, security.OperationClusterAction, security.Cluster)
	var work []coordinator.MarkerWork
	for i := range req.Markers {
		m := &req.Markers[i]
		w := coordinator.MarkerWork{Partitions: markerPartitions(m), Marker: shard.Marker{
			ProducerID: m.ProducerID, Epoch: m.ProducerEpoch, CoordinatorEpoch: m.CoordinatorEpoch, Committed: m.Committed, TransactionVersion: int16(m.TransactionVersion),
		}}
		if allowed && checkMarker(m) == kafka.ErrNone && len(w.Partitions) > 0 {
			work = append(work, w)
		}
	}
	written := h.Markers.WriteAll(ctx, work)
	for i := range req.Markers {
		m := &req.Markers[i]
		partitions := markerPartitions(m)
		if len(partitions) == 0 {
			continue
		}
		refused := kafka.ErrClusterAuthorizationFailed
		if allowed {
			refused = checkMarker(m)
		}
		codes := slices.Repeat([]kafka.ErrorCode{refused}, len(partitions))
		if refused == kafka.ErrNone {
			codes, written = written[0], written[1:]
		}
		resp.Markers = append(resp.Markers, answerMarker(m, codes))
	}
	if ctx.Err() != nil {
		return Reply{CloseConnection: true}
	}
	return Respond(resp)
}

func markerPartitions(m *kmsg.WriteTxnMarkersRequestMarker) (partitions []kafka.TopicPartition) {
	for _, topic := range m.Topics {
		for _, p := range topic.Partitions {
			partitions = append(partitions, kafka.TopicPartition{Topic: topic.Topic, Partition: p})
		}
	}
	return partitions
}

// answerMarker answers the partitions of m with codes in their order.
func answerMarker(m *kmsg.WriteTxnMarkersRequestMarker, codes []kafka.ErrorCode) kmsg.WriteTxnMarkersResponseMarker {
	answer := kmsg.WriteTxnMarkersResponseMarker{ProducerID: m.ProducerID}
	for _, topic := range m.Topics {
		if len(topic.Partitions) == 0 {
			continue
		}
		rt := kmsg.WriteTxnMarkersResponseMarkerTopic{Topic: topic.Topic}
		for _, p := range topic.Partitions {
			rt.Partitions = append(rt.Partitions, kmsg.WriteTxnMarkersResponseMarkerTopicPartition{Partition: p, ErrorCode: int16(codes[0])})
			codes = codes[1:]
		}
		answer.Topics = append(answer.Topics, rt)
	}
	return answer
}

// checkMarker refuses markers of nobody, which no reader could tell from damage. Coordinators count their epochs from
// 0, and tools that don't know one say -1.
func checkMarker(m *kmsg.WriteTxnMarkersRequestMarker) kafka.ErrorCode {
	switch {
	case m.ProducerID < 0, m.TransactionVersion < 0:
		return kafka.ErrInvalidRequest
	case m.ProducerEpoch < 0:
		return kafka.ErrInvalidProducerEpoch
	case m.CoordinatorEpoch < -1:
		return kafka.ErrTransactionCoordinatorFenced
	}
	return kafka.ErrNone
}
