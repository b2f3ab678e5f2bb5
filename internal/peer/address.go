package peer

import (
	"net"
	"strconv"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/quorum"
	"github.com/moldau/moldau/internal/wire"
)

// Self is what this node says of itself in a hello.
type Self struct {
	// ClusterID returns the cluster's id, "" as long as the node does not know it.
	ClusterID func() string
	NodeID    int32
	// DirectoryID is that of the folder with the metadata log, zero for none.
	DirectoryID kafka.UUID
	// IncarnationID is that of this process.
	IncarnationID kafka.UUID
	// Formats are the versions of private requests that the node speaks; zero for those of this release.
	Formats wire.PeerFormats
}

// SpokenFormats are the versions of private requests that the node speaks.
func (s Self) SpokenFormats() wire.PeerFormats {
	if s.Formats == (wire.PeerFormats{}) {
		return wire.SpokenFormats
	}
	return s.Formats
}

// Address is where a node listens.
type Address struct {
	// NodeID is who must be there, kafka.NoNode if that is not known.
	NodeID int32
	Host   string
	Port   uint16
}

// String returns "node 3 (host:port)", or "host:port" where the node is not known.
func (a Address) String() string {
	if a.NodeID == kafka.NoNode {
		return a.hostPort()
	}
	return "node " + strconv.Itoa(int(a.NodeID)) + " (" + a.hostPort() + ")"
}

func (a Address) hostPort() string { return net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port))) }

// ControllerAddress returns where a voter's controller listens; false for a voter without an address.
func ControllerAddress(voter quorum.VoterSpec) (Address, bool) {
	if len(voter.Listeners) == 0 {
		return Address{}, false
	}
	return Address{NodeID: voter.NodeID, Host: voter.Listeners[0].Host, Port: voter.Listeners[0].Port}, true
}
