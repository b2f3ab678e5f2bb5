package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/security"
)

// Endpoint types of DescribeCluster (KIP-919).
const (
	endpointTypeBroker     int8 = 1
	endpointTypeController int8 = 2
)

// DescribeCluster answers the cluster's brokers (API key 60).
type DescribeCluster struct {
	NodeID     int32
	ClusterID  string
	Image      func() *metadata.Image
	Authorizer security.Authorizer
}

// Handle answers the brokers on the client's listener, fenced ones only where asked for.
func (h *DescribeCluster) Handle(_ context.Context, r *Request) Reply {
	req := r.Body.(*kmsg.DescribeClusterRequest)
	resp := kmsg.NewPtrDescribeClusterResponse()
	if err := checkEndpointType(req, r.Version()); err != nil {
		resp.ErrorCode, resp.ErrorMessage = errorFields(err)
		return Respond(resp)
	}
	image := h.Image()
	resp.ClusterID = h.ClusterID
	resp.ControllerID = -1
	controller := anyLiveBroker(image, h.NodeID)
	for b := range image.Brokers() {
		endpoint, ok := b.Endpoint(r.Conn.Listener)
		if !ok || b.Fenced && !req.IncludeFencedBrokers {
			continue
		}
		broker := kmsg.NewDescribeClusterResponseBroker()
		broker.NodeID, broker.Host, broker.Port, broker.Rack, broker.IsFenced = b.ID, endpoint.Host, int32(endpoint.Port), b.Rack, b.Fenced
		resp.Brokers = append(resp.Brokers, broker)
		if b.ID == controller {
			resp.ControllerID = controller // only a broker that the answer names
		}
	}
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = clusterOperations(h.Authorizer, r.Conn)
	}
	return Respond(resp)
}

// checkEndpointType refuses questions about controllers, which only controller listeners answer.
func checkEndpointType(req *kmsg.DescribeClusterRequest, version int16) error {
	if version == 0 || req.EndpointType == endpointTypeBroker {
		return nil
	}
	if req.EndpointType == endpointTypeController {
		return kafka.Errorf(kafka.ErrMismatchedEndpointType, "this listener belongs to a broker, but the question is about controllers")
	}
	return kafka.Errorf(kafka.ErrUnsupportedEndpointType, "unsupported endpoint type %d", req.EndpointType)
}
