package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/quorum"
	"github.com/moldau/moldau/internal/wire"
)

const (
	// catchUpWait is how long a node that is to vote may take to catch up, where it follows at all.
	catchUpWait = 5 * time.Second
	// voterProbeTimeout is how long it may take to say who it is.
	voterProbeTimeout = 2 * time.Second
)

// changeVoters carries out AddRaftVoter, RemoveRaftVoter and UpdateRaftVoter on the node that leads (KIP-853).
// The error is NOT_CONTROLLER where the new leader has to be asked.
func (b *broker) changeVoters(ctx context.Context, req kmsg.Request) (kmsg.Response, int64, error) {
	var err error
	switch r := req.(type) {
	case *kmsg.AddRaftVoterRequest:
		err = b.addVoter(ctx, r)
	case *kmsg.RemoveRaftVoterRequest:
		err = b.removeVoter(ctx, r)
	case *kmsg.UpdateRaftVoterRequest:
		err = b.updateVoter(ctx, r)
	}
	if errors.Is(err, kafka.ErrNotController) {
		return nil, kafka.NoOffset, err
	}
	offset := b.quorum.HighWatermark() - 1
	if err != nil {
		offset = kafka.NoOffset
	}
	return answerOf(req, err, b.quorum.Leadership()), offset, nil
}

// answerOf is the response to a request about voters.
func answerOf(req kmsg.Request, err error, leader quorum.Leadership) kmsg.Response {
	code, message := int16(0), (*string)(nil)
	if errors.Is(err, context.DeadlineExceeded) && kafka.CodeOf(err) == kafka.ErrUnknownServerError {
		err = kafka.Errorf(kafka.ErrRequestTimedOut, "The change of the voters is not committed yet; it may still be.")
	}
	if err != nil {
		code, message = int16(kafka.CodeOf(err)), kafka.MessageOf(err)
		if message == nil {
			message = kmsg.StringPtr(err.Error())
		}
	}
	switch req.(type) {
	case *kmsg.AddRaftVoterRequest:
		resp := kmsg.NewPtrAddRaftVoterResponse()
		resp.ErrorCode, resp.ErrorMessage = code, message
		return resp
	case *kmsg.RemoveRaftVoterRequest:
		resp := kmsg.NewPtrRemoveRaftVoterResponse()
		resp.ErrorCode, resp.ErrorMessage = code, message
		return resp
	}
	resp := kmsg.NewPtrUpdateRaftVoterResponse()
	resp.ErrorCode = code
	resp.CurrentLeader.LeaderID, resp.CurrentLeader.LeaderEpoch = leader.LeaderID, leader.Epoch
	return resp
}

// checkVoter has Kafka's rules about whom such a request names.
func (b *broker) checkVoter(clusterID *string, nodeID int32, directory kafka.UUID) error {
	switch {
	case clusterID != nil && *clusterID != b.dirs.ClusterID:
		return kafka.Errorf(kafka.ErrInconsistentClusterID, "The given id %q doesn't match the cluster id %q.", *clusterID, b.dirs.ClusterID)
	case nodeID < 0 || directory.IsZero():
		return kafka.Errorf(kafka.ErrInvalidRequest, "(%d, %s) is no voter: a node id of 0 or more and the directory id of its metadata log are needed.", nodeID, directory)
	}
	return nil
}

// withDefaultFirst returns the listeners of a voter with the one first through which controllers reach each other.
func (b *broker) withDefaultFirst(listeners []quorum.VoterListener) ([]quorum.VoterListener, error) {
	if len(b.config.ControllerListenerNames) == 0 {
		return listeners, nil
	}
	name := b.config.ControllerListenerNames[0]
	at := slices.IndexFunc(listeners, func(l quorum.VoterListener) bool { return l.Name == name })
	if at < 0 {
		return nil, kafka.Errorf(kafka.ErrInvalidRequest, "The request doesn't include an endpoint for %s, the listener through which controllers reach each other.", name)
	}
	return append([]quorum.VoterListener{listeners[at]}, slices.Delete(slices.Clone(listeners), at, at+1)...), nil
}

func sameVoter(a, b quorum.VoterSpec) bool {
	return a.NodeID == b.NodeID && a.DirectoryID == b.DirectoryID && slices.Equal(a.Listeners, b.Listeners)
}

func (b *broker) addVoter(ctx context.Context, r *kmsg.AddRaftVoterRequest) error {
	added := quorum.VoterSpec{NodeID: r.VoterID, DirectoryID: r.VoterDirectoryID}
	if err := b.checkVoter(r.ClusterID, added.NodeID, added.DirectoryID); err != nil {
		return err
	}
	for _, l := range r.Listeners {
		added.Listeners = append(added.Listeners, quorum.VoterListener{Name: l.Name, Host: l.Host, Port: l.Port})
	}
	var err error
	if added.Listeners, err = b.withDefaultFirst(added.Listeners); err != nil {
		return err
	}
	known := slices.ContainsFunc(b.quorum.Voters(), func(v quorum.VoterSpec) bool { return v.NodeID == added.NodeID })
	if !known && b.cluster != nil {
		if err := b.probeVoter(ctx, added); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, catchUpWait)
	defer cancel()
	if err := b.quorum.AddVoter(ctx, added); err != nil {
		return err
	}
	slog.Warn("a controller votes on the metadata from now on", "nodeId", added.NodeID, "directoryId", added.DirectoryID)
	return nil
}

