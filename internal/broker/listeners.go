package broker

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/server"
	"github.com/moldau/moldau/internal/wire"
)

// registerRetry is when the controller is told again of listeners that it could not be told of.
const registerRetry = time.Second

// serverListeners are the sockets that c asks for.
func serverListeners(c *config.Broker) (all []server.Listener) {
	for _, l := range c.Listeners {
		all = append(all, server.Listener{
			Name: l.Name, Protocol: l.Protocol, Address: l.Address(), Kind: wire.BrokerListener,
			// Nodes of the same cluster come in here; without others nobody is let in as one.
			Privileged: c.ServesPeers() && l.Name == c.InterBrokerListener,
		})
	}
	for _, l := range c.ControllerListeners {
		all = append(all, server.Listener{Name: l.Name, Protocol: l.Protocol, Address: l.Address(), Kind: wire.ControllerListener, Privileged: c.ServesPeers()})
	}
	return all
}

// openListeners opens and closes listeners before the broker serves: bind knew only the properties,
// and the metadata may have other listeners, also at other addresses. A node of several may hear of them only with its
// registration, so that it looks once more then; followListeners has the controller know.
func (b *broker) openListeners() error {
	// The controllers know each other's addresses by the properties: as in Kafka those listeners do not move.
	b.applyListeners(func(open, wanted server.Listener) bool { return open == wanted || open.Kind == wire.ControllerListener })
	return nil
}

// followListeners opens and closes listeners as the dynamic configs say (KIP-226), and has the
// controller know those that clients are told of.
func (b *broker) followListeners(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.listenersChanged:
		}
		// One that is open stays as it is: as in Kafka another address counts from the next start.
		b.applyListeners(func(open, wanted server.Listener) bool {
			if open != wanted {
				slog.Warn("a listener that is open keeps its address until the next start", "listener", open.Name, "address", open.Address, "configured", wanted.Address)
			}
			return true
		})
		err := b.registerAgain(ctx)
		if err == nil || ctx.Err() != nil {
			continue
		}
		slog.Error("the controller does not know the listeners yet; it is told again", "error", err)
		timer := time.NewTimer(registerRetry)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
			b.signalListeners()
		}
	}
}

// signalListeners has followListeners look again. It never blocks.
func (b *broker) signalListeners() {
	select {
	case b.listenersChanged <- struct{}{}:
	default:
	}
}

// applyListeners closes what is not wanted any more and opens what is not open yet; stays decides of
// one whose name is wanted. One that cannot be opened costs nobody else his.
func (b *broker) applyListeners(stays func(open, wanted server.Listener) bool) {
	wanted := serverListeners(b.current.Load())
	named := func(name string) func(server.Listener) bool {
		return func(l server.Listener) bool { return l.Name == name }
	}
	for _, open := range b.server.Listeners() {
		if at := slices.IndexFunc(wanted, named(open.Name)); at < 0 || !stays(open, wanted[at]) {
			b.server.Close(open.Name)
			slog.Info("closed a listener", "listener", open.Name, "address", open.Address)
		}
	}
	open := b.server.Listeners()
	for _, l := range wanted {
		if slices.ContainsFunc(open, named(l.Name)) {
			continue
		}
		if err := b.server.Open(l); err != nil {
			slog.Error("a listener is not served; it is tried again with the next change of the broker's configs, and at the next start", "error", explainListen(err, "the dynamic config listeners"))
			continue
		}
		slog.Info("opened a listener", "listener", l.Name, "address", l.Address)
	}
}

// registerAgain tells the controller of the present listeners where it knows others. The incarnation
// stays, and with it epoch and leaderships.
func (b *broker) registerAgain(ctx context.Context) error {
	req, err := b.registration()
	if err != nil {
		return err
	}
	image := b.loader.Current()
	known := image.Broker(b.config.NodeID)
	// A registration from before a change of metadata.version has no log dirs.
	dirsKnown := known == nil || len(known.LogDirs) > 0 || !image.HasDirectories()
	if known == nil || dirsKnown && slices.EqualFunc(known.Endpoints, req.Listeners, func(e metadata.Endpoint, l kmsg.BrokerRegistrationRequestListener) bool {
		return e.Name == l.Name && e.Host == l.Host && e.Port == l.Port
	}) {
		return nil // one that was unregistered comes back with a restart
	}
	resp, err := b.channel.Send(ctx, self, req)
	if err != nil {
		return err
	}
	if code := kafka.ErrorCode(resp.(*kmsg.BrokerRegistrationResponse).ErrorCode); code != kafka.ErrNone {
		return errors.Join(errors.New("the controller refuses the registration"), code)
	}
	return nil
}
