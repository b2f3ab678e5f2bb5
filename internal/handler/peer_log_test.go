package handler

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/quorum"
	quorumhost "github.com/moldau/moldau/internal/quorum/host"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/wire"
)

// fromNode2 is a request of node 2 on its session connection.
func fromNode2(body kmsg.Request) *Request {
	return &Request{Conn: &security.Connection{Privileged: true, Peer: &security.Peer{NodeID: 2, DirectoryID: kafka.UUID{2, 2}, IncarnationID: kafka.UUID{2}, Purpose: wire.PurposeSession}}, Body: body}
}

func TestPeerRaftConfirms(t *testing.T) {
	t.Parallel()
	var taken []string
	heard := 0
	h := &PeerRaft{Heard: func(id kafka.UUID) {
		if heard++; id != (kafka.UUID{2, 2}) {
			t.Errorf("heard %s", id)
		}
	}, Take: func(message []byte) error {
		if taken = append(taken, string(message)); string(message) == "bad" {
			return kafka.ErrInvalidRequest
		}
		return nil
	}}
	for _, c := range []struct {
		messages [][]byte
		want     kafka.ErrorCode
	}{{nil, kafka.ErrNone}, {[][]byte{[]byte("one"), []byte("two")}, kafka.ErrNone}, {[][]byte{[]byte("bad"), []byte("three")}, kafka.ErrInvalidRequest}} {
		req := &wire.PeerRaftRequest{Messages: c.messages}
		if resp := peerAnswer(t, h.Handle(t.Context(), fromNode2(req)), req).(*wire.PeerRaftResponse); kafka.ErrorCode(resp.ErrorCode) != c.want {
			t.Errorf("%q: %v", c.messages, kafka.ErrorCode(resp.ErrorCode))
		}
	}
	if heard != 3 {
		t.Errorf("heard %d requests", heard)
	}
	if len(taken) != 4 || taken[3] != "three" { // one that makes no sense does not take the others with it
		t.Errorf("taken: %q", taken)
	}
}

func TestPeerMetadataIsForWhoAsks(t *testing.T) {
	t.Parallel()
	asked := 0
	page := quorum.Page{LeaderID: 1, LeaderDirectory: kafka.UUID{1}, Epoch: 4, CommitIndex: 9, HighWatermark: 8, After: quorum.Position{Index: 7, Epoch: 3}, Batches: []byte("b"),
		Diverging: true, Snapshot: &quorum.SnapshotID{EndOffset: 5, Epoch: 2}}
	failure := error(nil)
	h := &PeerMetadata{Pull: func(_ context.Context, r quorumhost.PullRequest) (quorum.Page, error) {
		asked++
		if want := (quorumhost.PullRequest{NodeID: 2, DirectoryID: kafka.UUID{2, 2}, After: quorum.Position{Index: 7, Epoch: 3}, MaxBytes: 10, Wait: 20 * time.Millisecond}); r != want {
			t.Errorf("asked for %+v", r)
		}
		return page, failure
	}}
	ask := func(change func(r *wire.PeerMetadataRequest)) *wire.PeerMetadataResponse {
		t.Helper()
		req := &wire.PeerMetadataRequest{NodeID: 2, DirectoryID: kafka.UUID{2, 2}, AfterIndex: 7, AfterEpoch: 3, MaxBytes: 10, MaxWaitMs: 20}
		change(req)
		return peerAnswer(t, h.Handle(t.Context(), fromNode2(req)), req).(*wire.PeerMetadataResponse)
	}
	for _, change := range []func(r *wire.PeerMetadataRequest){
		func(r *wire.PeerMetadataRequest) { r.NodeID = 3 }, func(r *wire.PeerMetadataRequest) { r.DirectoryID = kafka.UUID{3} },
	} {
		if resp := ask(change); kafka.ErrorCode(resp.ErrorCode) != kafka.ErrInvalidRequest || asked > 0 {
			t.Errorf("one that speaks for another: %+v, %d pulls", resp, asked)
		}
	}
	resp := ask(func(*wire.PeerMetadataRequest) {})
	if resp.ErrorCode != 0 || resp.LeaderID != 1 || resp.LeaderDirectory != (kafka.UUID{1}) || resp.Epoch != 4 || resp.CommitIndex != 9 || resp.HighWatermark != 8 || resp.AfterIndex != 7 ||
		resp.AfterEpoch != 3 || string(resp.Batches) != "b" || !resp.Diverging || !resp.HasSnapshot || resp.SnapshotEndOffset != 5 || resp.SnapshotEpoch != 2 {
		t.Errorf("%+v", resp)
	}
	failure = kafka.ErrNotController
	if resp := ask(func(*wire.PeerMetadataRequest) {}); kafka.ErrorCode(resp.ErrorCode) != kafka.ErrNotController || len(resp.Batches) > 0 {
		t.Errorf("%+v", resp)
	}
}

