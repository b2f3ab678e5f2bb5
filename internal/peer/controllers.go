package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	controllerhost "github.com/moldau/moldau/internal/controller/host"
	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/peer/forward"
	"github.com/moldau/moldau/internal/quorum"
	"github.com/moldau/moldau/internal/wire"
)

// ControllersOptions is what a Controllers needs.
type ControllersOptions struct {
	Self Self
	// Local is this node's own controller, nil on a node without one.
	Local *controllerhost.Host
	// Leader and Voters are what this node knows of the quorum: quorum/host's Node.
	Leader func() quorum.Leadership
	Voters func() []quorum.VoterSpec
	// WaitFor returns once this node's metadata includes an offset: the Loader's WaitFor.
	WaitFor func(ctx context.Context, offset int64) error
	Spawner *env.Spawner
	Metrics *metrics.Registry
	Logger  *slog.Logger
	// Network may be nil.
	Network Network
	// OnLost is as in Options.
	OnLost func(nodeID int32, incarnationID kafka.UUID, address Address)
}

const (
	// clientConnections and ownConnections bound the requests that are with the controller at once: the
	// node's own, heartbeats among them, never wait for clients'.
	clientConnections = 16
	ownConnections    = 4
)

// Controllers is the ControllerChannel of a node in a cluster: it finds the active controller, here or
// elsewhere, and asks the next one when it changes.
type Controllers struct {
	o       ControllersOptions
	clients *Keeper
	own     *Keeper
	retries *metrics.Counter

	mu     sync.Mutex
	reign  context.Context    // guarded by mu: ends, and is replaced, when the leader changes
	endsIt context.CancelFunc // guarded by mu
}

// NewControllers returns a channel that knows of no connection yet.
func NewControllers(o ControllersOptions) *Controllers {
	reign, ends := context.WithCancel(context.Background())
	options := Options{Self: o.Self, Purpose: wire.PurposeForward, Spawner: o.Spawner, Network: o.Network, OnLost: o.OnLost}
	waiting := o.Metrics.Gauge("moldau_forward_waiting_requests", "Requests for the controller that wait for a connection to it.")
	return &Controllers{
		o: o, reign: reign, endsIt: ends, clients: NewKeeper(options, clientConnections, waiting), own: NewKeeper(options, ownConnections, waiting),
		retries: o.Metrics.Counter("moldau_forward_retries_total", "Attempts to reach the active controller that failed and were repeated."),
	}
}

// LeaderChanged says that Leader or Voters have another value now. It does not block.
func (c *Controllers) LeaderChanged() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endsIt()
	c.reign, c.endsIt = context.WithCancel(context.Background())
}

// present returns a context that ends at the next change of the leader.
func (c *Controllers) present() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reign
}

// Send implements ControllerChannel. While nobody is the active controller, or it cannot be reached, it
// tries again until ctx ends; where an answer got lost only if the request may be made twice.
func (c *Controllers) Send(ctx context.Context, origin Origin, req kmsg.Request) (kmsg.Response, error) {
	defer env.StartWait(ctx).End()
	for failures := 0; ; failures++ {
		reign := c.present()
		response, offset, err := c.attempt(ctx, reign, origin, req)
		if err == nil {
			if err := c.o.WaitFor(ctx, offset); err != nil {
				return nil, err
			}
			return response, nil
		}
		_, lost := errors.AsType[*LostError](err)
		switch {
		case ctx.Err() != nil:
			return nil, fmt.Errorf("%w, while asking the controller: %w", ctx.Err(), err)
		case c.o.Spawner.Context().Err() != nil:
			return nil, kafka.Errorf(kafka.ErrNotController, "the node is stopping")
		}
		if again, answer := forward.Failed(req.Key(), err, lost); !again {
			return nil, answer
		}
		c.retries.Inc()
		timer := time.NewTimer(forward.Pause(failures))
		select {
		case <-reign.Done():
		case <-timer.C:
		case <-ctx.Done():
		case <-c.o.Spawner.Context().Done():
		}
		timer.Stop()
	}
}

