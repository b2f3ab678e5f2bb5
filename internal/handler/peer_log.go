package handler

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/quorum"
	quorumhost "github.com/moldau/moldau/internal/quorum/host"
	"github.com/moldau/moldau/internal/wire"
)

// PeerRaft takes Raft's messages of another voter (API key 20001).
type PeerRaft struct {
	// Take takes one message, which is its own from then on.
	Take func(message []byte) error
	// Heard hears which voter has sent something.
	Heard func(directoryID kafka.UUID)
}

// Handle confirms that the messages have arrived. What makes no sense is answered; it may be lost like any
// other message.
func (h *PeerRaft) Handle(_ context.Context, r *Request) Reply {
	req, resp := r.Body.(*wire.PeerRaftRequest), &wire.PeerRaftResponse{}
	h.Heard(r.Conn.Peer.DirectoryID)
	for _, message := range req.Messages {
		if err := h.Take(message); err != nil {
			resp.ErrorCode = int16(kafka.CodeOf(err))
		}
	}
	return Respond(resp)
}

// PeerMetadata answers what is committed of the metadata log behind a position (API key 20002).
type PeerMetadata struct {
	Pull func(ctx context.Context, request quorumhost.PullRequest) (quorum.Page, error)
}

// Handle waits as long as the request says for something to come.
func (h *PeerMetadata) Handle(ctx context.Context, r *Request) Reply {
	req, resp := r.Body.(*wire.PeerMetadataRequest), &wire.PeerMetadataResponse{}
	if req.NodeID != r.Conn.Peer.NodeID || req.DirectoryID != r.Conn.Peer.DirectoryID {
		resp.ErrorCode = int16(kafka.ErrInvalidRequest)
		return Respond(resp)
	}
	page, err := h.Pull(ctx, quorumhost.PullRequest{
		NodeID: req.NodeID, DirectoryID: req.DirectoryID, After: quorum.Position{Index: req.AfterIndex, Epoch: req.AfterEpoch},
		MaxBytes: int(req.MaxBytes), Wait: time.Duration(req.MaxWaitMs) * time.Millisecond,
	})
	if ctx.Err() != nil {
		return Reply{CloseConnection: true}
	}
	if err != nil {
		resp.ErrorCode = int16(kafka.CodeOf(err))
		return Respond(resp)
	}
	resp.LeaderID, resp.LeaderDirectory, resp.Epoch = page.LeaderID, page.LeaderDirectory, page.Epoch
	resp.CommitIndex, resp.HighWatermark = page.CommitIndex, page.HighWatermark
	resp.AfterIndex, resp.AfterEpoch, resp.Diverging, resp.Batches = page.After.Index, page.After.Epoch, page.Diverging, page.Batches
	if page.Snapshot != nil {
		resp.HasSnapshot, resp.SnapshotEndOffset, resp.SnapshotEpoch = true, page.Snapshot.EndOffset, page.Snapshot.Epoch
	}
	return Respond(resp)
}

// PeerSnapshot answers a piece of a snapshot of the metadata (API key 20003).
type PeerSnapshot struct {
	Read func(id quorum.SnapshotID, position int64, maxBytes int) (data []byte, sizeBytes int64, err error)
}

// Handle reads the piece.
func (h *PeerSnapshot) Handle(_ context.Context, r *Request) Reply {
	req, resp := r.Body.(*wire.PeerSnapshotRequest), &wire.PeerSnapshotResponse{}
	data, sizeBytes, err := h.Read(quorum.SnapshotID{EndOffset: req.EndOffset, Epoch: req.Epoch}, req.Position, int(req.MaxBytes))
	resp.ErrorCode, resp.SizeBytes, resp.Data = int16(kafka.CodeOf(err)), sizeBytes, data
	return Respond(resp)
}

// PeerHeartbeat notes on a voter that a broker is alive (API key 63 on a session connection). What the heartbeat
// has to say goes to the active controller another way.
type PeerHeartbeat struct {
	Touched func(broker int32, epoch int64)
	// Observed hears how far the sender's metadata log is.
	Observed func(nodeID int32, directory kafka.UUID, endOffset int64)
	// LogEnd returns where this node's metadata log ends, beyond everything before there is one.
	LogEnd func() int64
}

// Handle answers at once.
func (h *PeerHeartbeat) Handle(_ context.Context, r *Request) Reply {
	req, resp := r.Body.(*kmsg.BrokerHeartbeatRequest), kmsg.NewPtrBrokerHeartbeatResponse()
	if req.BrokerID != r.Conn.Peer.NodeID {
		resp.ErrorCode = int16(kafka.ErrInvalidRequest)
		return Respond(resp)
	}
	h.Touched(req.BrokerID, req.BrokerEpoch)
	if req.CurrentMetadataOffset >= 0 {
		h.Observed(req.BrokerID, r.Conn.Peer.DirectoryID, req.CurrentMetadataOffset+1)
	}
	wire.SetLogEnd(resp, h.LogEnd())
	return Respond(resp)
}
