package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/replica"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/storage"
)

// ListOffsets finds offsets by timestamp (API key 2).
type ListOffsets struct {
	Replicas   *replica.Manager
	Metadata   func() *metadata.Image
	Authorizer security.Authorizer
	Clock      env.Clock
}

// offsetNotAvailableFrom is the version from which clients know OFFSET_NOT_AVAILABLE.
const offsetNotAvailableFrom = 5

// leastVersionOfTimestamp is the version from which a special timestamp has a meaning.
var leastVersionOfTimestamp = map[int64]int16{
	kafka.LatestTimestamp: 1, kafka.EarliestTimestamp: 1, kafka.MaxTimestamp: 7, kafka.EarliestLocalTimestamp: 8,
	kafka.LatestTieredTimestamp: 9, kafka.EarliestPendingUploadTimestamp: 11,
}

// Handle answers every partition.
func (h *ListOffsets) Handle(_ context.Context, r *Request) Reply {
	req := r.Body.(*kmsg.ListOffsetsRequest)
	response := kmsg.NewPtrListOffsetsResponse()
	response.Topics = make([]kmsg.ListOffsetsResponseTopic, len(req.Topics))
	twice := h.repeated(req)
	access := topicAccess{h.Metadata(), h.Authorizer, r.Conn, security.OperationDescribe}
	for i := range req.Topics {
		in, out := &req.Topics[i], &response.Topics[i]
		out.Topic = in.Topic
		out.Partitions = make([]kmsg.ListOffsetsResponseTopicPartition, len(in.Partitions))
		_, code := access.byName(in.Topic)
		for j := range in.Partitions {
			p, answer := &in.Partitions[j], &out.Partitions[j]
			answer.Default()
			answer.Partition = p.Partition
			tp := kafka.TopicPartition{Topic: in.Topic, Partition: p.Partition}
			found, err := storage.TimestampOffset{Offset: kafka.NoOffset, TimestampMs: kafka.NoTimestamp, LeaderEpoch: kafka.NoLeaderEpoch}, error(code)
			if code == kafka.ErrNone {
				found, err = h.lookup(tp, p, twice[tp], req.IsolationLevel, r.Version())
			}
			answer.ErrorCode = int16(errorCodeOfListOffsets(err, r.Version()))
			answer.Offset, answer.Timestamp, answer.LeaderEpoch = found.Offset, found.TimestampMs, found.LeaderEpoch
		}
	}
	return Respond(response)
}

func errorCodeOfListOffsets(err error, version int16) kafka.ErrorCode {
	code := kafka.CodeOf(err)
	if code == kafka.ErrOffsetNotAvailable && version < offsetNotAvailableFrom {
		return kafka.ErrLeaderNotAvailable
	}
	return code
}

// repeated returns the partitions that the request names more than once.
func (h *ListOffsets) repeated(req *kmsg.ListOffsetsRequest) map[kafka.TopicPartition]bool {
	var twice map[kafka.TopicPartition]bool
	seen := map[kafka.TopicPartition]bool{}
	for i := range req.Topics {
		for j := range req.Topics[i].Partitions {
			tp := kafka.TopicPartition{Topic: req.Topics[i].Topic, Partition: req.Topics[i].Partitions[j].Partition}
			if seen[tp] {
				if twice == nil {
					twice = map[kafka.TopicPartition]bool{}
				}
				twice[tp] = true
			}
			seen[tp] = true
		}
	}
	return twice
}

func (h *ListOffsets) lookup(tp kafka.TopicPartition, p *kmsg.ListOffsetsRequestTopicPartition, repeated bool, isolation int8, version int16) (storage.TimestampOffset, error) {
	nothing := storage.TimestampOffset{Offset: kafka.NoOffset, TimestampMs: kafka.NoTimestamp, LeaderEpoch: kafka.NoLeaderEpoch}
	if repeated {
		return nothing, kafka.ErrInvalidRequest
	}
	if least, known := leastVersionOfTimestamp[p.Timestamp]; p.Timestamp < 0 && (!known || version < least) {
		return nothing, kafka.ErrUnsupportedVersion
	}
	r, err := h.Replicas.Lookup(tp)
	if err != nil {
		return nothing, err
	}
	found, err := r.ListOffset(p.Timestamp, kafka.IsolationLevel(isolation), p.CurrentLeaderEpoch)
	if code := kafka.CodeOf(err); code == kafka.ErrUnknownServerError || code == kafka.ErrCorruptMessage {
		r.ReportReadError(err, h.Clock.Now().UnixMilli())
		err, _ = r.ReadError(err)
	}
	return found, err
}
