package wire

import (
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
)

// PeerFormats are versions of everything that nodes say to each other in private requests. Nodes of different
// releases agree in the hello on the highest that both speak; a release speaks that of the one before, too, or
// a cluster could not be upgraded node by node. The hello's own fields never change: what is added to it, a
// proof of knowing the cluster's secret for one, is a tagged field.
type PeerFormats struct{ Min, Max int16 }

// SpokenFormats are the versions that this release speaks.
var SpokenFormats = PeerFormats{Min: 1, Max: 1}

// Common returns the highest version that two nodes speak; false where there is none.
func (f PeerFormats) Common(other PeerFormats) (int16, bool) {
	highest := min(f.Max, other.Max)
	return highest, highest >= f.Min && highest >= other.Min
}

// String returns "1" or "1 to 3".
func (f PeerFormats) String() string {
	if f.Min == f.Max {
		return strconv.Itoa(int(f.Min))
	}
	return fmt.Sprintf("%d to %d", f.Min, f.Max)
}

// tagMaxFormat is the number of the hello's tagged field for the highest version. Releases that knew one version
// only compare the field that all have.
const tagMaxFormat = 0

func appendMaxFormat(dst []byte, lowest, highest int16) []byte {
	if highest == lowest {
		return appendNoTags(dst)
	}
	return kbin.AppendInt16(append(dst, 1, tagMaxFormat, 2), highest)
}

func (r *peerReader) maxFormat(lowest int16, name string) (highest int16, err error) {
	highest = lowest
	err = r.completeWith(name, func(tag uint32, value *kbin.Reader) {
		if tag == tagMaxFormat {
			highest = value.Int16()
		}
	})
	return highest, err
}

// PeerPurpose says what a connection between nodes is for.
type PeerPurpose int8

// The purposes of connections between nodes.
const (
	// PurposeProbe asks who is there, and nothing else may be asked on the connection.
	PurposeProbe PeerPurpose = iota
	// PurposeRaft carries Raft's messages between voters.
	PurposeRaft
	// PurposeSession carries a broker's heartbeats and metadata pulls.
	PurposeSession
	// PurposeForward carries requests for the active controller.
	PurposeForward
	// PurposeReplica carries a follower's fetches.
	PurposeReplica
	// PurposeTransaction carries transaction markers and verifications.
	PurposeTransaction
)

var purposeNames = [...]string{"probe", "raft", "session", "forward", "replica", "transaction"}

// IsKnown reports whether p is one of the purposes above.
func (p PeerPurpose) IsKnown() bool { return p >= 0 && int(p) < len(purposeNames) }

// String returns the purpose's name.
func (p PeerPurpose) String() string {
	if !p.IsKnown() {
		return fmt.Sprintf("purpose %d", int8(p))
	}
	return purposeNames[p]
}

// PeerHelloRequest is the first request of a node on every connection to another one (key 20000).
type PeerHelloRequest struct {
	peerMessage
	// FormatVersion and MaxFormat are the versions that the asking node speaks.
	FormatVersion int16
	MaxFormat     int16
	// ClusterID is "" as long as the node does not know it.
	ClusterID string
	NodeID    int32
	// DirectoryID is that of the folder with the metadata log, zero for none.
	DirectoryID kafka.UUID
	// IncarnationID is that of the process.
	IncarnationID kafka.UUID
	Purpose       PeerPurpose
}

// PeerHelloResponse says who has been asked, also with an error: the two may then tell where they differ.
type PeerHelloResponse struct {
	peerMessage
	ErrorCode    int16
	ErrorMessage *string
	// FormatVersion is the version that the two speak with each other; with an error it and MaxFormat are those that
	// the node that was asked speaks.
	FormatVersion int16
	MaxFormat     int16
	ClusterID     string
	NodeID        int32
	DirectoryID   kafka.UUID
	IncarnationID kafka.UUID
	// Formed says that the node has a metadata log; what follows is as that knows it. Without one the voters are
	// those that the node lists, if it knows their ids.
	Formed   bool
	LeaderID int32
	Epoch    int32
	Voters   []PeerVoter
}

// PeerVoter is a voter of the metadata quorum.
type PeerVoter struct {
	NodeID      int32
	DirectoryID kafka.UUID
	Listeners   []PeerListener
}

// PeerListener is an address of a voter's controller.
type PeerListener struct {
	Name string
	Host string
	Port uint16
}

// Key returns 20000.
func (*PeerHelloRequest) Key() int16 { return KeyPeerHello }

