package handler

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/quorum"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/wire"
)

func newPeerHello() (h *PeerHello, clusterID *string, formed *bool) {
	clusterID, formed = new("ours"), new(bool)
	return &PeerHello{
		Self: peer.Self{ClusterID: func() string { return *clusterID }, NodeID: 1, DirectoryID: kafka.UUID{1, 1}, IncarnationID: kafka.UUID{1}},
		Quorum: func() (quorum.Leadership, []quorum.VoterSpec, bool) {
			return quorum.Leadership{LeaderID: 3, Epoch: 9}, []quorum.VoterSpec{{NodeID: 3, DirectoryID: kafka.UUID{3}, Listeners: []quorum.VoterListener{{Name: "C", Host: "three", Port: 7}}}}, *formed
		},
	}, clusterID, formed
}

// peerAnswer returns what reply answers to req, through its encoding.
func peerAnswer(t *testing.T, reply Reply, req kmsg.Request) kmsg.Response {
	t.Helper()
	if reply.Body == nil {
		t.Fatalf("no answer: %+v", reply)
	}
	api, _ := wire.LookupPeerAPI(req.Key())
	var f wire.Frame
	f.Encode(api, 0, 1, reply.Body)
	resp, err := wire.DecodeResponse(req, f.Bytes()[8:])
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func helloAnswer(t *testing.T, reply Reply) *wire.PeerHelloResponse {
	t.Helper()
	return peerAnswer(t, reply, &wire.PeerHelloRequest{}).(*wire.PeerHelloResponse)
}

func helloOf(change func(h *wire.PeerHelloRequest)) *wire.PeerHelloRequest {
	h := &wire.PeerHelloRequest{FormatVersion: wire.SpokenFormats.Min, MaxFormat: wire.SpokenFormats.Max, ClusterID: "ours", NodeID: 2, DirectoryID: kafka.UUID{2, 2}, IncarnationID: kafka.UUID{2}, Purpose: wire.PurposeSession}
	change(h)
	return h
}

func TestHelloSaysWhoIsThere(t *testing.T) {
	t.Parallel()
	h, _, formed := newPeerHello()
	for _, isFormed := range []bool{false, true} {
		*formed = isFormed
		conn := &security.Connection{Privileged: true}
		reply := h.Handle(t.Context(), &Request{Conn: conn, Body: helloOf(func(*wire.PeerHelloRequest) {})})
		resp := helloAnswer(t, reply)
		if resp.ErrorCode != 0 || reply.CloseConnection || resp.FormatVersion != wire.SpokenFormats.Max || resp.ClusterID != "ours" || resp.NodeID != 1 ||
			resp.DirectoryID != (kafka.UUID{1, 1}) || resp.IncarnationID != (kafka.UUID{1}) || resp.Formed != isFormed {
			t.Errorf("%+v", resp)
		}
		if len(resp.Voters) != 1 || resp.Voters[0].NodeID != 3 || resp.Voters[0].Listeners[0] != (wire.PeerListener{Name: "C", Host: "three", Port: 7}) {
			t.Errorf("voters: %+v", resp) // before there is a quorum they are those that are listed
		}
		if isFormed && (resp.LeaderID != 3 || resp.Epoch != 9) || !isFormed && (resp.LeaderID != kafka.NoLeader || resp.Epoch != 0) {
			t.Errorf("quorum: %+v", resp)
		}
		if want := (security.Peer{NodeID: 2, DirectoryID: kafka.UUID{2, 2}, IncarnationID: kafka.UUID{2}, Purpose: wire.PurposeSession}); conn.Peer == nil || *conn.Peer != want {
			t.Errorf("peer %+v", conn.Peer)
		}
	}
}

// Nodes of releases that follow each other talk in the highest version that both know; the release that knew only
// version 1 compares the field that all have.
func TestHelloAgreesOnAVersion(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		here, there wire.PeerFormats
		want        int16 // 0: none
	}{
		{wire.PeerFormats{Min: 1, Max: 1}, wire.PeerFormats{Min: 1, Max: 1}, 1},
		{wire.PeerFormats{Min: 1, Max: 2}, wire.PeerFormats{Min: 1, Max: 1}, 1},
		{wire.PeerFormats{Min: 1, Max: 1}, wire.PeerFormats{Min: 1, Max: 2}, 1},
		{wire.PeerFormats{Min: 1, Max: 3}, wire.PeerFormats{Min: 2, Max: 4}, 3},
		{wire.PeerFormats{Min: 2, Max: 3}, wire.PeerFormats{Min: 1, Max: 1}, 0},
		{wire.PeerFormats{Min: 1, Max: 1}, wire.PeerFormats{Min: 2, Max: 3}, 0},
	} {
		h, _, _ := newPeerHello()
		h.Self.Formats = c.here
		request := helloOf(func(h *wire.PeerHelloRequest) { h.FormatVersion, h.MaxFormat = c.there.Min, c.there.Max })
		var read wire.PeerHelloRequest
		if err := read.ReadFrom(request.AppendTo(nil)); err != nil || read != *request {
			t.Fatalf("%+v is read as %+v: %v", request, read, err)
		}
		resp := helloAnswer(t, h.Handle(t.Context(), &Request{Conn: &security.Connection{Privileged: true}, Body: &read}))
		switch {
		case c.want > 0 && (resp.ErrorCode != 0 || resp.FormatVersion != c.want):
			t.Errorf("%s and %s: version %d, %v", c.here, c.there, resp.FormatVersion, kafka.ErrorCode(resp.ErrorCode))
		case c.want == 0 && (kafka.ErrorCode(resp.ErrorCode) != kafka.ErrUnsupportedVersion || resp.FormatVersion != c.here.Min || resp.MaxFormat != c.here.Max ||
			!strings.Contains(*resp.ErrorMessage, c.here.String()) || !strings.Contains(*resp.ErrorMessage, c.there.String())):
			t.Errorf("%s and %s: %+v", c.here, c.there, resp)
		}
	}
}

