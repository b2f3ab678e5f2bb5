package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/handler"
	"github.com/moldau/moldau/internal/wire"
)

func produceReply(wait <-chan struct{}) handler.Reply {
	return handler.Reply{Wait: func(ctx context.Context) wire.ResponseBody {
		select {
		case <-wait:
			return &wire.ProduceBody{Response: kmsg.NewPtrProduceResponse()}
		case <-ctx.Done():
			return nil
		}
	}}
}

func TestResponsesLeaveInRequestOrder(t *testing.T) {
	t.Parallel()
	handled := make(chan int16, 10)
	gates := map[int16]chan struct{}{1: make(chan struct{}), -1: make(chan struct{})}
	s := startServer(t, Limits{}, map[int16]handlerFunc{
		wire.KeyProduce: func(_ context.Context, r *handler.Request) handler.Reply {
			acks := r.Body.(*kmsg.ProduceRequest).Acks
			handled <- acks
			if acks == 0 {
				return handler.Reply{NoResponse: true}
			}
			return produceReply(gates[acks])
		},
	})
	conn := s.dial()
	for i, acks := range []int16{1, 0, -1} {
		conn.send(frameOf(produceRequest(acks), int32(i)))
	}
	conn.send(frameOf(metadataRequest(1), 3))
	// All three are handled while the first is still unfinished.
	for _, want := range []int16{1, 0, -1} {
		if got := <-handled; got != want {
			t.Fatalf("handled acks=%d, want %d", got, want)
		}
	}
	close(gates[-1])
	close(gates[1])
	for _, want := range []int32{0, 2, 3} {
		if id, _ := conn.receive(); id != want {
			t.Fatalf("got the response to %d, want %d", id, want)
		}
	}
}

func TestUnfinishedRequestsAreBounded(t *testing.T) {
	t.Parallel()
	for name, limits := range map[string]Limits{"count": {MaxUnfinished: 3}, "bytes": {MaxUnfinishedBytes: 2 << 10}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			handled := make(chan struct{}, 100)
			gate := make(chan struct{})
			s := startServer(t, limits, map[int16]handlerFunc{
				wire.KeyProduce: func(context.Context, *handler.Request) handler.Reply {
					handled <- struct{}{}
					return produceReply(gate)
				},
			})
			conn := s.dial()
			for i := range 20 {
				conn.send(frameOf(produceRequest(1), int32(i)))
			}
			for range 3 {
				<-handled
			}
			// The reader now waits in answer; a fourth handled request would race with nothing else.
			eventually(t, "three are unfinished", func() bool { return s.registry.Gauge("moldau_unfinished_requests", "").Value() == 3 })
			if n := len(handled); n != 0 {
				t.Errorf("%d more were handled", n)
			}
			close(gate)
			for i := range int32(20) {
				if id, _ := conn.receive(); id != i {
					t.Fatalf("response to %d, want %d", id, i)
				}
			}
		})
	}
}

func TestPanicCostsOneConnection(t *testing.T) {
	t.Parallel()
	s := startServer(t, Limits{}, map[int16]handlerFunc{
		wire.KeyMetadata: func(context.Context, *handler.Request) handler.Reply { panic("on purpose") },
		wire.KeyProduce: func(context.Context, *handler.Request) handler.Reply {
			return handler.Reply{Wait: func(context.Context) wire.ResponseBody { panic("on purpose") }}
		},
	})
	for _, request := range []kmsg.Request{metadataRequest(1), produceRequest(1)} {
		conn := s.dial()
		conn.send(frameOf(request, 1))
		conn.wantClosed()
	}
	if n := s.counter("moldau_request_panics_total"); n != 2 {
		t.Errorf("%d panics counted", n)
	}
	conn := s.dial()
	conn.send(frameOf(kmsg.NewPtrListGroupsRequest(), 2))
	conn.receive()
	eventually(t, "memory is given back", func() bool { return s.memory.used.Value() == 0 })
}

func TestHandlerMayCloseTheConnection(t *testing.T) {
	t.Parallel()
	s := startServer(t, Limits{}, map[int16]handlerFunc{
		wire.KeyMetadata: func(_ context.Context, r *handler.Request) handler.Reply {
			reply := handler.Respond(r.Body.ResponseKind())
			reply.CloseConnection = true
			return reply
		},
		wire.KeyProduce: func(context.Context, *handler.Request) handler.Reply {
			return handler.Reply{CloseConnection: true}
		},
	})
	conn := s.dial()
	conn.send(frameOf(metadataRequest(1), 1))
	conn.receive()
	conn.wantClosed()
	conn = s.dial()
	conn.send(frameOf(produceRequest(0), 1))
	conn.wantClosed()
}

