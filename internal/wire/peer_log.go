package wire

import (
	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
)

// PeerRaftRequest carries Raft's messages from one voter to another, in order (key 20001). They may get
// lost.
type PeerRaftRequest struct {
	peerMessage
	// FromPeerID is Raft's id of the sender.
	FromPeerID uint64
	// Messages alias the request's bytes.
	Messages [][]byte
}

// PeerRaftResponse confirms that the messages have arrived.
type PeerRaftResponse struct {
	peerMessage
	ErrorCode int16
}

// PeerMetadataRequest asks a voter for what is committed behind a position of the metadata log (key
// 20002). The answer waits up to MaxWaitMs for something to come.
type PeerMetadataRequest struct {
	peerMessage
	// NodeID, DirectoryID and BrokerEpoch are the asking node's; the epoch is -1 for one that is no
	// registered broker.
	NodeID      int32
	DirectoryID kafka.UUID
	BrokerEpoch int64
	AfterIndex  uint64
	AfterEpoch  int32
	MaxBytes    int32
	MaxWaitMs   int32
}

// PeerMetadataResponse is a quorum.Page.
type PeerMetadataResponse struct {
	peerMessage
	ErrorCode       int16
	LeaderID        int32
	LeaderDirectory kafka.UUID
	Epoch           int32
	CommitIndex     uint64
	HighWatermark   int64
	AfterIndex      uint64
	AfterEpoch      int32
	Diverging       bool
	// HasSnapshot says that the log does not go back so far, and to fetch this snapshot.
	HasSnapshot       bool
	SnapshotEndOffset int64
	SnapshotEpoch     int32
	// Batches alias the response's bytes.
	Batches []byte
}

// PeerSnapshotRequest asks a voter for a piece of a snapshot of the metadata (key 20003).
type PeerSnapshotRequest struct {
	peerMessage
	EndOffset int64
	Epoch     int32
	Position  int64
	MaxBytes  int32
}

// PeerSnapshotResponse is that piece, and how large the whole snapshot is.
type PeerSnapshotResponse struct {
	peerMessage
	ErrorCode int16
	SizeBytes int64
	// Data aliases the response's bytes.
	Data []byte
}

// Key returns 20001.
func (*PeerRaftRequest) Key() int16 { return KeyPeerRaft }

// ResponseKind returns an empty PeerRaftResponse.
func (*PeerRaftRequest) ResponseKind() kmsg.Response { return &PeerRaftResponse{} }

// AppendTo encodes the request.
func (m *PeerRaftRequest) AppendTo(dst []byte) []byte {
	dst = kbin.AppendInt64(dst, int64(m.FromPeerID))
	dst = kbin.AppendCompactArrayLen(dst, len(m.Messages))
	for _, message := range m.Messages {
		dst = kbin.AppendCompactBytes(dst, message)
	}
	return appendNoTags(dst)
}

// ReadFrom decodes the request.
func (m *PeerRaftRequest) ReadFrom(src []byte) error {
	r := peerReader{kbin.Reader{Src: src}}
	m.FromPeerID = uint64(r.Int64())
	m.Messages = make([][]byte, r.count(1))
	for i := range m.Messages {
		m.Messages[i] = r.CompactBytes()
	}
	return r.complete("PeerRaft request")
}

// Key returns 20001.
func (*PeerRaftResponse) Key() int16 { return KeyPeerRaft }

// RequestKind returns an empty PeerRaftRequest.
func (*PeerRaftResponse) RequestKind() kmsg.Request { return &PeerRaftRequest{} }

// AppendTo encodes the response.
func (m *PeerRaftResponse) AppendTo(dst []byte) []byte {
	return appendNoTags(kbin.AppendInt16(dst, m.ErrorCode))
}

// ReadFrom decodes the response.
func (m *PeerRaftResponse) ReadFrom(src []byte) error {
	r := peerReader{kbin.Reader{Src: src}}
	m.ErrorCode = r.Int16()
	return r.complete("PeerRaft response")
}

// Key returns 20002.
func (*PeerMetadataRequest) Key() int16 { return KeyPeerMetadata }

// ResponseKind returns an empty PeerMetadataResponse.
func (*PeerMetadataRequest) ResponseKind() kmsg.Response { return &PeerMetadataResponse{} }

// AppendTo encodes the request.
func (m *PeerMetadataRequest) AppendTo(dst []byte) []byte {
	dst = kbin.AppendInt32(dst, m.NodeID)
	dst = kbin.AppendUuid(dst, m.DirectoryID)
	dst = kbin.AppendInt64(dst, m.BrokerEpoch)
	dst = kbin.AppendInt64(dst, int64(m.AfterIndex))
	dst = kbin.AppendInt32(dst, m.AfterEpoch)
	dst = kbin.AppendInt32(dst, m.MaxBytes)
	dst = kbin.AppendInt32(dst, m.MaxWaitMs)
	return appendNoTags(dst)
}

