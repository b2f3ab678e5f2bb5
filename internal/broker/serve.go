package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/handler"
	"github.com/moldau/moldau/internal/quorum"
	"github.com/moldau/moldau/internal/server"
)

// bind opens the sockets early, so that a port in use is found before anything is recovered;
// clients that connect now wait until serve.
func (b *broker) bind() error {
	b.newQuotas()
	b.server = server.New(server.Options{
		Listeners: serverListeners(b.config), Handlers: b.handlers, Quota: b.quotas, Connections: b.connections, ControllerConnections: b.controllerConnections,
		Metrics: b.metrics, Logger: slog.Default(), Limits: b.limits(), OnPeerClosed: b.peerClosed,
	})
	if err := b.server.Bind(); err != nil {
		return explainListen(err, "listeners, or --port")
	}
	b.onStop("listeners", b.stopServer)
	return b.bindHTTP()
}

func (b *broker) limits() server.Limits {
	l := b.connectionLimits(b.config)
	l.MaxRequestBytes = int(b.config.SocketRequestMaxBytes)
	l.MaxIdle = milliseconds(b.config.ConnectionsMaxIdleMs)
	l.RequestMemoryBytes = b.config.QueuedMaxRequestBytes
	if b.config.ServesPeers() && l.RequestMemoryBytes > 0 {
		l.RequestMemoryBytes = max(l.RequestMemoryBytes, leastPeerMemory)
	}
	// Kafka's default of 100 KiB is below what the operating system tunes by itself.
	if b.config.Explicit("socket.send.buffer.bytes") {
		l.SendBufferBytes = int(b.config.SocketSendBufferBytes)
	}
	if b.config.Explicit("socket.receive.buffer.bytes") {
		l.ReceiveBufferBytes = int(b.config.SocketReceiveBufferBytes)
	}
	return l
}

// leastPeerMemory is what a node of several must have for requests, whatever queued.max.request.bytes says: one that never takes what another
// voter sends holds up the quorum for good, or with others like it ends it.
const leastPeerMemory = quorum.MaxMessageBytes + quorum.MaxMessageBytes/2

// connectionLimits are the limits that may change while the node runs.
func (b *broker) connectionLimits(c *config.Broker) server.Limits {
	// What is 0 admits nobody, or per address only those of the overrides.
	none := func(limit int32) int {
		if limit == 0 {
			return -1
		}
		return int(limit)
	}
	l := server.Limits{
		MaxConnections: none(c.MaxConnections), MaxListenerConnections: map[string]int{},
		MaxConnectionsPerIP: none(c.MaxConnectionsPerIP), MaxConnectionsPerIPOverrides: b.overrides.resolve(b.ctx, c.MaxConnectionsPerIPOverrides),
	}
	for listener, limit := range c.ListenerMaxConnections {
		l.MaxListenerConnections[listener] = int(limit)
	}
	return l
}

// addressOverrides are max.connections.per.ip.overrides by address. Hosts are looked up, as in Kafka, when they are set: not with every
// change of another config. They belong to who starts the node, then to the loader's goroutine.
type addressOverrides struct {
	ofHosts map[string]int32
	limits  map[string]int
}

func (o *addressOverrides) resolve(ctx context.Context, ofHosts map[string]int32) (limits map[string]int) {
	if o.limits != nil && maps.Equal(o.ofHosts, ofHosts) {
		return o.limits
	}
	o.ofHosts, o.limits = ofHosts, map[string]int{}
	ctx, cancel := context.WithTimeout(ctx, resolveTime) // for all hosts together
	defer cancel()
	for host, limit := range ofHosts {
		o.limits[host] = int(limit) // an address with a zone
		addresses, err := resolveHost(ctx, host)
		if err != nil {
			slog.Warn("The connections of a host have the limit of all others, for its address cannot be found; set its limit again when it can", "config", "max.connections.per.ip.overrides", "host", host, "error", err)
		}
		for _, a := range addresses {
			o.limits[a.String()] = int(limit)
		}
	}
	return o.limits
}

// milliseconds is a config's time; one that is too long to be told is as long as can be.
func milliseconds(ms int64) time.Duration {
	return time.Duration(min(ms, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
}

// stopServer is called once to let the clients go before anything else stops, and again, without
// effect, for a start that failed in between.
func (b *broker) stopServer() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), stopTimeout)
	defer cancel()
	return b.server.Stop(ctx)
}

