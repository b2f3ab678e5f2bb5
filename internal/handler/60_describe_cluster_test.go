package handler

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
)

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