func TestHelloRefusesStrangers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(h *wire.PeerHelloRequest)
		ours   string
		want   kafka.ErrorCode
	}{
		"other cluster":          {func(h *wire.PeerHelloRequest) { h.ClusterID = "theirs" }, "ours", kafka.ErrInconsistentClusterID},
		"cluster not known":      {func(h *wire.PeerHelloRequest) { h.ClusterID = "" }, "ours", kafka.ErrNone},
		"cluster not known here": {func(*wire.PeerHelloRequest) {}, "", kafka.ErrNone},
		"other version":          {func(h *wire.PeerHelloRequest) { h.FormatVersion, h.MaxFormat = 7, 9 }, "ours", kafka.ErrUnsupportedVersion},
		"unknown purpose":        {func(h *wire.PeerHelloRequest) { h.Purpose = 100 }, "ours", kafka.ErrUnsupportedVersion},
		"negative purpose":       {func(h *wire.PeerHelloRequest) { h.Purpose = -1 }, "ours", kafka.ErrUnsupportedVersion},
		"our node id":            {func(h *wire.PeerHelloRequest) { h.NodeID = 1 }, "ours", kafka.ErrDuplicateBrokerRegistration},
		"itself":                 {func(h *wire.PeerHelloRequest) { h.NodeID, h.IncarnationID = 1, kafka.UUID{1} }, "ours", kafka.ErrNone},
		"no node id":             {func(h *wire.PeerHelloRequest) { h.NodeID = -1 }, "ours", kafka.ErrInvalidRequest},
		"no incarnation":         {func(h *wire.PeerHelloRequest) { h.IncarnationID = kafka.UUID{} }, "ours", kafka.ErrInvalidRequest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, clusterID, _ := newPeerHello()
			*clusterID = c.ours
			conn := &security.Connection{Privileged: true}
			reply := h.Handle(t.Context(), &Request{Conn: conn, Body: helloOf(c.change)})
			resp := helloAnswer(t, reply)
			if kafka.ErrorCode(resp.ErrorCode) != c.want || reply.CloseConnection != (c.want != 0) || (conn.Peer == nil) != (c.want != 0) {
				t.Errorf("%v, closes: %v, peer: %+v", kafka.ErrorCode(resp.ErrorCode), reply.CloseConnection, conn.Peer)
			}
			if resp.NodeID != 1 || resp.ClusterID != c.ours || c.want != 0 && resp.ErrorMessage == nil {
				t.Errorf("does not say who refuses, or why: %+v", resp)
			}
		})
	}
}

// Who only asks gets an answer, whoever it is, and may ask nothing else.
func TestProbeMakesNoPeer(t *testing.T) {
	t.Parallel()
	h, _, _ := newPeerHello()
	conn := &security.Connection{Privileged: true}
	resp := helloAnswer(t, h.Handle(t.Context(), &Request{Conn: conn, Body: helloOf(func(h *wire.PeerHelloRequest) { h.Purpose, h.ClusterID = wire.PurposeProbe, "theirs" })}))
	if resp.ErrorCode != 0 || conn.Peer != nil {
		t.Errorf("%+v, peer %+v", resp, conn.Peer)
	}
}

func TestHelloIsSaidOnce(t *testing.T) {
	t.Parallel()
	h, _, _ := newPeerHello()
	conn := &security.Connection{Privileged: true}
	for _, want := range []kafka.ErrorCode{kafka.ErrNone, kafka.ErrInvalidRequest} {
		reply := h.Handle(t.Context(), &Request{Conn: conn, Body: helloOf(func(*wire.PeerHelloRequest) {})})
		if got := kafka.ErrorCode(helloAnswer(t, reply).ErrorCode); got != want {
			t.Errorf("%v, want %v", got, want)
		}
	}
}
