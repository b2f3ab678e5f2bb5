package handler

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/security"
)

// ListPartitionReassignments lists the partitions whose replicas are changing (API key 46).
type ListPartitionReassignments struct {
	Image      func() *metadata.Image
	Authorizer security.Authorizer
}

// Handle answers for the partitions asked for, or for all where the client names no topics.
func (h *ListPartitionReassignments) Handle(_ context.Context, r *Request) Reply {
	req, resp := r.Body.(*kmsg.ListPartitionReassignmentsRequest), kmsg.NewPtrListPartitionReassignmentsResponse()
	if !security.Allowed(h.Authorizer, r.Conn, security.OperationDescribe, security.Cluster) {
		resp.ErrorCode, resp.ErrorMessage = errorFields(kafka.Errorf(kafka.ErrClusterAuthorizationFailed, "not authorized to describe the cluster"))
		return Respond(resp)
	}
	image := h.Image()
	add := func(topic *metadata.Topic, isAsked func(partition int32) bool) {
		answer := kmsg.NewListPartitionReassignmentsResponseTopic()
		answer.Topic = topic.Name
		for _, p := range topic.Partitions {
			if len(p.AddingReplicas)+len(p.RemovingReplicas) == 0 || !isAsked(p.ID) {
				continue
			}
			partition := kmsg.NewListPartitionReassignmentsResponseTopicPartition()
			partition.Partition, partition.Replicas = p.ID, p.Replicas
			partition.AddingReplicas, partition.RemovingReplicas = p.AddingReplicas, p.RemovingReplicas
			answer.Partitions = append(answer.Partitions, partition)
		}
		if len(answer.Partitions) > 0 {
			resp.Topics = append(resp.Topics, answer)
		}
	}
	if req.Topics == nil {
		for topic := range image.Topics() {
			add(topic, func(int32) bool { return true })
		}
	}
	for i := range req.Topics {
		if topic := image.TopicByName(req.Topics[i].Topic); topic != nil {
			add(topic, func(partition int32) bool { return slices.Contains(req.Topics[i].Partitions, partition) })
		}
	}
	return Respond(resp)
}
