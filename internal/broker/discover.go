package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/quorum"
	quorumhost "github.com/moldau/moldau/internal/quorum/host"
)

const (
	// discoverPause is the pause between questions to the nodes that are listed.
	discoverPause = 50 * time.Millisecond
	// quietDiscovery is for how long nodes that start together need not be complained about.
	quietDiscovery = 2 * time.Second
)

// openQuorum opens the metadata log of a node that is one of several. Where there is none, the nodes that are
// listed decide together whether they form a quorum or whether this one joins one that is there.
func (b *broker) openQuorum(o quorumhost.Options) (*quorumhost.Node, error) {
	ctx, cancel := b.untilFault()
	defer cancel()
	logVoters, err := quorum.LogVoters(o.FS, o.LogDir)
	if err != nil {
		return nil, err
	}
	self := quorum.Newcomer{NodeID: b.config.NodeID, DirectoryID: o.Self.DirectoryID, IncarnationID: b.incarnation, ClusterID: b.dirs.ClusterID, Member: b.dirs.Member, LogVoters: logVoters}
	d, err := b.discover(ctx, self)
	if err != nil {
		return nil, err
	}
	b.clusterID.Store(&d.ClusterID)
	o.Listed = b.listedOthers()
	if logVoters == nil {
		if d.Step == quorum.StepForm {
			o.Form = d.Voters
		} else if err := quorumhost.Join(ctx, o, d.Voters); err != nil {
			return nil, err
		}
	}
	n, err := quorumhost.Open(o)
	if err != nil {
		return nil, err
	}
	if err := b.dirs.decide(b.fs, b.config, b.random, d.ClusterID); err != nil {
		n.Stop()
		return nil, err
	}
	return n, nil
}

// discover asks the nodes that are listed until it is clear what to do.
func (b *broker) discover(ctx context.Context, self quorum.Newcomer) (quorum.Decision, error) {
	listed := b.listed()
	said, asked := "", time.Now()
	if self.VotesAlone() {
		brief, cancel := context.WithTimeout(ctx, voterProbeTimeout)
		b.askListed(brief, listed)
		cancel()
	}
	for {
		d := quorum.Discover(self, listed)
		switch {
		case d.Step == quorum.StepRefuse:
			return d, errors.New(d.Why)
		case d.Step != quorum.StepWait:
			if d.Why != "" {
				slog.Warn(d.Why)
			}
			return d, nil
		case d.Why != said && time.Since(asked) > quietDiscovery:
			slog.Warn("waiting for the other controllers", "why", d.Why)
			said = d.Why
		}
		b.askListed(ctx, listed)
		namesakes := quorum.Namesakes(self, listed)
		b.askListed(ctx, namesakes)
		listed = append(listed, namesakes...)
		if quorum.Discover(self, listed).Step != quorum.StepWait {
			continue
		}
		timer := time.NewTimer(discoverPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return d, fmt.Errorf("finding the other controllers: %w", ctx.Err())
		}
	}
}

// listed are the voters or addresses of the properties.
func (b *broker) listed() []quorum.Listed {
	name := b.config.ControllerListenerNames[0]
	var listed []quorum.Listed
	for _, a := range append(append([]config.QuorumAddress(nil), b.config.QuorumVoters...), b.config.QuorumServers...) {
		listed = append(listed, quorum.Listed{NodeID: a.NodeID, Listener: quorum.VoterListener{Name: name, Host: a.Host, Port: a.Port}})
	}
	return listed
}

// listedVoters are the node ids in controller.quorum.voters: nodes whose lists differ form no quorum.
func (b *broker) listedVoters() (voters []quorum.VoterSpec) {
	for _, v := range b.config.QuorumVoters {
		voters = append(voters, quorum.VoterSpec{NodeID: v.NodeID})
	}
	return voters
}

// listedOthers are the others that are listed, as far as that says who they are.
func (b *broker) listedOthers() (others []quorum.VoterSpec) {
	for _, l := range b.listed() {
		if l.NodeID != b.config.NodeID {
			others = append(others, quorum.VoterSpec{NodeID: l.NodeID, Listeners: []quorum.VoterListener{l.Listener}})
		}
	}
	return others
}

// listedAddresses are those in the properties at which a node may be.
func (b *broker) listedAddresses(nodeID int32) (addresses []peer.Address) {
	for _, l := range b.listed() {
		if l.NodeID == nodeID || l.NodeID < 0 {
			addresses = append(addresses, peer.Address{NodeID: nodeID, Host: l.Listener.Host, Port: l.Listener.Port})
		}
	}
	return addresses
}

// askListed asks everybody who they are, all at once.
func (b *broker) askListed(ctx context.Context, listed []quorum.Listed) {
	answered := make(chan struct{}, len(listed))
	for i := range listed {
		l := &listed[i]
		b.spawner.Go("discover", func(context.Context) {
			defer func() { answered <- struct{}{} }()
			l.Answer = b.ask(ctx, *l)
		})
	}
	for range listed {
		<-answered
	}
}

func (b *broker) ask(ctx context.Context, l quorum.Listed) *quorum.Answer {
	hello, err := peer.Probe(ctx, b.cluster.self, peer.Address{NodeID: kafka.NoNode, Host: l.Listener.Host, Port: l.Listener.Port}, nil)
	if err != nil {
		slog.Debug("a controller does not answer", "address", fmt.Sprintf("%s:%d", l.Listener.Host, l.Listener.Port), "error", err)
		return nil
	}
	a := &quorum.Answer{ClusterID: hello.ClusterID, NodeID: hello.NodeID, DirectoryID: hello.DirectoryID, IncarnationID: hello.IncarnationID, Formed: hello.Formed}
	for _, v := range hello.Voters {
		spec := quorum.VoterSpec{NodeID: v.NodeID, DirectoryID: v.DirectoryID}
		for _, listener := range v.Listeners {
			spec.Listeners = append(spec.Listeners, quorum.VoterListener{Name: listener.Name, Host: listener.Host, Port: listener.Port})
		}
		a.Voters = append(a.Voters, spec)
	}
	return a
}

// selfSpec is this node as a voter, or without listeners as an observer.
func (b *broker) selfSpec() (quorum.VoterSpec, error) {
	self := quorum.VoterSpec{NodeID: b.config.NodeID, DirectoryID: b.dirs.DirectoryIDs[b.config.MetadataLogDir]}
	if !b.config.IsController || !b.config.ServesPeers() {
		return self, nil
	}
	for _, v := range b.config.QuorumVoters {
		if v.NodeID == b.config.NodeID {
			self.Listeners = []quorum.VoterListener{{Name: b.config.ControllerListenerNames[0], Host: v.Host, Port: v.Port}}
			return self, nil
		}
	}
	listeners, err := b.filledIn(b.config.AdvertisedControllerListeners)
	if err != nil {
		return self, err
	}
	for _, l := range listeners {
		self.Listeners = append(self.Listeners, quorum.VoterListener{Name: l.Name, Host: l.Host, Port: uint16(l.Port)})
	}
	self.Listeners, err = b.withDefaultFirst(self.Listeners)
	return self, err
}
