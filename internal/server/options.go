package server

import (
	"log/slog"
	"math"
	"time"

	"github.com/moldau/moldau/internal/handler"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/quota"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/wire"
)

// Listener is one socket to listen on.
type Listener struct {
	// Name is the listener's name, such as PLAINTEXT or INTERNAL.
	Name string
	// Protocol is its security protocol.
	Protocol string
	// Address is host:port; port 0 takes any free one.
	Address string
	// Kind says which APIs it serves.
	Kind wire.ListenerKind
	// Privileged marks the inter-broker and controller listeners.
	Privileged bool
}

// Limits bound what clients may take. Zero means the default, except where -1 means no limit.
type Limits struct {
	// MaxRequestBytes is socket.request.max.bytes.
	MaxRequestBytes int
	// MaxIdle is connections.max.idle.ms; negative never closes idle connections. Those of peers stay.
	MaxIdle time.Duration
	// MaxConnections is max.connections; accepting pauses at the limit, as in Kafka. Negative lets
	// nobody in.
	MaxConnections int
	// MaxListenerConnections is max.connections of single listeners, by name.
	MaxListenerConnections map[string]int
	// MaxConnectionsPerIP is max.connections.per.ip; above it a connection is closed at once.
	// Negative lets in only addresses that have an override, which Kafka writes as 0.
	MaxConnectionsPerIP int
	// MaxConnectionsPerIPOverrides is max.connections.per.ip.overrides.
	MaxConnectionsPerIPOverrides map[string]int
	// RequestMemoryBytes is queued.max.request.bytes: what all requests together may take;
	// zero or less means a quarter of the memory limit or of the machine's memory.
	RequestMemoryBytes int64
	// PartialRequest bounds how long a request that has begun may take to arrive, plus its size
	// at minBytesPerSecond.
	PartialRequest time.Duration
	// MaxUnfinished and MaxUnfinishedBytes bound the requests of one connection whose responses
	// are not written yet.
	MaxUnfinished      int
	MaxUnfinishedBytes int64
	// SendBufferBytes and ReceiveBufferBytes are socket.send.buffer.bytes and
	// socket.receive.buffer.bytes; zero or less leaves them to the operating system.
	SendBufferBytes    int
	ReceiveBufferBytes int
	// StopGrace is how long Stop lets handlers finish by themselves before it ends their contexts.
	StopGrace time.Duration
	// NewcomerGrace is how long Stop waits for the first request of connections that have had no answer yet.
	NewcomerGrace time.Duration
}

// Options are what a Server is made of.
type Options struct {
	Listeners []Listener
	Handlers  *handler.Set
	Quota     quota.Quota
	// Connections says how fast connections may be made, ControllerConnections how fast those of the
	// controller listeners; nil for as fast as they come.
	Connections           *quota.Connections
	ControllerConnections *quota.Connections
	// OnPeerClosed hears of connections of peers that have ended while the server runs; it must not
	// block. May be nil.
	OnPeerClosed func(peer security.Peer)
	Metrics      *metrics.Registry
	Logger       *slog.Logger
	Limits       Limits
}

// minBytesPerSecond is the slowest a request may arrive: a request of 1 MiB has about four
// minutes and the PartialRequest time.
const minBytesPerSecond = 4 << 10

func (l Limits) withDefaults() Limits {
	setDefault(&l.MaxRequestBytes, 100<<20)
	setDefault(&l.MaxIdle, 10*time.Minute)
	setDefault(&l.MaxConnections, math.MaxInt32)
	setDefault(&l.MaxConnectionsPerIP, math.MaxInt32)
	setDefault(&l.PartialRequest, 30*time.Second)
	setDefault(&l.MaxUnfinished, 128)
	setDefault(&l.MaxUnfinishedBytes, 32<<20)
	setDefault(&l.StopGrace, 500*time.Millisecond)
	setDefault(&l.NewcomerGrace, 200*time.Millisecond)
	if l.RequestMemoryBytes <= 0 {
		l.RequestMemoryBytes = max(MemoryBytes()/4, 16<<20)
	}
	return l
}

func setDefault[T comparable](value *T, byDefault T) {
	var zero T
	if *value == zero {
		*value = byDefault
	}
}
