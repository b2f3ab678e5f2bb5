package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator"
	"github.com/moldau/moldau/internal/group"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/security"
)

// OffsetCommit stores the offsets of a group (API key 8).
type OffsetCommit struct {
	Groups     *coordinator.Groups
	Authorizer security.Authorizer
	Metadata   func() *metadata.Image
}

// firstOffsetsVersionWithTopicIDs is the version from which OffsetCommit and OffsetFetch name
// topics by id.
const firstOffsetsVersionWithTopicIDs = 10

// commitPlace is where a partition that goes on to the coordinator stands in the request.
type commitPlace struct{ topic, partition int }

// Handle checks group, topics and partitions, in this order, and has the coordinator store the
// offsets of those that pass.
func (h *OffsetCommit) Handle(ctx context.Context, r *Request) Reply {
	req := r.Body.(*kmsg.OffsetCommitRequest)
	if !security.Allowed(h.Authorizer, r.Conn, security.OperationRead, security.Group(req.Group)) {
		return Respond(group.CommitError(req, kafka.ErrGroupAuthorizationFailed))
	}
	resp := group.CommitError(req, kafka.ErrNone)
	accepted, places := h.check(r, req, resp)
	if len(places) == 0 {
		return Respond(resp)
	}
	committed, err := h.Groups.CommitOffsets(ctx, accepted)
	if err != nil {
		return Reply{CloseConnection: true}
	}
	i := 0
	for _, topic := range committed.Topics {
		for _, p := range topic.Partitions {
			resp.Topics[places[i].topic].Partitions[places[i].partition].ErrorCode = p.ErrorCode
			i++
		}
	}
	return Respond(resp)
}

// check writes the errors of what must not be committed into resp, and returns the rest of the
// request with names and ids filled in.
func (h *OffsetCommit) check(r *Request, req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse) (*kmsg.OffsetCommitRequest, []commitPlace) {
	access := topicAccess{h.Metadata(), h.Authorizer, r.Conn, security.OperationRead}
	accepted := *req
	accepted.Topics = nil
	var places []commitPlace
	for i := range req.Topics {
		given := &req.Topics[i]
		topic, code := access.named(given.Topic, given.TopicID, r.Version() >= firstOffsetsVersionWithTopicIDs)
		kept := kmsg.OffsetCommitRequestTopic{Topic: given.Topic, TopicID: given.TopicID}
		if topic != nil {
			kept.Topic, kept.TopicID = topic.Name, topic.ID
		}
		for j := range given.Partitions {
			partitionCode := code
			if code == kafka.ErrNone && topic.Partition(given.Partitions[j].Partition) == nil {
				partitionCode = kafka.ErrUnknownTopicOrPartition
			}
			if partitionCode != kafka.ErrNone {
				resp.Topics[i].Partitions[j].ErrorCode = int16(partitionCode)
				continue
			}
			kept.Partitions = append(kept.Partitions, given.Partitions[j])
			places = append(places, commitPlace{i, j})
		}
		if len(kept.Partitions) > 0 {
			accepted.Topics = append(accepted.Topics, kept)
		}
	}
	return &accepted, places
}
