package host

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/controller/balancer"
	"github.com/moldau/moldau/internal/controller/office"
	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/quorum"
)

// queueLength bounds the requests that wait for the controller's goroutine.
const queueLength = 1024

// Options is what a Host needs; every field is required, but for those of a cluster.
type Options struct {
	Controller *controller.Controller
	Random     env.Random
	Clock      env.Clock
	Metrics    *metrics.Registry
	Logger     *slog.Logger
	// ProposeAsync appends a batch, or with no records waits for the batches before it:
	// quorum/host's Node.ProposeAsync.
	ProposeAsync func(ctx context.Context, office uint64, records [][]byte, done func(lastOffset int64, err error)) error
	// Image and WaitFor are the metadata Loader's Current and WaitFor.
	Image   func() *metadata.Image
	WaitFor func(ctx context.Context, offset int64) error
	// OnFault is called when the controller cannot go on: the process must end.
	OnFault func(error)
	// ChangeVoters answers the requests about who votes, which the quorum itself carries out. NOT_CONTROLLER
	// as its error says to ask again, perhaps elsewhere.
	ChangeVoters func(ctx context.Context, req kmsg.Request) (kmsg.Response, int64, error)

	// A cluster of several nodes also has these; 0 turns each off.

	// Voters returns the nodes of the quorum.
	Voters func() []int32

	// SessionTimeout is after how long a broker of which nothing is heard is fenced.
	SessionTimeout time.Duration
	// BalanceInterval is the time between elections of preferred leaders, UncleanInterval that between
	// unclean elections where topics allow them.
	BalanceInterval time.Duration
	UncleanInterval time.Duration
	// GrowInterval is the time between looks at internal topics that could have more replicas.
	GrowInterval time.Duration
	// Balances has replicas moved between brokers.
	Balances bool
}

// Host is the controller of this process.
type Host struct {
	o       Options
	queue   chan request
	wake    chan struct{} // a leadership waits in leadership
	spawner *env.Spawner
	stopped chan struct{} // closed when the goroutine has ended

	mu         sync.Mutex
	leadership quorum.Leadership
	active     chan struct{} // closed while the controller is active

	// What follows belongs to the goroutine "controller".
	office *office.Office

	balancer   *balancer.Balancer // nil: there is nothing to balance
	settings   config.Balancer    // of settingsOf
	settingsOf *metadata.Image
	answers    [2]balanceAnswer // about what it does, and would do

	sessionsMu sync.Mutex
	sessions   *controller.Sessions // nil: nobody's session ends
	died       chan struct{}        // a broker is known to be dead
	started    time.Time

	queued        *metrics.Gauge
	handleSeconds *metrics.Histogram
	activeCount   *metrics.Gauge
	fencedCount   *metrics.Counter
	balance       balanceMetrics
}

type request struct {
	origin controller.Origin
	req    kmsg.Request
	reply  chan<- reply // has room for the one reply
}

type reply struct {
	resp   kmsg.Response
	offset int64
	err    error
}

// New returns a host that is not active yet.
func New(o Options) *Host {
	h := &Host{
		o:             o,
		died:          make(chan struct{}, 1),
		started:       o.Clock.Now(),
		queue:         make(chan request, queueLength),
		wake:          make(chan struct{}, 1),
		stopped:       make(chan struct{}),
		active:        make(chan struct{}),
		queued:        o.Metrics.Gauge("kafka_controller_event_queue_size", "Requests that wait for the controller."),
		handleSeconds: o.Metrics.Histogram("kafka_controller_event_queue_processing_seconds", "Time to compute one request, without its commit.", metrics.LatencySeconds),
		activeCount:   o.Metrics.Gauge("kafka_controller_active_controller_count", "1 while this node is the active controller."),
		fencedCount:   o.Metrics.Counter("moldau_controller_fenced_brokers_total", "Brokers that this controller fenced because they were silent or dead."),
	}
	if o.Balances {
		h.balancer = balancer.New()
		h.newBalanceMetrics(o.Metrics)
	}
	if o.SessionTimeout > 0 {
		h.sessions = controller.NewSessions(o.SessionTimeout.Milliseconds(), h.tick().Milliseconds())
	}
	return h
}

// Start begins to serve, until Stop or the end of ctx.
func (h *Host) Start(ctx context.Context) {
	h.spawner = env.NewSpawner(ctx, func(_ string, err error) { h.o.OnFault(err) })
	h.spawner.Go("controller", h.run)
}

// Stop ends the goroutine; waiting requests get NOT_CONTROLLER.
func (h *Host) Stop() {
	if h.spawner != nil {
		h.spawner.Stop()
	}
}

// OnLeadership tells the host who leads the quorum now. It does not block.
func (h *Host) OnLeadership(l quorum.Leadership) {
	h.mu.Lock()
	h.leadership = l
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// WaitActive returns once this node is the active controller.
func (h *Host) WaitActive(ctx context.Context) error {
	h.mu.Lock()
	active := h.active
	h.mu.Unlock()
	select {
	case <-active:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-h.stopped:
		return notActive()
	}
}

// Handle computes req, waits until its records are committed and returns the response with an
// offset: metadata that includes it shows the change, and everything the answer was based on.
// When ctx ends first, the change may still be made.
func (h *Host) Handle(ctx context.Context, origin controller.Origin, req kmsg.Request) (kmsg.Response, int64, error) {
	if beat, ok := req.(*kmsg.BrokerHeartbeatRequest); ok {
		h.BrokerTouched(beat.BrokerID, beat.BrokerEpoch) // however long it has to queue
	}
	if isAboutVoters(req) {
		return h.o.ChangeVoters(ctx, req)
	}
	answer := make(chan reply, 1)
	h.queued.Add(1)
	select {
	case h.queue <- request{origin, req, answer}:
	case <-ctx.Done():
		h.queued.Add(-1)
		return nil, 0, ctx.Err()
	case <-h.stopped:
		h.queued.Add(-1)
		return nil, 0, notActive()
	}
	select {
	case r := <-answer:
		return r.resp, r.offset, r.err
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	case <-h.stopped:
		// The goroutine or the quorum may have answered just before.
		select {
		case r := <-answer:
			return r.resp, r.offset, r.err
		default:
			return nil, 0, notActive()
		}
	}
}

// isAboutVoters reports whether a request is about the quorum's voters.
func isAboutVoters(req kmsg.Request) bool {
	switch req.(type) {
	case *kmsg.AddRaftVoterRequest, *kmsg.RemoveRaftVoterRequest, *kmsg.UpdateRaftVoterRequest:
		return true
	}
	return false
}

func notActive() error {
	return kafka.Errorf(kafka.ErrNotController, "this node is not the active controller")
}
