package handler

import (
	"context"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/quota"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/wire"
)

// forwarding is the channel of node 2 to a controller on node 1, without the network between them.
type forwarding struct {
	t  *testing.T
	to *PeerForward
}

func (f *forwarding) Send(ctx context.Context, origin peer.Origin, req kmsg.Request) (kmsg.Response, error) {
	answer := f.forward(ctx, &wire.PeerForwardRequest{Principal: origin.Principal, ClientID: origin.ClientID, Host: origin.Host,
		APIKey: req.Key(), APIVersion: req.GetVersion(), HasQuota: origin.Permit != nil, Body: req.AppendTo(nil)})
	if answer.ErrorCode != 0 {
		return nil, kafka.ErrorCode(answer.ErrorCode)
	}
	resp := req.ResponseKind()
	resp.SetVersion(req.GetVersion())
	return resp, resp.ReadFrom(answer.Body)
}

func (f *forwarding) forward(ctx context.Context, req *wire.PeerForwardRequest) *wire.PeerForwardResponse {
	f.t.Helper()
	reply := f.to.Handle(ctx, &Request{Conn: &security.Connection{Privileged: true, Peer: &security.Peer{NodeID: 2, Purpose: wire.PurposeForward}}, Body: req})
	return peerAnswer(f.t, reply, req).(*wire.PeerForwardResponse)
}

func forwarded(req kmsg.Request) *wire.PeerForwardRequest {
	return &wire.PeerForwardRequest{Principal: "User:alice", ClientID: "cli", Host: "1.2.3.4", APIKey: req.Key(), APIVersion: req.GetVersion(), Body: req.AppendTo(nil)}
}

func TestForwardedRequestRunsForItsClient(t *testing.T) {
	t.Parallel()
	var origin peer.Origin
	var got kmsg.Request
	f := &forwarding{t, &PeerForward{Quota: quota.Unlimited{}, Controller: func(_ context.Context, o peer.Origin, req kmsg.Request) (kmsg.Response, int64, error) {
		origin, got = o, req
		resp := kmsg.NewPtrCreateTopicsResponse()
		resp.Topics = []kmsg.CreateTopicsResponseTopic{{Topic: "t", NumPartitions: 3}}
		return resp, 77, nil
	}}}
	req := createRequest(false, newTopic("t", 3, 1))
	req.Version = 7
	answer := f.forward(t.Context(), forwarded(req))
	if origin.Principal != "User:alice" || origin.ClientID != "cli" || origin.Host != "1.2.3.4" || origin.Permit != nil {
		t.Errorf("origin %+v", origin)
	}
	if created := got.(*kmsg.CreateTopicsRequest); created.Version != 7 || created.Topics[0].NumPartitions != 3 {
		t.Errorf("the controller was asked %+v", created)
	}
	resp := kmsg.NewPtrCreateTopicsResponse()
	resp.Version = 7
	if err := resp.ReadFrom(answer.Body); err != nil || answer.ErrorCode != 0 || answer.Offset != 77 || resp.Topics[0].NumPartitions != 3 {
		t.Errorf("%+v: %+v, %v", answer, resp, err)
	}
}

func TestForwardAnswersErrors(t *testing.T) {
	t.Parallel()
	var fails error
	f := &forwarding{t, &PeerForward{Quota: quotaOf(t, "controller_mutation_rate", 1), Controller: func(context.Context, peer.Origin, kmsg.Request) (kmsg.Response, int64, error) {
		return kmsg.NewPtrCreateTopicsResponse(), 1, fails
	}}}
	create := createRequest(false, newTopic("t", 3, 1))
	create.Version = 7
	good := forwarded(create)
	heartbeat := func(id int32) *wire.PeerForwardRequest {
		req := kmsg.NewPtrBrokerHeartbeatRequest()
		req.Version, req.BrokerID = 1, id
		return forwarded(req)
	}
	with := func(change func(req *wire.PeerForwardRequest)) *wire.PeerForwardRequest {
		changed := *good
		change(&changed)
		return &changed
	}
	for name, c := range map[string]struct {
		req  *wire.PeerForwardRequest
		err  error
		want kafka.ErrorCode
	}{
		"none":                   {good, nil, kafka.ErrNone},
		"not the controller":     {good, kafka.ErrNotController, kafka.ErrNotController},
		"with a sentence":        {good, kafka.Errorf(kafka.ErrPolicyViolation, "no"), kafka.ErrPolicyViolation},
		"unforeseen":             {good, errors.New("the disk is on fire"), kafka.ErrUnknownServerError},
		"unknown key":            {with(func(r *wire.PeerForwardRequest) { r.APIKey = 999 }), nil, kafka.ErrUnsupportedVersion},
		"not for controllers":    {with(func(r *wire.PeerForwardRequest) { r.APIKey = wire.KeyFetch }), nil, kafka.ErrUnsupportedVersion},
		"inside another":         {with(func(r *wire.PeerForwardRequest) { r.APIKey, r.APIVersion = wire.KeyPeerForward, 0 }), nil, kafka.ErrUnsupportedVersion},
		"a version too high":     {with(func(r *wire.PeerForwardRequest) { r.APIVersion = 8 }), nil, kafka.ErrUnsupportedVersion},
		"cut":                    {with(func(r *wire.PeerForwardRequest) { r.Body = r.Body[:3] }), nil, kafka.ErrInvalidRequest},
		"no principal":           {with(func(r *wire.PeerForwardRequest) { r.HasQuota, r.Principal = true, "alice" }), nil, kafka.ErrPrincipalDeserializationFailure},
		"its own heartbeat":      {heartbeat(2), nil, kafka.ErrNone},
		"heartbeat of another's": {heartbeat(3), nil, kafka.ErrClusterAuthorizationFailed},
	} {
		fails = c.err
		answer := f.forward(t.Context(), c.req)
		if kafka.ErrorCode(answer.ErrorCode) != c.want {
			t.Errorf("%s: %v, want %v", name, kafka.ErrorCode(answer.ErrorCode), c.want)
		}
		if e, ok := errors.AsType[*kafka.Error](c.err); ok && (answer.ErrorMessage == nil || *answer.ErrorMessage != e.Message) {
			t.Errorf("%s: the sentence is lost", name)
		}
	}
}

func TestForwardEndsWithItsConnection(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	f := &PeerForward{Quota: quota.Unlimited{}, Controller: func(ctx context.Context, _ peer.Origin, _ kmsg.Request) (kmsg.Response, int64, error) {
		cancel()
		return nil, 0, ctx.Err()
	}}
	req := createRequest(false)
	req.Version = 7
	reply := f.Handle(ctx, &Request{Conn: &security.Connection{Peer: &security.Peer{NodeID: 2}}, Body: forwarded(req)})
	if !reply.CloseConnection || reply.Body != nil {
		t.Errorf("%+v", reply)
	}
}
