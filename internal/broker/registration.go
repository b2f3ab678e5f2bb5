package broker

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/broker/lifecycle"
	lifecyclehost "github.com/moldau/moldau/internal/broker/lifecycle/host"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/storage/checkpoint"
)

// self is on whose behalf the broker's own requests go to the controller.
var self = peer.Origin{Principal: "User:ANONYMOUS", ClientID: "broker", Host: "localhost"}

const (
	// heartbeatInterval is short, so that a broker that has died is noticed within its session.
	heartbeatInterval = 100 * time.Millisecond
	// leaveTimeout bounds how long the controller may take to move this broker's leaderships away.
	leaveTimeout = stopTimeout
	// leaveSilence is far above what it takes to elect another active controller: nobody who could answer is
	// left, as when all nodes are stopped together.
	leaveSilence = 2 * time.Second
	// A broker that leaves looks so often, and for so long, whether there are controllers; so many times in a row there
	// must be none.
	leaveProbeInterval = 50 * time.Millisecond
	leaveProbeTimeout  = time.Second
	leaveProbes        = 2
)

// register begins the broker's life: the controller learns of this incarnation, and this node's
// metadata is at least as new as that.
func (b *broker) register() error {
	ctx, cancel := b.untilFault()
	defer cancel()
	req, err := b.registration()
	if err != nil {
		return err
	}
	life := lifecyclehost.Start(lifecyclehost.Options{
		Lifecycle: lifecycle.Options{
			Registration: req, HeartbeatMs: heartbeatInterval.Milliseconds(), RegistrationTimeoutMs: int64(b.config.RegistrationTimeoutMs),
			LeaveTimeoutMs: leaveTimeout.Milliseconds(), LeaveSilenceMs: leaveSilence.Milliseconds(),
		},
		Send: func(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
			return b.channel.Send(ctx, self, req)
		},
		Facts: b.lifecycleFacts, Spawner: b.spawner, Logger: slog.Default(), OnRegistered: b.signalDirs, OnFailed: b.fault,
	})
	b.life.Store(life)
	if err := life.AwaitRegistered(ctx); err != nil {
		return b.whyNot(err)
	}
	b.noteRunning()
	return nil
}

// noteRunning has the next process know that nothing is lost, if this one is killed and the machine runs on: without
// that, its replicas would not be eligible to lead any more, and after three kills in a row nobody's would. One that has
// registered again notes it again: it would be judged by another epoch.
func (b *broker) noteRunning() {
	epoch := b.epoch()
	if b.cluster == nil || epoch == b.notedEpoch || len(b.storage.OfflineDirs()) > 0 {
		return
	}
	b.notedEpoch = epoch
	if err := checkpoint.WriteRunning(b.fs, b.config.LogDirs, epoch, bootID()); err != nil {
		slog.Warn("cannot note in the log dirs that this broker uses them: if it is killed, it has to copy what others have before it may lead", "error", err)
	}
}

// noteCleanStop has the next process know of a clean stop that this one is about to forget, should it be killed before it has registered.
func (b *broker) noteCleanStop() {
	if b.cluster == nil || len(b.dirs.Failed) > 0 {
		return
	}
	if err := checkpoint.NoteCleanStop(b.fs, b.config.LogDirs, bootID()); err != nil {
		slog.Warn("cannot note in the log dirs that they were left cleanly: if this broker is killed while it starts, it has to copy what others have before it may lead", "error", err)
	}
}

// forgetRunning is called when a disk has failed, which may have lost what was written, or the start has found that something is lost.
//
// Without the file in one of them the others say nothing, so those are left alone that have failed, unless all have: a call on them may never return.
func (b *broker) forgetRunning() {
	dirs := b.config.LogDirs
	if b.storage != nil {
		offline := b.storage.OfflineDirs()
		if usable := slices.DeleteFunc(slices.Clone(dirs), func(dir string) bool { return slices.Contains(offline, dir) }); len(usable) > 0 {
			dirs = usable
		}
	}
	if err := checkpoint.RemoveRunning(b.fs, dirs); err != nil {
		slog.Warn("cannot remove "+checkpoint.RunningFileName+" from the log dirs, although a disk has failed or lost something: remove it before this broker is started again without a restart of the machine", "error", err)
	}
}

