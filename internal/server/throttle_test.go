package server

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/handler"
	"github.com/moldau/moldau/internal/quota"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/wire"
)

// fixedQuota throttles each request of some keys for the same time, and notes what it is told.
type fixedQuota struct {
	quota.Unlimited
	byKey map[int16]time.Duration

	mu    sync.Mutex
	usage []quota.Usage
	spent time.Duration
}

func (q *fixedQuota) Throttle(_ *security.Connection, u quota.Usage) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.usage = append(q.usage, u)
	return q.byKey[u.APIKey]
}

func (q *fixedQuota) Spend(_ *security.Connection, _ int16, busy time.Duration, _ time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.spent += busy
}

// throttled starts a server that tells when requests are handled, and throttles by q.
func throttled(t *testing.T, limits Limits, q *fixedQuota, handlers map[int16]handlerFunc) (*testServer, <-chan time.Time) {
	handled := make(chan time.Time, 100)
	noted := map[int16]handlerFunc{}
	for _, key := range []int16{wire.KeyMetadata, wire.KeyProduce} {
		h := handlers[key]
		if h == nil {
			h = respondEmpty
		}
		noted[key] = func(ctx context.Context, r *handler.Request) handler.Reply {
			handled <- time.Now()
			return h(ctx, r)
		}
	}
	return startServer(t, limits, noted, func(o *Options) { o.Quota = q }), handled
}

func throttleOf(t *testing.T, body []byte, response interface {
	kmsg.Response
	kmsg.ThrottleResponse
}) time.Duration {
	t.Helper()
	if response.IsFlexible() {
		body = body[1:] // the header's tags
	}
	if err := response.ReadFrom(body); err != nil {
		t.Fatal(err)
	}
	throttle, _ := response.Throttle()
	return time.Duration(throttle) * time.Millisecond
}

func TestThrottle(t *testing.T) {
	t.Parallel()
	const wait = 50 * time.Millisecond
	s, handled := throttled(t, Limits{}, &fixedQuota{byKey: map[int16]time.Duration{wire.KeyMetadata: wait}}, nil)
	conn := s.dial()
	conn.send(frameOf(metadataRequest(3), 1))
	conn.send(frameOf(metadataRequest(3), 2))
	_, body := conn.receive()
	response := kmsg.NewPtrMetadataResponse()
	response.SetVersion(3)
	if got := throttleOf(t, body, response); got != wait {
		t.Errorf("throttle time %v", got)
	}
	conn.receive()
	if first, second := <-handled, <-handled; second.Sub(first) < wait {
		t.Errorf("the second request was handled after %v", second.Sub(first))
	}
}

// The response of a Produce that waits for its replicas may take long: what the client has sent
// ahead must not get past the throttle meanwhile.
func TestThrottleCountsFromTheOrderedPhase(t *testing.T) {
	t.Parallel()
	const wait = 50 * time.Millisecond
	gate := make(chan struct{})
	s, handled := throttled(t, Limits{}, &fixedQuota{byKey: map[int16]time.Duration{wire.KeyProduce: wait}}, map[int16]handlerFunc{
		wire.KeyProduce: func(_ context.Context, r *handler.Request) handler.Reply {
			if r.Body.(*kmsg.ProduceRequest).Acks == 0 {
				return handler.Reply{NoResponse: true}
			}
			return produceReply(gate)
		},
	})
	conn := s.dial()
	for i, acks := range []int16{1, 0, 1} { // without a response, the next request waits all the same
		conn.send(frameOf(produceRequest(acks), int32(i)))
	}
	last := time.Time{}
	for range 3 {
		at := <-handled
		if !last.IsZero() && at.Sub(last) < wait {
			t.Errorf("a request was handled %v after the one before it", at.Sub(last))
		}
		last = at
	}
	close(gate)
	for _, want := range []int32{0, 2} {
		id, body := conn.receive()
		response := kmsg.NewPtrProduceResponse()
		response.SetVersion(produceRequest(1).GetVersion())
		if got := throttleOf(t, body, response); id != want || got != wait {
			t.Errorf("response to %d with throttle time %v", id, got)
		}
	}
}

