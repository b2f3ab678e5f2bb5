package broker

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/peer"
)

// self is on whose behalf the broker's own requests go to the controller.
var self = peer.Origin{Principal: "User:ANONYMOUS", ClientID: "broker", Host: "localhost"}

// register tells the controller of this incarnation of the broker and has it unfenced, upon
// which it leads its partitions.
func (b *broker) register() error {
	ctx, cancel := b.untilFault()
	defer cancel()
	req, err := b.registration()
	if err != nil {
		return err
	}
	resp, err := b.channel.Send(ctx, self, req)
	if err != nil {
		return b.whyNot(fmt.Errorf("registering with the controller: %w", err))
	}
	r := resp.(*kmsg.BrokerRegistrationResponse)
	if r.ErrorCode != 0 {
		return fmt.Errorf("the controller refuses to register this broker: %w", kafka.ErrorCode(r.ErrorCode))
	}
	b.epoch = r.BrokerEpoch
	if err := b.heartbeat(ctx, false); err != nil {
		return b.whyNot(err)
	}
	b.spawner.Go("log-dirs", b.followLogDirs)
	b.onStop("registration", func() error {
		if b.faulted.Load() {
			return nil // not on purpose, and the controller may be what has failed
		}
		if b.loader.Current().Broker(b.config.NodeID) == nil {
			return nil // UnregisterBroker was about this one: there is nothing to leave
		}
		// A controlled shutdown: the metadata says that the broker left on purpose.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), stopTimeout)
		defer cancel()
		return b.heartbeat(ctx, true)
	})
	return nil
}

func (b *broker) heartbeat(ctx context.Context, wantShutdown bool) error {
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.BrokerID, req.BrokerEpoch, req.WantShutdown = b.config.NodeID, b.epoch, wantShutdown
	req.CurrentMetadataOffset = b.loader.Current().Offset
	for _, id := range b.storage.Directories(true) {
		req.OfflineLogDirs = append(req.OfflineLogDirs, id)
	}
	resp, err := b.channel.Send(ctx, self, req)
	if err != nil {
		return fmt.Errorf("heartbeat to the controller: %w", err)
	}
	r := resp.(*kmsg.BrokerHeartbeatResponse)
	if r.ErrorCode != 0 {
		return fmt.Errorf("the controller refuses the heartbeat: %w", kafka.ErrorCode(r.ErrorCode))
	}
	if r.IsFenced && !wantShutdown {
		return fmt.Errorf("the controller keeps this broker fenced although its metadata has reached offset %d", req.CurrentMetadataOffset)
	}
	return nil
}

func (b *broker) registration() (*kmsg.BrokerRegistrationRequest, error) {
	listeners, err := b.advertised()
	if err != nil {
		return nil, err
	}
	req := kmsg.NewPtrBrokerRegistrationRequest()
	req.BrokerID, req.ClusterID, req.IncarnationID, req.Rack = b.config.NodeID, b.dirs.ClusterID, kafka.NewUUID(b.random), b.config.Rack
	for _, l := range listeners {
		listener := kmsg.NewBrokerRegistrationRequestListener()
		listener.Name, listener.Host, listener.Port = l.Name, l.Host, uint16(l.Port)
		req.Listeners = append(req.Listeners, listener)
	}
	for _, f := range controller.Features() {
		feature := kmsg.NewBrokerRegistrationRequestFeature()
		feature.Name, feature.MinSupportedVersion, feature.MaxSupportedVersion = f.Name, f.MinLevel, f.MaxLevel
		req.Features = append(req.Features, feature)
	}
	for _, id := range b.storage.Directories(false) {
		req.LogDirs = append(req.LogDirs, id)
	}
	req.SetVersion(req.MaxVersion())
	return req, nil
}

// advertised returns the addresses that clients are told: those of advertised.listeners, with
// this machine's name and the bound port where they leave them open.
func (b *broker) advertised() ([]config.Listener, error) {
	return b.filledIn(b.config.AdvertisedListeners)
}

func (b *broker) filledIn(listeners []config.Listener) ([]config.Listener, error) {
	listeners = slices.Clone(listeners)
	for i, l := range listeners {
		if l.Host == "" {
			name, err := os.Hostname()
			if err != nil {
				return nil, fmt.Errorf("listener %s has no host to advertise, and this machine has no name: set advertised.listeners: %w", l.Name, err)
			}
			listeners[i].Host = strings.ToLower(name)
		}
		if l.Port == 0 {
			listeners[i].Port = b.boundPort(l.Name)
		}
	}
	return listeners, nil
}