func TestPeerMetadataEndsWithItsConnection(t *testing.T) {
	t.Parallel()
	h := &PeerMetadata{Pull: func(ctx context.Context, _ quorumhost.PullRequest) (quorum.Page, error) {
		<-ctx.Done()
		return quorum.Page{}, ctx.Err()
	}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if reply := h.Handle(ctx, fromNode2(&wire.PeerMetadataRequest{NodeID: 2, DirectoryID: kafka.UUID{2, 2}})); !reply.CloseConnection || reply.Body != nil {
		t.Errorf("%+v", reply)
	}
}

func TestPeerSnapshot(t *testing.T) {
	t.Parallel()
	failure := error(nil)
	h := &PeerSnapshot{Read: func(id quorum.SnapshotID, position int64, maxBytes int) ([]byte, int64, error) {
		if id != (quorum.SnapshotID{EndOffset: 5, Epoch: 2}) || position != 3 || maxBytes != 10 {
			t.Errorf("asked for %+v at %d, %d bytes", id, position, maxBytes)
		}
		return []byte("data"), 7, failure
	}}
	req := &wire.PeerSnapshotRequest{EndOffset: 5, Epoch: 2, Position: 3, MaxBytes: 10}
	for err, want := range map[error]kafka.ErrorCode{nil: kafka.ErrNone, kafka.ErrSnapshotNotFound: kafka.ErrSnapshotNotFound, errors.New("disk"): kafka.ErrUnknownServerError} {
		failure = err
		if resp := peerAnswer(t, h.Handle(t.Context(), fromNode2(req)), req).(*wire.PeerSnapshotResponse); kafka.ErrorCode(resp.ErrorCode) != want || string(resp.Data) != "data" || resp.SizeBytes != 7 {
			t.Errorf("%v: %+v", err, resp)
		}
	}
}

func TestPeerHeartbeatIsForWhoSends(t *testing.T) {
	t.Parallel()
	touched, ends := map[int32]int64{}, map[int32]int64{}
	h := &PeerHeartbeat{
		Touched:  func(broker int32, epoch int64) { touched[broker] = epoch },
		Observed: func(nodeID int32, _ kafka.UUID, endOffset int64) { ends[nodeID] = endOffset },
		LogEnd:   func() int64 { return 91 },
	}
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.CurrentMetadataOffset = 77
	for id, want := range map[int32]kafka.ErrorCode{2: kafka.ErrNone, 3: kafka.ErrInvalidRequest} {
		req.BrokerID, req.BrokerEpoch = id, 8
		if resp := peerAnswer(t, h.Handle(t.Context(), fromNode2(req)), req).(*kmsg.BrokerHeartbeatResponse); kafka.ErrorCode(resp.ErrorCode) != want {
			t.Errorf("for node %d: %v", id, kafka.ErrorCode(resp.ErrorCode))
		}
	}
	if len(touched) != 1 || touched[2] != 8 || len(ends) != 1 || ends[2] != 78 {
		t.Errorf("touched: %v, their logs end at %v", touched, ends)
	}
	req.BrokerID = 2
	if end := wire.LogEnd(peerAnswer(t, h.Handle(t.Context(), fromNode2(req)), req).(*kmsg.BrokerHeartbeatResponse)); end != 91 {
		t.Errorf("the log of the voter ends at %d", end)
	}
	if end := wire.LogEnd(kmsg.NewPtrBrokerHeartbeatResponse()); end != 0 {
		t.Errorf("one that does not say ends at %d", end)
	}
}