// bootID names this start of the machine; it is "" where the system does not tell.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// unfence has clients and other brokers use this broker, whose partitions are hosted now. At the end
// it leaves on purpose.
func (b *broker) unfence() error {
	ctx, cancel := b.untilFault()
	defer cancel()
	b.onStop("registration", b.leave)
	life := b.life.Load()
	life.Wake()
	if err := life.AwaitRunning(ctx); err != nil {
		return b.whyNot(err)
	}
	b.spawner.Go("log-dirs", b.followLogDirs)
	b.spawner.Go("listeners", b.followListeners)
	if b.cluster != nil {
		b.spawner.Go("load-reports", b.reportLoads)
	}
	return nil
}

// leave has the controller move this broker's leaderships away. Doing it again has no effect.
func (b *broker) leave() error {
	if b.faulted.Load() {
		return nil // not on purpose, and the controller may be what has failed
	}
	life := b.life.Load()
	ctx, left := context.WithCancel(context.WithoutCancel(b.ctx))
	defer left()
	if b.cluster != nil {
		b.onNoMajority(ctx, life.GiveUp)
	}
	return life.Leave(ctx)
}

// onNoMajority has giveUp called, unless ctx ends before, when no majority of the controllers is left.
func (b *broker) onNoMajority(ctx context.Context, giveUp func()) {
	b.spawner.Go("leave-watch", func(context.Context) {
		if b.untilNoMajority(ctx) {
			giveUp()
		}
	})
}

// untilNoMajority waits until no majority of the controllers is left, as when all nodes are stopped together, or with
// false until ctx ends. That a controller is silent does not count: it must be known that its process has ended.
func (b *broker) untilNoMajority(ctx context.Context) bool {
	ticker := time.NewTicker(leaveProbeInterval)
	defer ticker.Stop()
	for times := 0; times < leaveProbes; {
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
		if times++; b.maySeeMajority(ctx) {
			times = 0
		}
	}
	return true
}

// maySeeMajority reports whether a majority of the controllers may still be there.
func (b *broker) maySeeMajority(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, leaveProbeTimeout)
	defer cancel()
	voters := b.quorum.Voters()
	there := 0
	for _, v := range voters {
		address, ok := peer.ControllerAddress(v)
		if v.NodeID == b.config.NodeID || !ok || !peer.Refuses(ctx, b.cluster.self, address) {
			there++
		}
		if there > len(voters)/2 {
			return true
		}
	}
	return len(voters) == 0
}

// lifecycleFacts are what the controller should hear of with the heartbeats.
func (b *broker) lifecycleFacts() lifecycle.Facts {
	image := b.loader.Current()
	f := lifecycle.Facts{Ready: b.hosting.Load(), MetadataOffset: image.Offset, OfflineDirs: b.storage.Directories(true), CordonedDirs: b.cordonedDirectories()}
	if registered := image.Broker(b.config.NodeID); registered != nil {
		f.Incarnation = registered.IncarnationID
		f.SharesDirs = slices.ContainsFunc(registered.LogDirs, func(id kafka.UUID) bool { return slices.Contains(b.storage.Directories(false), id) })
	}
	return f
}

// epoch is the broker epoch of the registration, -1 before it.
func (b *broker) epoch() int64 {
	if life := b.life.Load(); life != nil {
		return life.Epoch()
	}
	return -1
}

func (b *broker) registration() (*kmsg.BrokerRegistrationRequest, error) {
	listeners, err := b.advertised()
	if err != nil {
		return nil, err
	}
	req := kmsg.NewPtrBrokerRegistrationRequest()
	req.BrokerID, req.ClusterID, req.IncarnationID, req.Rack = b.config.NodeID, b.dirs.ClusterID, b.incarnation, b.config.Rack
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
	req.PreviousBrokerEpoch = b.previousEpoch()
	req.SetVersion(req.MaxVersion())
	return req, nil
}

// previousEpoch is the broker epoch since which nothing here is lost, -1 where that is not certain: as after files have gone, or
// while there is a log dir that cannot be used.
func (b *broker) previousEpoch() int64 {
	if epoch := b.storage.CleanShutdownBrokerEpoch(); epoch >= 0 || b.cluster == nil || b.storage.HasLost() || len(b.storage.OfflineDirs()) > 0 {
		return epoch
	}
	return checkpoint.KeptBrokerEpoch(b.fs, b.config.LogDirs, bootID())
}

// advertised returns the addresses that clients are told: those of advertised.listeners, with
// this machine's name and the bound port where they leave them open. A listener that could not be
// opened is left out.
func (b *broker) advertised() ([]config.Listener, error) {
	return b.filledIn(slices.DeleteFunc(slices.Clone(b.current.Load().AdvertisedListeners), func(l config.Listener) bool { return b.server.Addr(l.Name) == nil }))
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
