package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/wire"
)

// Endpoint types of DescribeCluster (KIP-919).
const (
	endpointTypeBroker     int8 = 1
	endpointTypeController int8 = 2
)

// DescribeCluster answers the cluster's brokers on their listeners, its controllers on theirs (API
// key 60).
type DescribeCluster struct {
	NodeID     int32
	ClusterID  string
	Image      func() *metadata.Image
	Authorizer security.Authorizer
	Quorum     func() QuorumState
	Controller peer.ControllerChannel
}

// balancerTag is a tagged field of Moldau's own in the request and the response, which others skip: with it
// the request asks what the active controller's balancer does, or with one byte that is not 0 what it would do.
const balancerTag = 20000

// Handle answers the brokers on the client's listener, fenced ones only where asked for.
func (h *DescribeCluster) Handle(ctx context.Context, r *Request) Reply {
	req := r.Body.(*kmsg.DescribeClusterRequest)
	resp := kmsg.NewPtrDescribeClusterResponse()
	if err := checkEndpointType(req, r.Version(), r.Conn.Controller); err != nil {
		resp.ErrorCode, resp.ErrorMessage = errorFields(err)
		return Respond(resp)
	}
	resp.ClusterID = h.ClusterID
	resp.EndpointType = endpointTypeBroker
	if r.Conn.Controller {
		resp.EndpointType = endpointTypeController
	}
	if r.Conn.Controller {
		h.addControllers(resp, r.Conn.Listener)
	} else {
		h.addBrokers(resp, req, r.Conn.Listener)
	}
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = clusterOperations(h.Authorizer, r.Conn)
	}
	if err := h.describeBalancer(ctx, r, resp); err != nil {
		resp.ErrorCode, resp.ErrorMessage = errorFields(err)
	}
	return Respond(resp)
}

// describeBalancer adds what the balancer tells of itself, where it is asked for.
func (h *DescribeCluster) describeBalancer(ctx context.Context, r *Request, resp *kmsg.DescribeClusterResponse) error {
	req := r.Body.(*kmsg.DescribeClusterRequest)
	asked, isAsked := []byte(nil), false
	req.UnknownTags.Each(func(tag uint32, value []byte) {
		if tag == balancerTag {
			asked, isAsked = value, true
		}
	})
	if !isAsked {
		return nil
	}
	if !security.Allowed(h.Authorizer, r.Conn, security.OperationDescribe, security.Cluster) {
		return kafka.ErrClusterAuthorizationFailed
	}
	answer, err := forward(ctx, h.Controller, r, defaultForwardWait, &wire.PeerBalancerRequest{IsPlan: len(asked) == 1 && asked[0] != 0})
	if err != nil {
		return err
	}
	described := answer.(*wire.PeerBalancerResponse)
	if described.ErrorCode != 0 {
		return kafka.ErrorCode(described.ErrorCode)
	}
	resp.UnknownTags.Set(balancerTag, described.Data)
	return nil
}

// addControllers names the controllers that have the listener, the active one in particular.
func (h *DescribeCluster) addControllers(resp *kmsg.DescribeClusterResponse, listener string) {
	state := h.Quorum()
	resp.ControllerID = state.LeaderID
	for _, voter := range state.Voters {
		for _, endpoint := range voter.Endpoints {
			if endpoint.Name == listener {
				node := kmsg.NewDescribeClusterResponseBroker()
				node.NodeID, node.Host, node.Port = voter.ID, endpoint.Host, endpoint.Port
				resp.Brokers = append(resp.Brokers, node)
			}
		}
	}
}

func (h *DescribeCluster) addBrokers(resp *kmsg.DescribeClusterResponse, req *kmsg.DescribeClusterRequest, listener string) {
	image := h.Image()
	resp.ControllerID = -1
	controller := anyLiveBroker(image, h.NodeID)
	for b := range image.Brokers() {
		endpoint, ok := b.Endpoint(listener)
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
}

// checkEndpointType refuses questions about controllers on a broker's listener, and the other way
// round. Version 0 asks about brokers.
func checkEndpointType(req *kmsg.DescribeClusterRequest, version int16, onController bool) error {
	asked := req.EndpointType
	if version == 0 {
		asked = endpointTypeBroker
	}
	switch {
	case version == 0 && onController:
		return kafka.Errorf(kafka.ErrInvalidRequest, "a controller is asked in version 1 or later")
	case asked == endpointTypeController && !onController:
		return kafka.Errorf(kafka.ErrMismatchedEndpointType, "this listener belongs to a broker, but the question is about controllers")
	case asked == endpointTypeBroker && onController:
		return kafka.Errorf(kafka.ErrMismatchedEndpointType, "this listener belongs to a controller, but the question is about brokers")
	case asked != endpointTypeBroker && asked != endpointTypeController:
		return kafka.Errorf(kafka.ErrUnsupportedEndpointType, "unsupported endpoint type %d", asked)
	}
	return nil
}