// ReadFrom decodes the request.
func (m *PeerMetadataRequest) ReadFrom(src []byte) error {
	r := peerReader{kbin.Reader{Src: src}}
	m.NodeID = r.Int32()
	m.DirectoryID = r.Uuid()
	m.BrokerEpoch = r.Int64()
	m.AfterIndex = uint64(r.Int64())
	m.AfterEpoch = r.Int32()
	m.MaxBytes = r.Int32()
	m.MaxWaitMs = r.Int32()
	return r.complete("PeerMetadata request")
}

// Key returns 20002.
func (*PeerMetadataResponse) Key() int16 { return KeyPeerMetadata }

// RequestKind returns an empty PeerMetadataRequest.
func (*PeerMetadataResponse) RequestKind() kmsg.Request { return &PeerMetadataRequest{} }

// AppendTo encodes the response.
func (m *PeerMetadataResponse) AppendTo(dst []byte) []byte {
	dst = kbin.AppendInt16(dst, m.ErrorCode)
	dst = kbin.AppendInt32(dst, m.LeaderID)
	dst = kbin.AppendUuid(dst, m.LeaderDirectory)
	dst = kbin.AppendInt32(dst, m.Epoch)
	dst = kbin.AppendInt64(dst, int64(m.CommitIndex))
	dst = kbin.AppendInt64(dst, m.HighWatermark)
	dst = kbin.AppendInt64(dst, int64(m.AfterIndex))
	dst = kbin.AppendInt32(dst, m.AfterEpoch)
	dst = kbin.AppendBool(dst, m.Diverging)
	dst = kbin.AppendBool(dst, m.HasSnapshot)
	dst = kbin.AppendInt64(dst, m.SnapshotEndOffset)
	dst = kbin.AppendInt32(dst, m.SnapshotEpoch)
	dst = kbin.AppendCompactBytes(dst, m.Batches)
	return appendNoTags(dst)
}

// ReadFrom decodes the response.
func (m *PeerMetadataResponse) ReadFrom(src []byte) error {
	r := peerReader{kbin.Reader{Src: src}}
	m.ErrorCode = r.Int16()
	m.LeaderID = r.Int32()
	m.LeaderDirectory = r.Uuid()
	m.Epoch = r.Int32()
	m.CommitIndex = uint64(r.Int64())
	m.HighWatermark = r.Int64()
	m.AfterIndex = uint64(r.Int64())
	m.AfterEpoch = r.Int32()
	m.Diverging = r.Bool()
	m.HasSnapshot = r.Bool()
	m.SnapshotEndOffset = r.Int64()
	m.SnapshotEpoch = r.Int32()
	m.Batches = r.CompactBytes()
	return r.complete("PeerMetadata response")
}

// Key returns 20003.
func (*PeerSnapshotRequest) Key() int16 { return KeyPeerSnapshot }

// ResponseKind returns an empty PeerSnapshotResponse.
func (*PeerSnapshotRequest) ResponseKind() kmsg.Response { return &PeerSnapshotResponse{} }

// AppendTo encodes the request.
func (m *PeerSnapshotRequest) AppendTo(dst []byte) []byte {
	dst = kbin.AppendInt64(dst, m.EndOffset)
	dst = kbin.AppendInt32(dst, m.Epoch)
	dst = kbin.AppendInt64(dst, m.Position)
	dst = kbin.AppendInt32(dst, m.MaxBytes)
	return appendNoTags(dst)
}

// ReadFrom decodes the request.
func (m *PeerSnapshotRequest) ReadFrom(src []byte) error {
	r := peerReader{kbin.Reader{Src: src}}
	m.EndOffset = r.Int64()
	m.Epoch = r.Int32()
	m.Position = r.Int64()
	m.MaxBytes = r.Int32()
	return r.complete("PeerSnapshot request")
}

// Key returns 20003.
func (*PeerSnapshotResponse) Key() int16 { return KeyPeerSnapshot }

// RequestKind returns an empty PeerSnapshotRequest.
func (*PeerSnapshotResponse) RequestKind() kmsg.Request { return &PeerSnapshotRequest{} }

// AppendTo encodes the response.
func (m *PeerSnapshotResponse) AppendTo(dst []byte) []byte {
	dst = kbin.AppendInt16(dst, m.ErrorCode)
	dst = kbin.AppendInt64(dst, m.SizeBytes)
	dst = kbin.AppendCompactBytes(dst, m.Data)
	return appendNoTags(dst)
}

// ReadFrom decodes the response.
func (m *PeerSnapshotResponse) ReadFrom(src []byte) error {
	r := peerReader{kbin.Reader{Src: src}}
	m.ErrorCode = r.Int16()
	m.SizeBytes = r.Int64()
	m.Data = r.CompactBytes()
	return r.complete("PeerSnapshot response")
}
