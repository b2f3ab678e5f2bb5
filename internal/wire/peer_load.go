package wire

import (
	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// PeerLoadRequest tells the active controller what a broker carries (key 20005, inside PeerForward). After a
// full report only what has changed noticeably is told.
type PeerLoadRequest struct {
	peerMessage
	NodeID      int32
	BrokerEpoch int64
	// IsFull begins anew: what was reported before counts no more.
	IsFull bool
	// HasMore says that this is a part of a report, and not its last.
	HasMore bool
	// LatencyMicros is the 99th percentile of the time that Produce took since the last report, -1 where there was
	// too little of it to tell.
	LatencyMicros int64
	Volumes       []PeerVolume
	Partitions    []PeerPartitionLoad
}

// PeerVolume is a file system with log dirs of a broker. Used is not what has been deleted and waits for its removal.
type PeerVolume struct {
	CapacityBytes int64
	UsedBytes     int64
}

// PeerPartitionLoad is a replica of a broker; a negative size says that it is gone. BytesPerSecond is what is
// produced to it where the broker leads it.
type PeerPartitionLoad struct {
	TopicID        [16]byte
	Partition      int32
	Volume         int8
	SizeBytes      int64
	BytesPerSecond int64
}

const (
	peerVolumeBytes        = 8 + 8 + 1
	peerPartitionLoadBytes = 16 + 4 + 1 + 8 + 8 + 1
)

// PeerLoadResponse tells the broker how to go on.
type PeerLoadResponse struct {
	peerMessage
	ErrorCode int16
	// WantsFull asks for a full report next.
	WantsFull bool
	// NextMs is when to report again.
	NextMs int32
	// CopyBytesPerSecond is how fast the broker copies replicas that the balancer gives it.
	CopyBytesPerSecond int64
}

// PeerBalancerRequest asks the active controller what its balancer does, or would do (key 20006, inside
// PeerForward).
type PeerBalancerRequest struct {
	peerMessage
	// IsPlan asks for the moves that it would make.
	IsPlan bool
}

// PeerBalancerResponse is that, as JSON.
type PeerBalancerResponse struct {
	peerMessage
	ErrorCode int16
	Data      []byte
}

// Key returns 20005.
func (*PeerLoadRequest) Key() int16 { return KeyPeerLoad }

// ResponseKind returns an empty PeerLoadResponse.
func (*PeerLoadRequest) ResponseKind() kmsg.Response { return &PeerLoadResponse{} }

// AppendTo encodes the request.
func (m *PeerLoadRequest) AppendTo(dst []byte) []byte {
	dst = kbin.AppendInt32(dst, m.NodeID)
	dst = kbin.AppendInt64(dst, m.BrokerEpoch)
	dst = kbin.AppendBool(dst, m.IsFull)
	dst = kbin.AppendBool(dst, m.HasMore)
	dst = kbin.AppendInt64(dst, m.LatencyMicros)
	dst = kbin.AppendCompactArrayLen(dst, len(m.Volumes))
	for _, v := range m.Volumes {
		dst = kbin.AppendInt64(dst, v.CapacityBytes)
		dst = kbin.AppendInt64(dst, v.UsedBytes)
		dst = appendNoTags(dst)
	}
	dst = kbin.AppendCompactArrayLen(dst, len(m.Partitions))
	for _, p := range m.Partitions {
		dst = kbin.AppendUuid(dst, p.TopicID)
		dst = kbin.AppendInt32(dst, p.Partition)
		dst = kbin.AppendInt8(dst, p.Volume)
		dst = kbin.AppendInt64(dst, p.SizeBytes)
		dst = kbin.AppendInt64(dst, p.BytesPerSecond)
		dst = appendNoTags(dst)
	}
	return appendNoTags(dst)
}

// ReadFrom decodes the request.
func (m *PeerLoadRequest) ReadFrom(src []byte) error {
	r := peerReader{kbin.Reader{Src: src}}
	m.NodeID = r.Int32()
	m.BrokerEpoch = r.Int64()
	m.IsFull = r.Bool()
	m.HasMore = r.Bool()
	m.LatencyMicros = r.Int64()
	m.Volumes = make([]PeerVolume, r.count(peerVolumeBytes))
	for i := range m.Volumes {
		m.Volumes[i] = PeerVolume{r.Int64(), r.Int64()}
		r.skipTags()
	}
	m.Partitions = make([]PeerPartitionLoad, r.count(peerPartitionLoadBytes))
	for i := range m.Partitions {
		m.Partitions[i] = PeerPartitionLoad{r.Uuid(), r.Int32(), r.Int8(), r.Int64(), r.Int64()}
		r.skipTags()
	}
	return r.complete("PeerLoad request")
}

// Key returns 20005.
func (*PeerLoadResponse) Key() int16 { return KeyPeerLoad }

// RequestKind returns an empty PeerLoadRequest.
func (*PeerLoadResponse) RequestKind() kmsg.Request { return &PeerLoadRequest{} }

// AppendTo encodes the response.
func (m *PeerLoadResponse) AppendTo(dst []byte) []byte {
	dst = kbin.AppendInt16(dst, m.ErrorCode)
	dst = kbin.AppendBool(dst, m.WantsFull)
	dst = kbin.AppendInt32(dst, m.NextMs)
	dst = kbin.AppendInt64(dst, m.CopyBytesPerSecond)
	return appendNoTags(dst)
}

// ReadFrom decodes the response.
func (m *PeerLoadResponse) ReadFrom(src []byte) error {
	r := peerReader{kbin.Reader{Src: src}}
	m.ErrorCode = r.Int16()
	m.WantsFull = r.Bool()
	m.NextMs = r.Int32()
	m.CopyBytesPerSecond = r.Int64()
	return r.complete("PeerLoad response")
}

// Key returns 20006.
func (*PeerBalancerRequest) Key() int16 { return KeyPeerBalancer }

// ResponseKind returns an empty PeerBalancerResponse.
func (*PeerBalancerRequest) ResponseKind() kmsg.Response { return &PeerBalancerResponse{} }

// AppendTo encodes the request.
func (m *PeerBalancerRequest) AppendTo(dst []byte) []byte {
	return appendNoTags(kbin.AppendBool(dst, m.IsPlan))
}

// ReadFrom decodes the request.
func (m *PeerBalancerRequest) ReadFrom(src []byte) error {
	r := peerReader{kbin.Reader{Src: src}}
	m.IsPlan = r.Bool()
	return r.complete("PeerBalancer request")
}

// Key returns 20006.
func (*PeerBalancerResponse) Key() int16 { return KeyPeerBalancer }

// RequestKind returns an empty PeerBalancerRequest.
func (*PeerBalancerResponse) RequestKind() kmsg.Request { return &PeerBalancerRequest{} }

// AppendTo encodes the response.
func (m *PeerBalancerResponse) AppendTo(dst []byte) []byte {
	dst = kbin.AppendInt16(dst, m.ErrorCode)
	dst = kbin.AppendCompactBytes(dst, m.Data)
	return appendNoTags(dst)
}

// ReadFrom decodes the response.
func (m *PeerBalancerResponse) ReadFrom(src []byte) error {
	r := peerReader{kbin.Reader{Src: src}}
	m.ErrorCode = r.Int16()
	m.Data = r.CompactBytes()
	return r.complete("PeerBalancer response")
}