// TestSlowReaderBlocksNobody has one client ask for much and read nothing.
func TestSlowReaderBlocksNobody(t *testing.T) {
	t.Parallel()
	released := make(chan struct{}, 100)
	records := make([]byte, 8<<20)
	s := startServer(t, Limits{}, map[int16]handlerFunc{
		wire.KeyFetch: func(context.Context, *handler.Request) handler.Reply {
			response := kmsg.NewPtrFetchResponse()
			partition := kmsg.NewFetchResponseTopicPartition()
			partition.RecordBatches = records
			response.Topics = []kmsg.FetchResponseTopic{{Topic: "t", Partitions: []kmsg.FetchResponseTopicPartition{partition}}}
			return handler.Reply{Body: &wire.FetchBody{Response: response, OnRelease: func() { released <- struct{}{} }}}
		},
	})
	fetch := kmsg.NewPtrFetchRequest()
	fetch.SetVersion(12)
	slow := s.dial()
	for i := range int32(5) {
		slow.send(frameOf(fetch, i))
	}
	for i := range int32(20) {
		quick := s.dial()
		quick.send(frameOf(metadataRequest(1), i))
		quick.receive()
	}
	if n := len(released); n > 1 {
		t.Errorf("%d responses were handled ahead of a client that does not read", n)
	}
	for i := range int32(5) {
		if id, rest := slow.receive(); id != i || len(rest) < len(records) {
			t.Fatalf("response %d has %d bytes", id, len(rest))
		}
		<-released
	}
}

// TestClientThatVanishesInALongPoll: the handler's context ends, also behind requests sent ahead.
func TestClientThatVanishesInALongPoll(t *testing.T) {
	t.Parallel()
	for _, ahead := range []int{0, 3} {
		t.Run(fmt.Sprint(ahead), func(t *testing.T) {
			t.Parallel()
			var waiting, ended atomic.Int64
			s := startServer(t, Limits{}, map[int16]handlerFunc{
				wire.KeyFetch: func(ctx context.Context, r *handler.Request) handler.Reply {
					waiting.Add(1)
					select {
					case <-ctx.Done():
						ended.Add(1)
					case <-time.After(patience):
					}
					return respondEmpty(ctx, r)
				},
			})
			fetch := kmsg.NewPtrFetchRequest()
			fetch.SetVersion(12)
			c := s.dial()
			c.send(frameOf(fetch, 0))
			for i := range ahead {
				c.send(frameOf(metadataRequest(1), int32(i)))
			}
			eventually(t, "the fetch waits", func() bool { return waiting.Load() == 1 })
			_ = c.Close()
			eventually(t, "the fetch ends", func() bool { return ended.Load() == 1 })
		})
	}
}

// TestLongPollLeavesLaterRequestsAlone: what was read ahead meanwhile is answered in order.
func TestLongPollLeavesLaterRequestsAlone(t *testing.T) {
	t.Parallel()
	s := startServer(t, Limits{}, map[int16]handlerFunc{
		wire.KeyFetch: func(ctx context.Context, r *handler.Request) handler.Reply {
			_ = pause(ctx, goneAfter+200*time.Millisecond)
			return respondEmpty(ctx, r)
		},
	})
	fetch := kmsg.NewPtrFetchRequest()
	fetch.SetVersion(12)
	for _, ahead := range []int32{1, 60} { // the last are more than the read buffer holds
		t.Run(fmt.Sprint(ahead), func(t *testing.T) {
			t.Parallel()
			c := s.dial()
			c.t = t
			c.send(frameOf(fetch, 0))
			for id := int32(1); id <= ahead; id++ {
				c.send(frameOf(metadataRequest(1), id))
			}
			c.send(frameOf(fetch, ahead+1))
			for id := range ahead + 2 {
				if got, _ := c.receive(); got != id {
					t.Fatalf("response %d, want %d", got, id)
				}
			}
		})
	}
}

