package handler

import (
	"context"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/quorum"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/wire"
)

// PeerHello learns who is at the other end of a connection of the cluster's own, and says who this node
// is (key 20000). The server lets nobody else in on listeners for clients.
type PeerHello struct {
	Self peer.Self
	// Quorum returns what this node knows of the metadata quorum; formed is false as long as it has no
	// metadata log. The voters are then those that it lists, as far as it knows who they are.
	Quorum func() (leadership quorum.Leadership, voters []quorum.VoterSpec, formed bool)
}

// Handle makes the connection a peer's, unless the node has only asked who is there. One that does not
// belong here is told why, and the connection ends.
func (h *PeerHello) Handle(_ context.Context, r *Request) Reply {
	req := r.Body.(*wire.PeerHelloRequest)
	ours := h.Self.SpokenFormats()
	resp := &wire.PeerHelloResponse{FormatVersion: ours.Min, MaxFormat: ours.Max, ClusterID: h.Self.ClusterID(), NodeID: h.Self.NodeID,
		DirectoryID: h.Self.DirectoryID, IncarnationID: h.Self.IncarnationID, LeaderID: kafka.NoLeader}
	leadership, voters, formed := h.Quorum()
	if formed {
		resp.Formed, resp.LeaderID, resp.Epoch = true, leadership.LeaderID, leadership.Epoch
	}
	for _, v := range voters {
		voter := wire.PeerVoter{NodeID: v.NodeID, DirectoryID: v.DirectoryID}
		for _, l := range v.Listeners {
			voter.Listeners = append(voter.Listeners, wire.PeerListener{Name: l.Name, Host: l.Host, Port: l.Port})
		}
		resp.Voters = append(resp.Voters, voter)
	}
	reply := Respond(resp)
	if err := h.check(r.Conn, req); err != nil {
		resp.ErrorCode, resp.ErrorMessage = errorFields(err)
		reply.CloseConnection = true
		return reply
	}
	resp.FormatVersion, _ = ours.Common(wire.PeerFormats{Min: req.FormatVersion, Max: req.MaxFormat})
	resp.MaxFormat = resp.FormatVersion
	if req.Purpose != wire.PurposeProbe {
		r.Conn.Peer = &security.Peer{NodeID: req.NodeID, DirectoryID: req.DirectoryID, IncarnationID: req.IncarnationID, Purpose: req.Purpose}
	}
	return reply
}

// check refuses who cannot be a node of this cluster.
func (h *PeerHello) check(c *security.Connection, req *wire.PeerHelloRequest) error {
	ours, formats := h.Self.ClusterID(), wire.PeerFormats{Min: req.FormatVersion, Max: req.MaxFormat}
	_, understood := formats.Common(h.Self.SpokenFormats())
	switch {
	case !understood:
		return kafka.Errorf(kafka.ErrUnsupportedVersion, "node %d speaks version %s of the requests between nodes, this node version %s: install releases that follow each other, the newer one on the node that speaks the lower version",
			req.NodeID, formats, h.Self.SpokenFormats())
	case !req.Purpose.IsKnown():
		return kafka.Errorf(kafka.ErrUnsupportedVersion, "this node knows no connections of %s", req.Purpose)
	case c.Peer != nil:
		return kafka.Errorf(kafka.ErrInvalidRequest, "node %d has said hello on this connection before", c.Peer.NodeID)
	case req.Purpose == wire.PurposeProbe:
		return nil
	case req.NodeID < 0 || req.IncarnationID.IsZero():
		return kafka.Errorf(kafka.ErrInvalidRequest, "a hello of node %d in incarnation %s", req.NodeID, req.IncarnationID)
	case ours != "" && req.ClusterID != "" && ours != req.ClusterID:
		return kafka.Errorf(kafka.ErrInconsistentClusterID, "node %d belongs to cluster %s, this node to %s: check the addresses in controller.quorum.voters and controller.quorum.bootstrap.servers, and the node's log dirs", req.NodeID, req.ClusterID, ours)
	case req.NodeID == h.Self.NodeID && req.IncarnationID != h.Self.IncarnationID:
		return kafka.Errorf(kafka.ErrDuplicateBrokerRegistration, "two nodes have node.id=%d: give one of them another", req.NodeID)
	}
	return nil
}
