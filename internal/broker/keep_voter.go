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
	// voterPause is the time between looks at what the quorum knows of this node, tellTimeout how long telling
	// the leader may take.
	voterPause  = 500 * time.Millisecond
	tellTimeout = 10 * time.Second
	// quietHandOver is for how long the operator need not hear that there is no leader, or another one: a hand-over takes less.
	quietHandOver = 5 * time.Second
	// handOverTimeout bounds how long a stop waits for another active controller.
	handOverTimeout = time.Second
	handOverPause   = time.Millisecond
)

// keepVoter tells the quorum's leader where this controller is reached, once its properties say otherwise than the
// metadata log, and with controller.quorum.auto.join.enable has it vote.
func (b *broker) keepVoter(ctx context.Context) {
	ticker := time.NewTicker(voterPause)
	defer ticker.Stop()
	var told complaint
	warned := b.config.IsClustered()
	for {
		if !warned && len(b.quorum.Voters()) > 1 {
			warned = true
			slog.Warn("this node's properties name no other controller, but there are others: with an empty disk it would begin a cluster of its own. Name them in controller.quorum.bootstrap.servers")
		}
		if err := b.tellLeader(ctx); ctx.Err() == nil && told.isNew(err, time.Now()) {
			slog.Warn("the controllers do not know yet where this one is reached, or that it is to vote; they are told again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// complaint is what the operator hears of failures to reach the leader, one after the other: each once, and nothing of hand-overs.
type complaint struct {
	said  string
	since time.Time // the first of the failures
}

func (c *complaint) isNew(err error, now time.Time) bool {
	if err == nil {
		c.since = time.Time{}
		return false
	}
	if c.since.IsZero() {
		c.since = now
	}
	isHandOver := errors.Is(err, errNoLeader) || errors.Is(err, kafka.ErrNotController) || errors.Is(err, kafka.ErrNotLeaderOrFollower)
	if err.Error() == c.said || isHandOver && now.Sub(c.since) < quietHandOver {
		return false
	}
	c.said = err.Error()
	return true
}

// tellLeader sends what the leader has to know of this node as a voter, if anything.
func (b *broker) tellLeader(ctx context.Context) error {
	req := voterRequest(b.cluster.voter, b.quorum.Voters(), b.config.AutoJoin)
	if req == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, tellTimeout)
	defer cancel()
	leader, address, err := b.findLeader(ctx)
	if err != nil {
		return err
	}
	var resp kmsg.Response
	if update, ok := req.(*kmsg.UpdateRaftVoterRequest); ok {
		update.CurrentLeaderEpoch = leader.Epoch
	}
	if leader.LeaderID == b.config.NodeID {
		resp, _, err = b.controller.Handle(ctx, self, req)
	} else {
		resp, err = b.forwardTo(ctx, address, req)
	}
	if err != nil {
		return err
	}
	code, message := kafka.ErrNone, (*string)(nil)
	switch r := resp.(type) {
	case *kmsg.UpdateRaftVoterResponse:
		code = kafka.ErrorCode(r.ErrorCode)
	case *kmsg.AddRaftVoterResponse:
		code, message = kafka.ErrorCode(r.ErrorCode), r.ErrorMessage
	case *kmsg.RemoveRaftVoterResponse:
		code, message = kafka.ErrorCode(r.ErrorCode), r.ErrorMessage
	}
	if code == kafka.ErrNone || code == kafka.ErrFencedLeaderEpoch || code == kafka.ErrUnknownLeaderEpoch { // it asks again, with the new epoch
		return nil
	}
	if message == nil {
		return code
	}
	return &kafka.Error{Code: code, Message: *message}
}

// voterRequest is what to ask the leader for, nil for nothing: that it corrects where this voter is reached; or of
// one that joins by itself, that it removes the voter with the same id and another folder, then that it adds this one.
func voterRequest(self quorum.VoterSpec, voters []quorum.VoterSpec, joins bool) kmsg.Request {
	for _, v := range voters {
		switch {
		case v.DirectoryID == self.DirectoryID && sameListeners(v.Listeners, self.Listeners):
			return nil
		case v.DirectoryID == self.DirectoryID:
			req := kmsg.NewPtrUpdateRaftVoterRequest()
			req.VoterID, req.VoterDirectoryID = self.NodeID, self.DirectoryID
			req.KRaftVersionFeature.MaxSupportedVersion = quorum.KRaftVersion
			for _, l := range self.Listeners {
				req.Listeners = append(req.Listeners, kmsg.UpdateRaftVoterRequestListener{Name: l.Name, Host: l.Host, Port: l.Port})
			}
			return req
		case joins && v.NodeID == self.NodeID:
			req := kmsg.NewPtrRemoveRaftVoterRequest()
			req.VoterID, req.VoterDirectoryID = v.NodeID, v.DirectoryID
			return req
		}
	}
	if !joins {
		return nil
	}
	req := kmsg.NewPtrAddRaftVoterRequest()
	req.SetVersion(req.MaxVersion())
	req.VoterID, req.VoterDirectoryID = self.NodeID, self.DirectoryID
	for _, l := range self.Listeners {
		req.Listeners = append(req.Listeners, kmsg.AddRaftVoterRequestListener{Name: l.Name, Host: l.Host, Port: l.Port})
	}
	return req
}

// sameListeners compares them in any order: the leader keeps the one first that is its own default.
func sameListeners(a, b []quorum.VoterListener) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(l quorum.VoterListener) bool { return !slices.Contains(b, l) })
}

var errNoLeader = errors.New("the metadata quorum has no leader that can be reached")

// findLeader returns who leads and where. A voter that has moved hears nothing of the leader; so it asks all that
// it knows of.
func (b *broker) findLeader(ctx context.Context) (quorum.Leadership, peer.Address, error) {
	if l := b.quorum.Leadership(); l.LeaderID != kafka.NoLeader {
		if address, ok := voterAddress(b.quorum.Voters(), l.LeaderID); ok || l.LeaderID == b.config.NodeID {
			return l, address, nil
		}
	}
	var places []peer.Address
	for _, v := range b.quorum.Voters() {
		if address, ok := peer.ControllerAddress(v); ok && v.NodeID != b.config.NodeID {
			places = append(places, address)
		}
	}
	for _, l := range b.listed() {
		places = append(places, peer.Address{NodeID: l.NodeID, Host: l.Listener.Host, Port: l.Listener.Port})
	}
	for _, at := range places {
		at.NodeID = kafka.NoNode
		hello, err := peer.Probe(ctx, b.cluster.self, at, nil)
		if err != nil || hello.LeaderID == kafka.NoLeader || hello.ClusterID != b.dirs.ClusterID {
			continue
		}
		for _, v := range hello.Voters {
			if v.NodeID == hello.LeaderID && len(v.Listeners) > 0 && v.NodeID != b.config.NodeID {
				return quorum.Leadership{LeaderID: hello.LeaderID, Epoch: hello.Epoch}, peer.Address{NodeID: v.NodeID, Host: v.Listeners[0].Host, Port: v.Listeners[0].Port}, nil
			}
		}
	}
	return quorum.Leadership{}, peer.Address{}, errNoLeader
}

func voterAddress(voters []quorum.VoterSpec, nodeID int32) (peer.Address, bool) {
	for _, v := range voters {
		if v.NodeID == nodeID {
			return peer.ControllerAddress(v)
		}
	}
	return peer.Address{}, false
}

// forwardTo asks the controller of another node directly.
func (b *broker) forwardTo(ctx context.Context, address peer.Address, req kmsg.Request) (kmsg.Response, error) {
	conn, err := peer.Dial(ctx, peer.Options{Self: b.cluster.self, Address: address, Purpose: wire.PurposeForward, Spawner: b.spawner,
		RequestTimeout: peerRequestTimeout, MaxInFlight: 1, OnLost: b.cluster.watch.Lost})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	answer, err := conn.Call(ctx, &wire.PeerForwardRequest{Principal: self.Principal, ClientID: self.ClientID, Host: self.Host,
		APIKey: req.Key(), APIVersion: req.GetVersion(), Body: req.AppendTo(nil)})
	if err != nil {
		return nil, err
	}
	f := answer.(*wire.PeerForwardResponse)
	if f.ErrorCode != 0 {
		return nil, fmt.Errorf("%s: %w", address, kafka.ErrorCode(f.ErrorCode))
	}
	return wire.DecodeForwarded(req, f.Body)
}

// handOverQuorum has another controller lead before this one stops, so that nobody waits for an election.
func (b *broker) handOverQuorum() error {
	if !b.quorum.Leadership().IsSelf || len(b.quorum.Voters()) < 2 || b.faulted.Load() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), handOverTimeout)
	defer cancel()
	b.onNoMajority(ctx, cancel) // the one that takes over may be stopping, too
	if err := b.quorum.TransferLeadership(ctx, kafka.NoLeader); err != nil {
		slog.Info("no other controller takes over from this one", "error", err)
		return nil
	}
	ticker := time.NewTicker(handOverPause)
	defer ticker.Stop()
	for l := b.quorum.Leadership(); l.LeaderID == kafka.NoLeader; l = b.quorum.Leadership() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}