// TestSlowButSteadyReader: only a client that reads nothing for as long as it might be idle is
// given up, however long a response takes altogether.
func TestSlowButSteadyReader(t *testing.T) {
	t.Parallel()
	records := make([]byte, 8<<20)
	const maxIdle = 200 * time.Millisecond
	s := startServer(t, Limits{MaxIdle: maxIdle, SendBufferBytes: 64 << 10}, map[int16]handlerFunc{
		wire.KeyFetch: func(context.Context, *handler.Request) handler.Reply {
			response := kmsg.NewPtrFetchResponse()
			partition := kmsg.NewFetchResponseTopicPartition()
			partition.RecordBatches = records
			response.Topics = []kmsg.FetchResponseTopic{{Topic: "t", Partitions: []kmsg.FetchResponseTopicPartition{partition}}}
			return handler.Reply{Body: &wire.FetchBody{Response: response}}
		},
	})
	fetch := kmsg.NewPtrFetchRequest()
	fetch.SetVersion(12)
	// read returns how much arrives, over how long, and the longest that this reader has let the server wait, on purpose or since
	// the machine has too much to do.
	read := func(stalls bool) (got int, took, longest time.Duration) {
		c := s.dial()
		defer c.Close()
		_ = c.Conn.(*net.TCPConn).SetReadBuffer(64 << 10)
		c.send(frameOf(fetch, 1))
		tick := time.NewTicker(maxIdle / 8)
		defer tick.Stop()
		start := time.Now()
		before := start
		for piece := make([]byte, 256<<10); got < len(records); {
			<-tick.C
			n, err := io.ReadFull(c, piece)
			got += n
			if err != nil {
				break
			}
			for stalls && time.Since(start) < 8*maxIdle {
				<-tick.C
			}
			now := time.Now()
			before, longest = now, max(longest, now.Sub(before))
		}
		return got, time.Since(start), max(longest, time.Since(before))
	}
	if got, took, _ := read(true); got >= len(records) {
		t.Errorf("a reader that stalls gets %d bytes in %v", got, took)
	}
	for {
		got, took, longest := read(false)
		if got < len(records) && longest > maxIdle/2 {
			continue // it was not steady
		}
		if got < len(records) || took < 3*maxIdle {
			t.Errorf("%d of %d bytes in %v, never idle for more than %v", got, len(records), took, longest)
		}
		break
	}
}

func TestRequestOnTheWrongListener(t *testing.T) {
	t.Parallel()
	s := startServer(t, Limits{}, nil, func(o *Options) {
		o.Listeners[0].Kind = wire.ControllerListener
	})
	conn := s.dial()
	conn.send(frameOf(kmsg.NewPtrDescribeClusterRequest(), 1))
	conn.receive()
	conn.send(frameOf(metadataRequest(1), 2))
	conn.wantClosed()
}

func TestStopFinishesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{})
	gate := make(chan struct{})
	s := startServer(t, Limits{StopGrace: time.Minute}, map[int16]handlerFunc{
		wire.KeyProduce: func(context.Context, *handler.Request) handler.Reply {
			close(entered)
			return produceReply(gate)
		},
	})
	idle, busy := s.dial(), s.dial()
	idle.send(frameOf(metadataRequest(1), 1))
	idle.receive()
	busy.send(frameOf(produceRequest(1), 5))
	<-entered
	stopped := make(chan error)
	spawn(t, func() { stopped <- s.Stop(context.Background()) })
	idle.wantClosed()
	close(gate)
	if id, _ := busy.receive(); id != 5 {
		t.Errorf("correlation id %d", id)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if conn, err := net.Dial("tcp", s.address); err == nil {
		_ = conn.Close()
		t.Error("still accepting after Stop")
	}
}

func (s *testServer) awaitConnections(count int) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("%d connections", count), func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.connections) == count
	})
}

// TestStopAnswersNewcomers: franz-go takes a connection that ends before its first answer for a mistake in its configuration,
// and gives up what it was doing.
func TestStopAnswersNewcomers(t *testing.T) {
	t.Parallel()
	s := startServer(t, Limits{StopGrace: time.Minute, NewcomerGrace: time.Minute}, nil)
	known, newcomer := s.dial(), s.dial()
	known.send(frameOf(metadataRequest(1), 1))
	known.receive()
	s.awaitConnections(2)
	stopped := make(chan error)
	spawn(t, func() { stopped <- s.Stop(context.Background()) })
	known.wantClosed()
	newcomer.send(frameOf(metadataRequest(1), 7))
	if id, _ := newcomer.receive(); id != 7 {
		t.Errorf("correlation id %d", id)
	}
	newcomer.wantClosed()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// TestStopWaitsForNewcomersNotForLong: one that sends nothing is closed.
func TestStopWaitsForNewcomersNotForLong(t *testing.T) {
	t.Parallel()
	s := startServer(t, Limits{StopGrace: time.Minute, NewcomerGrace: time.Millisecond}, nil)
	newcomer := s.dial()
	s.awaitConnections(1)
	if err := s.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	newcomer.wantClosed()
}

// TestNobodyIsAdmittedAfterTheStop: one who was accepted just before it would have the stop wait until he says something.
func TestNobodyIsAdmittedAfterTheStop(t *testing.T) {
	t.Parallel()
	s := startServer(t, Limits{}, nil)
	listener := s.listeners[0]
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	late, accepted := net.Pipe()
	defer late.Close()
	s.admit(listener, accepted)
	_ = late.SetDeadline(time.Now().Add(patience))
	if _, err := late.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a connection is open after the stop: %v", err)
	}
}