func (b *broker) bindHTTP() (err error) {
	if b.config.HTTPListen == "" {
		return nil
	}
	b.http, err = server.ListenHTTP(context.WithoutCancel(b.ctx), server.HTTPOptions{
		Address: b.config.HTTPListen, Metrics: b.metrics, Health: b.health, Logger: slog.Default(),
	})
	if err != nil {
		return explainListen(err, "http.listen; empty turns HTTP off")
	}
	b.onStop("HTTP", func() error { return b.http.Stop(context.WithoutCancel(b.ctx)) })
	return nil
}

func explainListen(err error, property string) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w: stop what uses that address, or choose another (%s)", err, property)
	}
	return err
}

func (b *broker) health() server.Health {
	h := server.Health{Ready: b.ready.Load(), Status: "starting", NodeID: b.config.NodeID, Cluster: b.knownClusterID()}
	switch {
	case h.Ready:
		h.Status = "ok"
	case b.stopping.Load():
		h.Status = "stopping"
	}
	if !h.Ready {
		return h
	}
	if !b.config.IsBroker {
		return h
	}
	if b.loader.Current().Broker(b.config.NodeID) == nil {
		h.Problems = append(h.Problems, "this broker has been unregistered: it serves again after a restart")
	}
	for _, dir := range b.storage.OfflineDirs() {
		h.Problems = append(h.Problems, "log dir "+dir+" has failed and is offline")
	}
	for _, dir := range b.storage.LowDirs() {
		h.Problems = append(h.Problems, "log dir "+dir+" is nearly full: clients cannot append")
	}
	if n := b.storage.DamagedLogs(); n > 0 {
		h.Problems = append(h.Problems, fmt.Sprintf("%d partitions cannot be opened: their files are damaged", n))
	}
	return h
}

func (b *broker) boundPort(listener string) int32 {
	if a, ok := b.server.Addr(listener).(*net.TCPAddr); ok {
		return int32(a.Port)
	}
	return 0
}

// serve lets clients in.
func (b *broker) serve() error {
	controllers, err := b.filledIn(b.config.AdvertisedControllerListeners)
	if err != nil {
		return err
	}
	for _, l := range controllers {
		b.controllerEndpoints = append(b.controllerEndpoints, handler.Endpoint{Name: l.Name, Host: l.Host, Port: l.Port})
	}
	b.fillHandlers()
	b.server.Start(b.ctx, func(_ string, err error) { b.fault(err) })
	b.onStop("connections", b.stopServer)
	if b.cluster != nil && b.config.IsController {
		// While other controllers still reach this one, and before they take its closed connections for its death.
		b.onStop("leadership of the metadata quorum", b.handOverQuorum)
	}
	if b.cluster != nil && b.config.IsBroker {
		// Others take over while this broker still answers, so that clients are told where to go.
		b.onStop("leaderships", b.leave)
	}
	return nil
}

// printWelcome says where the node listens, where its data lies, and what to try.
func (b *broker) printWelcome(w io.Writer) {
	if !b.ready.Load() {
		return
	}
	listeners := b.current.Load().Listeners
	if !b.config.IsBroker {
		listeners = b.config.ControllerListeners
	}
	var addresses []string
	for _, l := range listeners {
		host := l.Host
		if host == "" {
			host = "localhost"
		}
		addresses = append(addresses, net.JoinHostPort(host, fmt.Sprint(cmp.Or(b.boundPort(l.Name), l.Port))))
	}
	fmt.Fprintf(w, "Moldau is ready: node %d of cluster %s\n", b.config.NodeID, b.dirs.ClusterID)
	what := "Kafka clients"
	if !b.config.IsBroker {
		what = "controller   "
	}
	fmt.Fprintf(w, "  %s  %s\n", what, strings.Join(addresses, ", "))
	if b.http != nil {
		fmt.Fprintf(w, "  HTTP           http://%s/healthz and /metrics\n", b.http.Addr())
	}
	fmt.Fprintf(w, "  data           %s\n", strings.Join(b.config.LogDirs, ", "))
	if !b.config.IsBroker {
		return
	}
	fmt.Fprintf(w, "Try, in another terminal:\n  moldau console-producer --bootstrap-server %s --topic hello\n  moldau console-consumer --bootstrap-server %s --topic hello --from-beginning\nCtrl-C stops it.\n",
		addresses[0], addresses[0])
}
