package security

import (
	"strings"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/wire"
)

// Principal is an authenticated identity, such as User:alice.
type Principal struct {
	Type string
	Name string
}

// Anonymous is the principal of a listener without authentication.
var Anonymous = Principal{Type: "User", Name: "ANONYMOUS"}

// String returns "Type:Name", the form of ACLs and logs.
func (p Principal) String() string { return p.Type + ":" + p.Name }

// ParsePrincipal parses the form that String returns.
func ParsePrincipal(s string) (Principal, bool) {
	kind, name, ok := strings.Cut(s, ":")
	return Principal{Type: kind, Name: name}, ok && kind != ""
}

// Peer is a node of the cluster at the other end of a connection, as it has said in its hello.
type Peer struct {
	NodeID int32
	// DirectoryID is that of the folder with its metadata log, zero for none.
	DirectoryID kafka.UUID
	// IncarnationID is that of its process.
	IncarnationID kafka.UUID
	Purpose       wire.PeerPurpose
}

// Connection is the context of one client connection. The connection's reader goroutine is its
// only writer (ApiVersions sets the software's name and version, PeerHello the peer); handlers of that connection
// run on the same goroutine and may read it. A Wait function that runs later must copy what it needs.
type Connection struct {
	// ID is unique within the process; logs and metrics carry it.
	ID uint64
	// Listener is the name the client came in on: answers advertise that listener's addresses.
	Listener string
	// Protocol is the security protocol of the listener, such as PLAINTEXT.
	Protocol  string
	Principal Principal
	// ClientID is the client.id of the latest request, "" when it sent none.
	ClientID              string
	ClientSoftwareName    string
	ClientSoftwareVersion string
	// PeerAddr and LocalAddr are host:port.
	PeerAddr  string
	LocalAddr string
	// Host is PeerAddr's host alone, which ACLs and group descriptions name.
	Host string
	// Controller says that the client came in on a controller listener.
	Controller bool
	// Privileged says that the listener may be used by brokers and controllers for requests
	// that clients may not send (CVE-2018-1288).
	Privileged bool
	// Peer is the node that has said hello on a privileged listener, nil for clients and before.
	Peer *Peer
	// SendsFiles says that answers may have parts of files instead of bytes.
	SendsFiles bool
}