// probeVoter makes sure that the node to be is at its address: the others wait for the vote of one that cannot be reached.
func (b *broker) probeVoter(ctx context.Context, added quorum.VoterSpec) error {
	ctx, cancel := context.WithTimeout(ctx, voterProbeTimeout)
	defer cancel()
	l := added.Listeners[0]
	at := peer.Address{NodeID: kafka.NoNode, Host: l.Host, Port: l.Port}
	hello, err := peer.Probe(ctx, b.cluster.self, at, nil)
	switch {
	case err != nil:
		return &kafka.Error{Code: kafka.ErrRequestTimedOut, Message: fmt.Sprintf("New voter (%d, %s) is not ready to receive requests at %s. Start it, and try again.", added.NodeID, added.DirectoryID, at), Cause: err}
	case hello.NodeID != added.NodeID || hello.DirectoryID != added.DirectoryID:
		return kafka.Errorf(kafka.ErrInvalidRequest, "(%d, %s) is to vote, but (%d, %s) answers at %s.", added.NodeID, added.DirectoryID, hello.NodeID, hello.DirectoryID, at)
	}
	return b.probeRaft(ctx, added, at)
}

// probeRaft makes sure that a node takes Raft's messages at an address: at its listener for brokers, and where it is
// no controller, it says hello, too.
func (b *broker) probeRaft(ctx context.Context, added quorum.VoterSpec, at peer.Address) error {
	conn, err := peer.Dial(ctx, peer.Options{Self: b.cluster.self, Address: at, Purpose: wire.PurposeRaft, Spawner: b.spawner, RequestTimeout: voterProbeTimeout, MaxInFlight: 1})
	if err == nil {
		defer conn.Close()
		_, err = conn.Call(ctx, &wire.PeerRaftRequest{FromPeerID: quorum.PeerID(b.cluster.self.DirectoryID)})
	}
	if err != nil {
		return &kafka.Error{Code: kafka.ErrInvalidRequest, Message: fmt.Sprintf("(%d, %s) is to vote, but takes no messages of voters at %s: the address of its controller listener is required, and process.roles with controller.",
			added.NodeID, added.DirectoryID, at), Cause: err}
	}
	return nil
}

// removeVoter also removes this node: another one leads before, so that nobody waits for an election.
func (b *broker) removeVoter(ctx context.Context, r *kmsg.RemoveRaftVoterRequest) error {
	if err := b.checkVoter(r.ClusterID, r.VoterID, r.VoterDirectoryID); err != nil {
		return err
	}
	directory := kafka.UUID(r.VoterDirectoryID)
	if directory == b.dirs.DirectoryIDs[b.config.MetadataLogDir] && r.VoterID == b.config.NodeID && len(b.quorum.Voters()) > 1 {
		err := b.quorum.TransferLeadership(ctx, kafka.NoLeader)
		if err == nil {
			return kafka.Errorf(kafka.ErrNotController, "this node has handed over to another controller, which removes it")
		}
		slog.Warn("no other controller takes over from this one, which is to be removed", "error", err)
	}
	if err := b.quorum.RemoveVoter(ctx, r.VoterID, directory); err != nil {
		return err
	}
	slog.Warn("a controller votes on the metadata no longer", "nodeId", r.VoterID, "directoryId", directory)
	return nil
}

func (b *broker) updateVoter(ctx context.Context, r *kmsg.UpdateRaftVoterRequest) error {
	updated := quorum.VoterSpec{NodeID: r.VoterID, DirectoryID: r.VoterDirectoryID}
	if err := b.checkVoter(r.ClusterID, updated.NodeID, updated.DirectoryID); err != nil {
		return err
	}
	switch epoch := b.quorum.Leadership().Epoch; {
	case r.CurrentLeaderEpoch < epoch:
		return kafka.ErrFencedLeaderEpoch
	case r.CurrentLeaderEpoch > epoch:
		return kafka.ErrUnknownLeaderEpoch
	case r.KRaftVersionFeature.MinSupportedVersion > quorum.KRaftVersion || r.KRaftVersionFeature.MaxSupportedVersion < quorum.KRaftVersion:
		return kafka.Errorf(kafka.ErrInvalidRequest, "The voter does not support kraft.version %d.", quorum.KRaftVersion)
	}
	for _, l := range r.Listeners {
		updated.Listeners = append(updated.Listeners, quorum.VoterListener{Name: l.Name, Host: l.Host, Port: l.Port})
	}
	var err error
	if updated.Listeners, err = b.withDefaultFirst(updated.Listeners); err != nil {
		return err
	}
	if slices.ContainsFunc(b.quorum.Voters(), func(v quorum.VoterSpec) bool { return sameVoter(v, updated) }) {
		return nil
	}
	if err := b.quorum.UpdateVoter(ctx, updated); err != nil {
		return err
	}
	slog.Warn("a controller is reached elsewhere from now on", "nodeId", updated.NodeID, "listeners", updated.Listeners)
	return nil
}