// attempt asks who is the active controller at the moment. What it does before it asks ends with reign.
func (c *Controllers) attempt(ctx, reign context.Context, origin Origin, req kmsg.Request) (response kmsg.Response, offset int64, err error) {
	leader := c.o.Leader()
	switch {
	case leader.LeaderID == kafka.NoLeader:
		return nil, 0, fmt.Errorf("%w: the metadata quorum has no leader", forward.ErrUnsent)
	case leader.LeaderID != c.o.Self.NodeID:
		return c.forward(ctx, reign, leader, origin, req)
	case c.o.Local == nil || !leader.IsSelf:
		return nil, 0, fmt.Errorf("%w: this node is about to become the active controller", forward.ErrUnsent)
	}
	return c.o.Local.Handle(ctx, origin, req)
}

// forward asks the leader of the quorum on another node.
func (c *Controllers) forward(ctx, reign context.Context, leader quorum.Leadership, origin Origin, req kmsg.Request) (kmsg.Response, int64, error) {
	address, ok := c.addressOf(leader.LeaderID)
	if !ok {
		return nil, 0, fmt.Errorf("%w: the address of node %d, which leads the metadata quorum, is not known", forward.ErrUnsent, leader.LeaderID)
	}
	f := &wire.PeerForwardRequest{Principal: origin.Principal, ClientID: origin.ClientID, Host: origin.Host,
		APIKey: req.Key(), APIVersion: req.GetVersion(), HasQuota: origin.Permit != nil, Body: req.AppendTo(nil)}
	if _, ok := f.API(); !ok {
		return nil, 0, kafka.Errorf(kafka.ErrUnsupportedVersion, "BUG: no controller serves version %d of API key %d", f.APIVersion, f.APIKey)
	}
	from := c.clients
	if _, own := wire.LookupPeerAPI(f.APIKey); own {
		from = c.own
	}
	// A leader that is gone may not even refuse a connection.
	before, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(reign, cancel)()
	conn, err := from.take(before, address)
	if err != nil {
		c.o.Logger.Debug("no connection to the active controller", "controller", address.String(), "error", err)
		return nil, 0, fmt.Errorf("%w: %w", forward.ErrUnsent, err)
	}
	defer from.giveBack(conn)
	answer, err := c.ask(ctx, conn, leader, f)
	if err != nil {
		return nil, 0, err
	}
	if answer.ErrorCode != 0 {
		return nil, 0, answerError(answer)
	}
	response, err := wire.DecodeForwarded(req, answer.Body)
	if err != nil {
		return nil, 0, &LostError{address, err}
	}
	return response, answer.Offset, nil
}

func answerError(answer *wire.PeerForwardResponse) error {
	if answer.ErrorMessage == nil {
		return kafka.ErrorCode(answer.ErrorCode)
	}
	return &kafka.Error{Code: kafka.ErrorCode(answer.ErrorCode), Message: *answer.ErrorMessage}
}

// ask sends f and waits for the answer, as long as the node asked leads and a little longer: one that
// hangs must not hold up what its successor could do.
func (c *Controllers) ask(ctx context.Context, conn *Conn, leader quorum.Leadership, f *wire.PeerForwardRequest) (*wire.PeerForwardResponse, error) {
	type outcome struct {
		response kmsg.Response
		err      error
	}
	result := make(chan outcome, 1)
	if err := conn.Start(ctx, f, func(response kmsg.Response, err error) { result <- outcome{response, err} }); err != nil {
		return nil, fmt.Errorf("%w: %w", forward.ErrUnsent, err)
	}
	var grace <-chan time.Time
	for reign := c.present(); ; {
		select {
		case o := <-result:
			if o.err != nil {
				return nil, o.err
			}
			return o.response.(*wire.PeerForwardResponse), nil
		case <-reign.Done():
			reign = c.present()
			if now := c.o.Leader(); grace == nil && (now.LeaderID != leader.LeaderID || now.Epoch != leader.Epoch) {
				timer := time.NewTimer(forward.Grace)
				defer timer.Stop()
				grace = timer.C
			}
		case <-grace:
			return nil, &LostError{conn.o.Address, errors.New("it leads the metadata quorum no longer")}
		case <-ctx.Done():
			return nil, &LostError{conn.o.Address, ctx.Err()}
		}
	}
}

func (c *Controllers) addressOf(nodeID int32) (Address, bool) {
	for _, v := range c.o.Voters() {
		if v.NodeID == nodeID {
			return ControllerAddress(v)
		}
	}
	return Address{}, false
}