func TestHandlersThrottle(t *testing.T) {
	t.Parallel()
	q := &fixedQuota{byKey: map[int16]time.Duration{wire.KeyMetadata: 30 * time.Millisecond}}
	replies := make(chan handler.Reply, 3)
	s, _ := throttled(t, Limits{}, q, map[int16]handlerFunc{
		wire.KeyMetadata: func(_ context.Context, r *handler.Request) handler.Reply {
			reply := <-replies
			reply.Body = wire.Message(r.Body.ResponseKind())
			return reply
		},
	})
	conn := s.dial()
	for i, test := range []struct {
		reply handler.Reply
		want  time.Duration
	}{
		{handler.Reply{Throttle: 40 * time.Millisecond}, 40 * time.Millisecond},
		{handler.Reply{Throttle: 20 * time.Millisecond}, 30 * time.Millisecond},
		{handler.Reply{Throttle: 10 * time.Millisecond, Accounted: true}, 10 * time.Millisecond},
	} {
		replies <- test.reply
		conn.send(frameOf(metadataRequest(3), int32(i)))
		_, body := conn.receive()
		response := kmsg.NewPtrMetadataResponse()
		response.SetVersion(3)
		if got := throttleOf(t, body, response); got != test.want {
			t.Errorf("%+v: throttle time %v, want %v", test.reply, got, test.want)
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.usage) != 2 || q.usage[0].BusyTime <= 0 || q.spent <= 0 {
		t.Errorf("the quota was told %+v, and %v afterwards", q.usage, q.spent)
	}
}

// What a request waits for is nobody's work: that is what is left of the time until it was answered, at most.
func TestWaitsAreNotWork(t *testing.T) {
	t.Parallel()
	const wait = 200 * time.Millisecond
	q := &fixedQuota{}
	waited := make(chan time.Duration, 1)
	s, _ := throttled(t, Limits{}, q, map[int16]handlerFunc{
		wire.KeyMetadata: func(ctx context.Context, r *handler.Request) handler.Reply {
			timer := time.NewTimer(wait)
			waiting := env.StartWait(ctx)
			since := time.Now()
			<-timer.C
			waited <- time.Since(since)
			waiting.End()
			return handler.Respond(r.Body.ResponseKind())
		},
	})
	conn := s.dial()
	for i := range 2 {
		since := time.Now()
		conn.send(frameOf(metadataRequest(3), int32(i)))
		conn.receive()
		most := time.Since(since) - <-waited
		q.mu.Lock()
		if len(q.usage) != i+1 || q.usage[i].BusyTime > most || q.usage[i].BusyTime < 0 {
			t.Errorf("work of %+v, at most %v of it were not waited", q.usage, most)
		}
		q.mu.Unlock()
	}
}

// A connection that is held back for days ends with the server, with its client, and when it
// has been idle for too long.
func TestThrottledConnectionsEnd(t *testing.T) {
	t.Parallel()
	forDays := &fixedQuota{byKey: map[int16]time.Duration{wire.KeyMetadata: 24 * time.Hour}}
	start := func(t *testing.T, limits Limits) (*testServer, *client) {
		s, _ := throttled(t, limits, forDays, nil)
		conn := s.dial()
		conn.send(frameOf(metadataRequest(3), 1))
		conn.receive()
		eventually(t, "it is held back", func() bool { return s.registry.Gauge("moldau_throttled_connections", "").Value() == 1 })
		return s, conn
	}
	t.Run("server", func(t *testing.T) {
		t.Parallel()
		s, conn := start(t, Limits{StopGrace: time.Minute})
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
		conn.wantClosed()
	})
	t.Run("client", func(t *testing.T) {
		t.Parallel()
		s, conn := start(t, Limits{})
		_ = conn.Close()
		eventually(t, "it is gone", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.connections) == 0
		})
	})
	t.Run("idle", func(t *testing.T) {
		t.Parallel()
		_, conn := start(t, Limits{MaxIdle: 200 * time.Millisecond})
		conn.wantClosed()
	})
}
