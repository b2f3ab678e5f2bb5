package handler

import (
	"context"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/security"
)

// ListConfigResources names what has or can have configs (API key 74, KIP-1142).
type ListConfigResources struct {
	Image      func() *metadata.Image
	Authorizer security.Authorizer
}

// listedResourceTypes are the types that may be asked for, in the order of the answer.
var listedResourceTypes = []kmsg.ConfigResourceType{
	kmsg.ConfigResourceTypeGroupConfig, kmsg.ConfigResourceTypeClientMetrics, kmsg.ConfigResourceTypeBrokerLogger, kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeTopic,
}

// Handle answers all types where the client names none; version 0 knows client metrics only.
func (h *ListConfigResources) Handle(_ context.Context, r *Request) Reply {
	req, resp := r.Body.(*kmsg.ListConfigResourcesRequest), kmsg.NewPtrListConfigResourcesResponse()
	if !security.Allowed(h.Authorizer, r.Conn, security.OperationDescribeConfigs, security.Cluster) {
		resp.ErrorCode = int16(kafka.ErrClusterAuthorizationFailed)
		return Respond(resp)
	}
	asked := req.ResourceTypes
	switch {
	case r.Version() == 0:
		asked = []int8{int8(kmsg.ConfigResourceTypeClientMetrics)}
	case len(asked) == 0:
		for _, t := range listedResourceTypes {
			asked = append(asked, int8(t))
		}
	}
	for _, t := range asked {
		if !slices.Contains(listedResourceTypes, kmsg.ConfigResourceType(t)) {
			resp.ErrorCode = int16(kafka.ErrUnsupportedVersion)
			return Respond(resp)
		}
	}
	for _, t := range listedResourceTypes {
		if slices.Contains(asked, int8(t)) {
			h.list(resp, t)
		}
	}
	return Respond(resp)
}

func (h *ListConfigResources) list(resp *kmsg.ListConfigResourcesResponse, t kmsg.ConfigResourceType) {
	add := func(name string) {
		resource := kmsg.NewListConfigResourcesResponseConfigResource()
		resource.Name, resource.Type = name, int8(t)
		resp.ConfigResources = append(resp.ConfigResources, resource)
	}
	switch image := h.Image(); t {
	case kmsg.ConfigResourceTypeTopic:
		for topic := range image.Topics() {
			add(topic.Name)
		}
	case kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger:
		for b := range image.Brokers() {
			add(strconv.Itoa(int(b.ID)))
		}
	case kmsg.ConfigResourceTypeGroupConfig, kmsg.ConfigResourceTypeClientMetrics: // those that have configs
		for resource := range image.ConfigResources() {
			if int8(resource.Type) == int8(t) {
				add(resource.Name)
			}
		}
	}
}
