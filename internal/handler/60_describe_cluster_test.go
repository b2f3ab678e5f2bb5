package handler

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/wire"
)

// balancerOf is the way to a controller whose balancer answers what it was asked.
type balancerOf struct{}

func (balancerOf) Send(_ context.Context, _ peer.Origin, req kmsg.Request) (kmsg.Response, error) {
	if req.(*wire.PeerBalancerRequest).IsPlan {
		return &wire.PeerBalancerResponse{Data: []byte("plan")}, nil
	}
	return &wire.PeerBalancerResponse{Data: []byte("status")}, nil
}

// TestDescribeClusterAsksTheBalancer in a tagged field of Moldau's own, where the request has it.
func TestDescribeClusterAsksTheBalancer(t *testing.T) {
	t.Parallel()
	f := newAdminFixture(t, nil)
	f.set = NewSet()
	f.set.Add(wire.KeyDescribeCluster, &DescribeCluster{NodeID: 1, ClusterID: "cluster", Image: f.current, Authorizer: f, Controller: balancerOf{}})
	for asked, want := range map[string]string{"none": "", "": "status", "\x00": "status", "\x01": "plan"} {
		req := kmsg.NewPtrDescribeClusterRequest()
		if asked != "none" {
			req.UnknownTags.Set(balancerTag, []byte(asked))
		}
		resp := f.ask(2, req).(*kmsg.DescribeClusterResponse)
		got := ""
		resp.UnknownTags.Each(func(tag uint32, value []byte) {
			if tag == balancerTag {
				got = string(value)
			}
		})
		if got != want || resp.ErrorCode != 0 || len(resp.Brokers) != 1 {
			t.Errorf("%q: %q, %+v", asked, got, resp)
		}
	}
}

// TestDescribeClusterByListener: a broker's listener answers about brokers, a controller's about the
// controllers that have it.
func TestDescribeClusterByListener(t *testing.T) {
	t.Parallel()
	f := newAdminFixture(t, nil)
	ask := func(version int16, kind int8) *kmsg.DescribeClusterResponse {
		req := kmsg.NewPtrDescribeClusterRequest()
		req.EndpointType = kind
		return f.ask(version, req).(*kmsg.DescribeClusterResponse)
	}
	wantCode(t, "controllers of a broker", ask(2, 2).ErrorCode, kafka.ErrMismatchedEndpointType)
	wantCode(t, "something of a broker", ask(2, 3).ErrorCode, kafka.ErrUnsupportedEndpointType)
	if resp := ask(0, 1); resp.ErrorCode != 0 || len(resp.Brokers) != 1 || resp.Brokers[0].NodeID != 1 {
		t.Errorf("brokers: %+v", resp)
	}
	f.conn.Controller, f.conn.Listener = true, "CONTROLLER"
	wantCode(t, "brokers of a controller", ask(2, 1).ErrorCode, kafka.ErrMismatchedEndpointType)
	wantCode(t, "something of a controller", ask(1, 0).ErrorCode, kafka.ErrUnsupportedEndpointType)
	wantCode(t, "a controller in version 0", ask(0, 1).ErrorCode, kafka.ErrInvalidRequest)
	resp := ask(1, 2)
	if resp.ErrorCode != 0 || resp.EndpointType != 2 || resp.ControllerID != 1 || resp.ClusterID != "cluster" || len(resp.Brokers) != 1 || resp.Brokers[0].Host != "c1" || resp.Brokers[0].Port != 9093 {
		t.Errorf("controllers: %+v", resp)
	}
}