// ResponseKind returns an empty PeerHelloResponse.
func (*PeerHelloRequest) ResponseKind() kmsg.Response { return &PeerHelloResponse{} }

// AppendTo encodes the request.
func (m *PeerHelloRequest) AppendTo(dst []byte) []byte {
	dst = kbin.AppendInt16(dst, m.FormatVersion)
	dst = kbin.AppendCompactString(dst, m.ClusterID)
	dst = kbin.AppendInt32(dst, m.NodeID)
	dst = kbin.AppendUuid(dst, m.DirectoryID)
	dst = kbin.AppendUuid(dst, m.IncarnationID)
	dst = kbin.AppendInt8(dst, int8(m.Purpose))
	return appendMaxFormat(dst, m.FormatVersion, m.MaxFormat)
}

// ReadFrom decodes the request.
func (m *PeerHelloRequest) ReadFrom(src []byte) error {
	r := peerReader{kbin.Reader{Src: src}}
	m.FormatVersion = r.Int16()
	m.ClusterID = r.CompactString()
	m.NodeID = r.Int32()
	m.DirectoryID = r.Uuid()
	m.IncarnationID = r.Uuid()
	m.Purpose = PeerPurpose(r.Int8())
	var err error
	m.MaxFormat, err = r.maxFormat(m.FormatVersion, "PeerHello request")
	return err
}

// Key returns 20000.
func (*PeerHelloResponse) Key() int16 { return KeyPeerHello }

// RequestKind returns an empty PeerHelloRequest.
func (*PeerHelloResponse) RequestKind() kmsg.Request { return &PeerHelloRequest{} }

// AppendTo encodes the response.
func (m *PeerHelloResponse) AppendTo(dst []byte) []byte {
	dst = kbin.AppendInt16(dst, m.ErrorCode)
	dst = kbin.AppendCompactNullableString(dst, m.ErrorMessage)
	dst = kbin.AppendInt16(dst, m.FormatVersion)
	dst = kbin.AppendCompactString(dst, m.ClusterID)
	dst = kbin.AppendInt32(dst, m.NodeID)
	dst = kbin.AppendUuid(dst, m.DirectoryID)
	dst = kbin.AppendUuid(dst, m.IncarnationID)
	dst = kbin.AppendBool(dst, m.Formed)
	dst = kbin.AppendInt32(dst, m.LeaderID)
	dst = kbin.AppendInt32(dst, m.Epoch)
	dst = kbin.AppendCompactArrayLen(dst, len(m.Voters))
	for i := range m.Voters {
		v := &m.Voters[i]
		dst = kbin.AppendInt32(dst, v.NodeID)
		dst = kbin.AppendUuid(dst, v.DirectoryID)
		dst = kbin.AppendCompactArrayLen(dst, len(v.Listeners))
		for _, l := range v.Listeners {
			dst = kbin.AppendCompactString(dst, l.Name)
			dst = kbin.AppendCompactString(dst, l.Host)
			dst = kbin.AppendUint16(dst, l.Port)
			dst = appendNoTags(dst)
		}
		dst = appendNoTags(dst)
	}
	return appendMaxFormat(dst, m.FormatVersion, m.MaxFormat)
}

// The smallest encodings of a voter and of a listener.
const (
	voterBytes    = 4 + 16 + 1 + 1
	listenerBytes = 1 + 1 + 2 + 1
)

// ReadFrom decodes the response.
func (m *PeerHelloResponse) ReadFrom(src []byte) error {
	r := peerReader{kbin.Reader{Src: src}}
	m.ErrorCode = r.Int16()
	m.ErrorMessage = r.CompactNullableString()
	m.FormatVersion = r.Int16()
	m.ClusterID = r.CompactString()
	m.NodeID = r.Int32()
	m.DirectoryID = r.Uuid()
	m.IncarnationID = r.Uuid()
	m.Formed = r.Bool()
	m.LeaderID = r.Int32()
	m.Epoch = r.Int32()
	m.Voters = make([]PeerVoter, r.count(voterBytes))
	for i := range m.Voters {
		v := &m.Voters[i]
		v.NodeID = r.Int32()
		v.DirectoryID = r.Uuid()
		v.Listeners = make([]PeerListener, r.count(listenerBytes))
		for j := range v.Listeners {
			v.Listeners[j] = PeerListener{Name: r.CompactString(), Host: r.CompactString(), Port: r.Uint16()}
			r.skipTags()
		}
		r.skipTags()
	}
	var err error
	m.MaxFormat, err = r.maxFormat(m.FormatVersion, "PeerHello response")
	return err
}