func TestStopEndsLongPollsAndCutsTheRest(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{}, 2)
	gate := make(chan struct{})
	defer close(gate)
	s := startServer(t, Limits{StopGrace: time.Millisecond}, map[int16]handlerFunc{
		wire.KeyFetch: func(ctx context.Context, r *handler.Request) handler.Reply {
			entered <- struct{}{}
			<-ctx.Done()
			return handler.Respond(r.Body.ResponseKind())
		},
		wire.KeyMetadata: func(context.Context, *handler.Request) handler.Reply {
			response := kmsg.NewPtrMetadataResponse()
			response.ClusterID = kmsg.StringPtr(string(make([]byte, 30<<10)))
			entered <- struct{}{}
			return handler.Respond(response)
		},
	})
	poll := s.dial()
	fetch := kmsg.NewPtrFetchRequest()
	fetch.SetVersion(12)
	poll.send(frameOf(fetch, 6))
	<-entered
	if err := s.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	if id, _ := poll.receive(); id != 6 {
		t.Errorf("correlation id %d", id)
	}
	_, _ = io.Copy(io.Discard, poll)
}

func TestStopReportsConnectionsItCut(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{})
	records := make([]byte, 32<<20)
	s := startServer(t, Limits{StopGrace: time.Millisecond}, map[int16]handlerFunc{
		wire.KeyFetch: func(context.Context, *handler.Request) handler.Reply {
			response := kmsg.NewPtrFetchResponse()
			partition := kmsg.NewFetchResponseTopicPartition()
			partition.RecordBatches = records
			response.Topics = []kmsg.FetchResponseTopic{{Topic: "t", Partitions: []kmsg.FetchResponseTopicPartition{partition}}}
			close(entered)
			return handler.Reply{Body: &wire.FetchBody{Response: response}}
		},
	})
	conn := s.dial()
	fetch := kmsg.NewPtrFetchRequest()
	fetch.SetVersion(12)
	conn.send(frameOf(fetch, 6))
	<-entered
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := s.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Stop returned %v", err)
	}
}

func TestBindNamesTheAddressInUse(t *testing.T) {
	t.Parallel()
	s := startServer(t, Limits{}, nil)
	other := New(Options{Listeners: []Listener{{Name: "A", Address: "127.0.0.1:0"}, {Name: "B", Address: s.address}}, Metrics: s.registry})
	err := other.Bind()
	if err == nil || other.Addr("A") != nil {
		t.Fatalf("Bind returned %v", err)
	}
	if want := fmt.Sprintf("cannot listen on %s for listener B", s.address); len(err.Error()) < len(want) || err.Error()[:len(want)] != want {
		t.Errorf("error is %q", err)
	}
}

func TestRequestMetrics(t *testing.T) {
	t.Parallel()
	s := startServer(t, Limits{}, map[int16]handlerFunc{
		wire.KeyHeartbeat: func(_ context.Context, r *handler.Request) handler.Reply {
			response := r.Body.ResponseKind().(*kmsg.HeartbeatResponse)
			response.ErrorCode = 25
			return handler.Respond(response)
		},
	})
	conn := s.dial()
	frame := frameOf(kmsg.NewPtrHeartbeatRequest(), 1)
	conn.send(frame)
	conn.receive()
	eventually(t, "the request is counted", func() bool {
		return s.counter("moldau_request_errors_total", "api", "Heartbeat", "code", "25", "error", "UNKNOWN_MEMBER_ID") == 1
	})
	if n := s.counter("moldau_request_bytes_total", "api", "Heartbeat"); n != int64(len(frame)) {
		t.Errorf("%d bytes counted, %d sent", n, len(frame))
	}
	if n := s.counter("moldau_received_bytes_total"); n != int64(len(frame)) {
		t.Errorf("%d bytes received, %d sent", n, len(frame))
	}
	_, count, _ := s.registry.Histogram("moldau_request_duration_seconds", "", nil, "api", "Heartbeat").Snapshot()
	if count != 1 {
		t.Errorf("%d durations", count)
	}
}

// spawn runs f and waits for it at the end of the test.
func spawn(t *testing.T, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	t.Cleanup(func() { <-done })
}
