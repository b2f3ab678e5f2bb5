package handler

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/quota"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/wire"
)

// PeerForward has the controller of this node decide what another node asks of it (key 20004), for a
// client or for itself. The other node has checked what its client may do; the client's quota of changes
// is kept here, where all its changes are made.
type PeerForward struct {
	// Controller is controller/host's Host.Handle.
	Controller func(ctx context.Context, origin peer.Origin, req kmsg.Request) (kmsg.Response, int64, error)
	Quota      quota.Quota
}

// Handle waits for the controller's answer.
func (h *PeerForward) Handle(ctx context.Context, r *Request) Reply {
	req, resp := r.Body.(*wire.PeerForwardRequest), &wire.PeerForwardResponse{Offset: kafka.NoOffset}
	answer, offset, err := h.ask(ctx, r.Conn.Peer, req)
	switch {
	case ctx.Err() != nil:
		return Reply{CloseConnection: true}
	case err != nil:
		resp.ErrorCode, resp.ErrorMessage = int16(kafka.CodeOf(err)), kafka.MessageOf(err)
		if resp.ErrorCode == int16(kafka.ErrUnknownServerError) {
			resp.ErrorMessage = kmsg.StringPtr(err.Error())
		}
	default:
		answer.SetVersion(req.APIVersion)
		resp.Offset, resp.Body = offset, answer.AppendTo(nil)
	}
	return Respond(resp)
}

func (h *PeerForward) ask(ctx context.Context, from *security.Peer, req *wire.PeerForwardRequest) (kmsg.Response, int64, error) {
	api, ok := req.API()
	if !ok {
		return nil, 0, kafka.Errorf(kafka.ErrUnsupportedVersion, "the controller does not serve version %d of API key %d", req.APIVersion, req.APIKey)
	}
	body, err := wire.DecodeBody(api, req.APIVersion, req.Body)
	if err != nil {
		return nil, 0, &kafka.Error{Code: kafka.ErrInvalidRequest, Message: "the forwarded request is malformed", Cause: err}
	}
	if id, ofBroker := senderOf(body); ofBroker && id != from.NodeID {
		return nil, 0, kafka.Errorf(kafka.ErrClusterAuthorizationFailed, "node %d may not send %s for node %d", from.NodeID, api.Name, id)
	}
	origin := peer.Origin{Principal: req.Principal, ClientID: req.ClientID, Host: req.Host}
	changes, err := h.changes(req)
	if err != nil {
		return nil, 0, err
	}
	if changes != nil {
		origin.Permit = changes.Permit
	}
	answer, offset, err := h.Controller(ctx, origin, body)
	if t, throttles := answer.(kmsg.SetThrottleResponse); throttles {
		t.SetThrottle(int32(changes.Throttle().Milliseconds()))
	}
	return answer, offset, err
}

// strictFrom are the requests whose changes count against a client's quota, and the versions from which
// one that is exceeded refuses them (KIP-599).
var strictFrom = map[int16]int16{
	wire.KeyCreateTopics: createTopicsStrictFrom, wire.KeyDeleteTopics: deleteTopicsStrictFrom, wire.KeyCreatePartitions: createPartitionsStrictFrom,
}

func (h *PeerForward) changes(req *wire.PeerForwardRequest) (*quota.Changes, error) {
	from, counts := strictFrom[req.APIKey]
	if !counts || !req.HasQuota {
		return nil, nil
	}
	principal, ok := security.ParsePrincipal(req.Principal)
	if !ok {
		return nil, kafka.Errorf(kafka.ErrPrincipalDeserializationFailure, "%q is no principal", req.Principal)
	}
	return h.Quota.Changes(&security.Connection{Principal: principal, ClientID: req.ClientID}, req.APIVersion >= from, time.Now), nil
}

// senderOf returns the broker that a request says it comes from, if it is one that only brokers send.
func senderOf(req kmsg.Request) (nodeID int32, ofBroker bool) {
	switch r := req.(type) {
	case *kmsg.AlterPartitionRequest:
		return r.BrokerID, true
	case *kmsg.BrokerRegistrationRequest:
		return r.BrokerID, true
	case *kmsg.ControllerRegistrationRequest:
		return r.ControllerID, true
	case *kmsg.BrokerHeartbeatRequest:
		return r.BrokerID, true
	case *kmsg.AllocateProducerIDsRequest:
		return r.BrokerID, true
	case *kmsg.AssignReplicasToDirsRequest:
		return r.BrokerID, true
	case *kmsg.UpdateRaftVoterRequest:
		return r.VoterID, true
	case *wire.PeerLoadRequest:
		return r.NodeID, true
	}
	return 0, false
}
