package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/security"
)

// OffsetFetch returns the committed offsets of groups (API key 9).
type OffsetFetch struct {
	Groups     *coordinator.Groups
	Authorizer security.Authorizer
	Metadata   func() *metadata.Image
}

// From firstOffsetFetchVersionWithGroups on a request names several groups; before
// firstOffsetFetchVersionWithError a response has errors only per partition.
const (
	firstOffsetFetchVersionWithGroups = 8
	firstOffsetFetchVersionWithError  = 2
)

// Handle answers for one group or several.
func (h *OffsetFetch) Handle(ctx context.Context, r *Request) Reply {
	req := r.Body.(*kmsg.OffsetFetchRequest)
	resp := kmsg.NewPtrOffsetFetchResponse()
	if r.Version() >= firstOffsetFetchVersionWithGroups {
		for i := range req.Groups {
			fetched, err := h.fetchGroup(ctx, r, &req.Groups[i], req.RequireStable)
			if err != nil {
				return Reply{CloseConnection: true}
			}
			resp.Groups = append(resp.Groups, *fetched)
		}
		return Respond(resp)
	}
	single := singleGroupFetch(req)
	fetched, err := h.fetchGroup(ctx, r, single, req.RequireStable)
	if err != nil {
		return Reply{CloseConnection: true}
	}
	if fetched.ErrorCode != 0 && r.Version() < firstOffsetFetchVersionWithError {
		for i := range single.Topics {
			fetched.Topics = append(fetched.Topics, failedFetchTopic(&single.Topics[i], kafka.ErrorCode(fetched.ErrorCode)))
		}
	}
	resp.ErrorCode = fetched.ErrorCode
	for _, topic := range fetched.Topics {
		rt := kmsg.OffsetFetchResponseTopic{Topic: topic.Topic}
		for _, p := range topic.Partitions {
			rt.Partitions = append(rt.Partitions, kmsg.OffsetFetchResponseTopicPartition{
				Partition: p.Partition, Offset: p.Offset, LeaderEpoch: p.LeaderEpoch, Metadata: p.Metadata, ErrorCode: p.ErrorCode,
			})
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return Respond(resp)
}

// singleGroupFetch is a request before version 8 in the form of later ones.
func singleGroupFetch(req *kmsg.OffsetFetchRequest) *kmsg.OffsetFetchRequestGroup {
	single := kmsg.NewOffsetFetchRequestGroup()
	single.Group = req.Group
	if req.Topics != nil {
		single.Topics = []kmsg.OffsetFetchRequestGroupTopic{}
	}
	for _, topic := range req.Topics {
		single.Topics = append(single.Topics, kmsg.OffsetFetchRequestGroupTopic{Topic: topic.Topic, Partitions: topic.Partitions})
	}
	return &single
}

func (h *OffsetFetch) fetchGroup(ctx context.Context, r *Request, req *kmsg.OffsetFetchRequestGroup, requireStable bool) (*kmsg.OffsetFetchResponseGroup, error) {
	if !security.Allowed(h.Authorizer, r.Conn, security.OperationDescribe, security.Group(req.Group)) {
		failed := kmsg.NewOffsetFetchResponseGroup()
		failed.Group, failed.ErrorCode = req.Group, int16(kafka.ErrGroupAuthorizationFailed)
		return &failed, nil
	}
	if req.Topics == nil {
		fetched, err := h.Groups.FetchOffsets(ctx, req, requireStable)
		if err == nil {
			h.filterAll(r, fetched)
		}
		return fetched, err
	}
	known := *req
	known.Topics = []kmsg.OffsetFetchRequestGroupTopic{}
	var failed []kmsg.OffsetFetchResponseGroupTopic
	image := h.Metadata()
	for i := range req.Topics {
		topic := req.Topics[i]
		if r.Version() >= firstOffsetsVersionWithTopicIDs {
			t := image.TopicByID(topic.TopicID)
			if t == nil {
				failed = append(failed, failedFetchTopic(&topic, kafka.ErrUnknownTopicID))
				continue
			}
			topic.Topic = t.Name
		}
		if !security.Allowed(h.Authorizer, r.Conn, security.OperationDescribe, security.Topic(topic.Topic)) {
			failed = append(failed, failedFetchTopic(&topic, kafka.ErrTopicAuthorizationFailed))
			continue
		}
		known.Topics = append(known.Topics, topic)
	}
	fetched, err := h.Groups.FetchOffsets(ctx, &known, requireStable)
	if err == nil && fetched.ErrorCode == 0 {
		fetched.Topics = append(fetched.Topics, failed...)
	}
	return fetched, err
}

// filterAll leaves the topics that the client may see and, where topics have ids, that still have
// one.
func (h *OffsetFetch) filterAll(r *Request, fetched *kmsg.OffsetFetchResponseGroup) {
	image := h.Metadata()
	visible := fetched.Topics[:0]
	for _, topic := range fetched.Topics {
		if !security.Allowed(h.Authorizer, r.Conn, security.OperationDescribe, security.Topic(topic.Topic)) {
			continue
		}
		if r.Version() >= firstOffsetsVersionWithTopicIDs {
			t := image.TopicByName(topic.Topic)
			if t == nil {
				continue
			}
			topic.TopicID = t.ID
		}
		visible = append(visible, topic)
	}
	fetched.Topics = visible
}

func failedFetchTopic(topic *kmsg.OffsetFetchRequestGroupTopic, code kafka.ErrorCode) kmsg.OffsetFetchResponseGroupTopic {
	failed := kmsg.OffsetFetchResponseGroupTopic{Topic: topic.Topic, TopicID: topic.TopicID}
	for _, partition := range topic.Partitions {
		failed.Partitions = append(failed.Partitions, kmsg.OffsetFetchResponseGroupTopicPartition{
			Partition: partition, Offset: kafka.NoOffset, LeaderEpoch: kafka.NoLeaderEpoch, Metadata: new(string), ErrorCode: int16(code),
		})
	}
	return failed
}
