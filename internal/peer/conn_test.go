package peer

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/wire"
)

// lostNode is what OnLost was told.
type lostNode struct {
	id          int32
	incarnation kafka.UUID
	address     Address
}

// dialed is a connection to one fake node, whose end is told to lost.
type dialed struct {
	*Conn
	node *fakeNode
	lost chan lostNode
}

func dialFake(t *testing.T, change ...func(o *Options, node *fakeNode)) *dialed {
	t.Helper()
	network := &fakeNetwork{nodes: map[string]*fakeNode{}}
	node, address := network.add(t, 2, "two")
	node.answer = echo
	lost := make(chan lostNode, 10)
	o := Options{Self: self(), Address: address, Purpose: wire.PurposeSession, Spawner: newSpawner(t), RequestTimeout: time.Minute, Network: network.open,
		OnLost: func(id int32, incarnation kafka.UUID, address Address) { lost <- lostNode{id, incarnation, address} }}
	for _, c := range change {
		c(&o, node)
	}
	conn, err := Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return &dialed{conn, node, lost}
}

func snapshotRequest(position int64) *wire.PeerSnapshotRequest {
	return &wire.PeerSnapshotRequest{Position: position}
}

// sameSize answers a snapshot request with its position, so that answers can be told apart.
func samePosition(request kmsg.Request) kmsg.Response {
	return &wire.PeerSnapshotResponse{SizeBytes: request.(*wire.PeerSnapshotRequest).Position}
}

func TestDialChecksWhoIsThere(t *testing.T) {
	t.Parallel()
	message := "go away"
	for name, c := range map[string]struct {
		change func(hello *wire.PeerHelloResponse)
		want   []string // in the message; none: welcome
		isNot  bool     // not a *MismatchError
	}{
		"the node":         {func(*wire.PeerHelloResponse) {}, nil, false},
		"cluster unknown":  {func(h *wire.PeerHelloResponse) { h.ClusterID = "" }, nil, false},
		"other cluster":    {func(h *wire.PeerHelloResponse) { h.ClusterID, h.ErrorCode = "d", 104 }, []string{"cluster.id d", "expects c", "two:1000"}, false},
		"other node":       {func(h *wire.PeerHelloResponse) { h.NodeID = 3 }, []string{"node.id 3", "expects 2"}, false},
		"other version":    {func(h *wire.PeerHelloResponse) { h.FormatVersion, h.MaxFormat, h.ErrorCode = 9, 9, 35 }, []string{"version", " 9", "expects 1"}, false},
		"our own node id":  {func(h *wire.PeerHelloResponse) { h.NodeID = 1 }, []string{"node.id 1"}, false},
		"refuses for once": {func(h *wire.PeerHelloResponse) { h.ErrorCode, h.ErrorMessage = 101, &message }, []string{message, "DUPLICATE_BROKER_REGISTRATION"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				network := &fakeNetwork{nodes: map[string]*fakeNode{}}
				node, address := network.add(t, 2, "two")
				c.change(&node.hello)
				conn, err := Dial(t.Context(), Options{Self: self(), Address: address, Spawner: newSpawner(t), Network: network.open})
				if len(c.want) == 0 {
					if err != nil {
						t.Fatal(err)
					}
					conn.Close()
					return
				}
				if _, ok := errors.AsType[*MismatchError](err); ok == c.isNot {
					t.Errorf("%T", err)
				}
				for _, want := range c.want {
					if err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("%v: says nothing of %q", err, want)
					}
				}
			})
		})
	}
}

func TestDialGivesUpOnWhatIsNoNode(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string][]byte{
		"closed at once":  {},
		"cut":             {0, 0, 0},
		"another answer":  {0, 0, 0, 5, 0, 0, 0, 9, 0},
		"negative size":   {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0},
		"a huge size":     {0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0},
		"an empty answer": {0, 0, 0, 4, 0, 0, 0, 0},
		"lying tags":      {0, 0, 0, 9, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				network := &fakeNetwork{nodes: map[string]*fakeNode{}}
				node, address := network.add(t, 2, "two")
				node.raw = raw
				if conn, err := Dial(t.Context(), Options{Self: self(), Address: address, Spawner: newSpawner(t), Network: network.open}); err == nil {
					t.Error("dialled ", conn.hello)
				}
			})
		})
	}
	t.Run("silence", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			network := &fakeNetwork{nodes: map[string]*fakeNode{}}
			node, address := network.add(t, 2, "two")
			node.mute = true
			began := time.Now()
			_, err := Dial(t.Context(), Options{Self: self(), Address: address, Spawner: newSpawner(t), Network: network.open})
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != helloTimeout {
				t.Errorf("after %v: %v", time.Since(began), err)
			}
		})
	})
}

func TestCallsAreAnsweredInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		c := dialFake(t, func(o *Options, node *fakeNode) {
			o.MaxInFlight = 2
			node.answer = func(request kmsg.Request) kmsg.Response {
				<-hold
				return samePosition(request)
			}
		})
		var answers []int64
		for i := range int64(5) {
			go func() {
				<-time.After(time.Duration(i) * time.Millisecond)
				response, err := c.Call(t.Context(), snapshotRequest(i))
				if err != nil {
					t.Error(err)
					return
				}
				if got := response.(*wire.PeerSnapshotResponse).SizeBytes; got != i {
					t.Errorf("call %d got the answer of %d", i, got)
				}
			}()
		}
		<-time.After(time.Second)
		if n := len(c.slots); n != 2 {
			t.Errorf("%d requests are in flight, 2 are allowed", n)
		}
		close(hold)
		synctest.Wait()
		for _, r := range c.node.requests() {
			answers = append(answers, r.(*wire.PeerSnapshotRequest).Position)
		}
		if len(answers) != 5 || answers[0] != 0 {
			t.Errorf("asked %v", answers)
		}
	})
}

func TestLargeAnswersArrive(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, size := range []int{0, 1, firstFrameBytes, 3*firstFrameBytes + 17, 1 << 20} {
			c := dialFake(t, func(_ *Options, node *fakeNode) {
				node.answer = func(kmsg.Request) kmsg.Response {
					return &wire.PeerSnapshotResponse{Data: []byte(strings.Repeat("x", size))}
				}
			})
			for range 2 {
				response, err := c.Call(t.Context(), snapshotRequest(0))
				if err != nil || len(response.(*wire.PeerSnapshotResponse).Data) != size {
					t.Fatalf("%d bytes: %v", size, err)
				}
			}
			c.Close()
		}
	})
}

// TestMemoryOfAnswersIsUsedAgain: where who asks allows for it an answer lies where the one before did, until less is needed for long.
func TestMemoryOfAnswersIsUsedAgain(t *testing.T) {
	t.Parallel()
	for _, reuses := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			size := 1 << 20
			c := dialFake(t, func(o *Options, node *fakeNode) {
				o.ReusesMemory = reuses
				node.answer = func(kmsg.Request) kmsg.Response {
					return &wire.PeerSnapshotResponse{Data: []byte(strings.Repeat("x", size))}
				}
			})
			ask := func() []byte {
				t.Helper()
				response, err := c.Call(t.Context(), snapshotRequest(0))
				if err != nil || len(response.(*wire.PeerSnapshotResponse).Data) != size {
					t.Fatalf("%d bytes: %v", size, err)
				}
				return response.(*wire.PeerSnapshotResponse).Data
			}
			first := ask()
			if again := ask(); (&first[0] == &again[0]) != reuses {
				t.Errorf("the same memory: %v", &first[0] == &again[0])
			}
			size = 100
			for range mostSmall + 2 {
				ask()
			}
			synctest.Wait()
			if kept := cap(c.memory); kept > firstFrameBytes {
				t.Errorf("%d bytes are kept for answers of %d", kept, size)
			}
			c.Close()
		})
	}
}

// TestAnswersThatNobodyAwaitsTouchNothing: memory that is used again still belongs to who has asked last.
func TestAnswersThatNobodyAwaitsTouchNothing(t *testing.T) {
	t.Parallel()
	answer := func(data string) []byte {
		body := append([]byte{0}, (&wire.PeerSnapshotResponse{Data: []byte(data)}).AppendTo(nil)...)
		return append([]byte{0, 0, 0, byte(4 + len(body)), 0, 0, 0, 1}, body...)
	}
	synctest.Test(t, func(t *testing.T) {
		c := dialFake(t, func(o *Options, node *fakeNode) {
			o.ReusesMemory = true
			node.rawAnswer = append(answer("the right one"), answer("another time.")...)
		})
		response, err := c.Call(t.Context(), snapshotRequest(1))
		if err != nil {
			t.Fatal(err)
		}
		<-c.Done()
		if got := string(response.(*wire.PeerSnapshotResponse).Data); got != "the right one" || !errors.Is(c.Err(), wire.ErrBadResponse) {
			t.Errorf("the answer has become %q; %v", got, c.Err())
		}
	})
}

// An answer that makes no sense ends the connection: whatever follows could be the answer to anything.
func TestHostileAnswers(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string][]byte{
		"to another request": snapshotAnswer(9),
		"to the hello":       snapshotAnswer(0),
		"negative size":      {0x80, 0, 0, 0, 0, 0, 0, 1},
		"no room for an id":  {0, 0, 0, 3, 0, 0, 0, 1},
		"empty":              {0, 0, 0, 4, 0, 0, 0, 1},
		"cut inside":         {0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0},
		"lying bytes":        {0, 0, 0, 20, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f, 0},
		"answered twice":     append(snapshotAnswer(1), snapshotAnswer(1)...),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := dialFake(t, func(_ *Options, node *fakeNode) { node.rawAnswer = raw })
				_, err := c.Call(t.Context(), snapshotRequest(1))
				if name != "answered twice" {
					wantLost(t, err)
				}
				<-c.Done()
				if !errors.Is(c.Err(), wire.ErrBadResponse) || len(c.lost) > 0 {
					t.Errorf("ended for %v, said to be lost %d times", c.Err(), len(c.lost))
				}
			})
		})
	}
}

// A size costs no memory before its bytes are there.
func TestAnnouncedAnswerCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := dialFake(t, func(_ *Options, node *fakeNode) {
			node.rawAnswer = append([]byte{0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0}, make([]byte, firstFrameBytes)...)
		})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := c.Call(t.Context(), snapshotRequest(1))
		runtime.ReadMemStats(&after)
		wantLost(t, err)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
			t.Errorf("%d bytes allocated", grown)
		}
	})
}

// snapshotAnswer is a frame with the answer to request id.
func snapshotAnswer(id byte) []byte {
	body := append([]byte{0}, (&wire.PeerSnapshotResponse{}).AppendTo(nil)...)
	return append([]byte{0, 0, 0, byte(4 + len(body)), 0, 0, 0, id}, body...)
}

// FuzzAnswers has a node say anything after its hello.
func FuzzAnswers(f *testing.F) {
	f.Add(snapshotAnswer(1))
	f.Add(append(snapshotAnswer(1), snapshotAnswer(2)...))
	f.Add([]byte{0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0})
	f.Add([]byte{0, 0, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x0f})
	spawner := env.NewSpawner(context.Background(), nil)
	f.Cleanup(spawner.Stop)
	f.Fuzz(func(t *testing.T, answers []byte) {
		network := func(context.Context, Address) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				defer func() { _ = theirs.Close() }()
				node := fakeNode{t: t, hello: wire.PeerHelloResponse{FormatVersion: wire.SpokenFormats.Min, MaxFormat: wire.SpokenFormats.Max, NodeID: 2}, rawAnswer: answers}
				node.serveOnce(theirs)
				node.serveOnce(theirs)
			}()
			return ours, nil
		}
		c, err := Dial(context.Background(), Options{Self: self(), Address: Address{NodeID: 2}, Spawner: spawner, Network: network})
		if err != nil {
			t.Fatal(err)
		}
		response, err := c.Call(context.Background(), snapshotRequest(1))
		if (response == nil) == (err == nil) {
			t.Errorf("%v and %v", response, err)
		}
		<-c.Done()
	})
}

// After the request was written nobody knows whether it was done.
func TestConnectionCutAfterTheWrite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := dialFake(t, func(_ *Options, node *fakeNode) { node.answer = func(kmsg.Request) kmsg.Response { return nil } })
		_, err := c.Call(t.Context(), snapshotRequest(1))
		wantLost(t, err)
		if len(c.node.requests()) != 1 {
			t.Error("the request did not arrive")
		}
		want := lostNode{2, kafka.UUID{2}, Address{2, "two", 1000}}
		if got := <-c.lost; got != want {
			t.Errorf("told of %+v", got)
		}
		<-c.Done()
		_, err = c.Call(t.Context(), snapshotRequest(2))
		wantUnsent(t, err)
	})
}

func TestConnectionCutBeforeTheWrite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := dialFake(t)
		c.node.cut()
		<-c.Done()
		_, err := c.Call(t.Context(), snapshotRequest(1))
		wantUnsent(t, err)
		if len(c.lost) != 1 {
			t.Errorf("told %d times", len(c.lost))
		}
	})
}

// A node that does not answer may live: nobody is told that it has gone.
func TestSlowPeer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := dialFake(t)
		<-time.After(time.Hour) // an idle connection stays
		if _, err := c.Call(t.Context(), snapshotRequest(1)); err != nil {
			t.Fatal(err)
		}
		c.node.set(func() { c.node.mute = true })
		began := time.Now()
		_, err := c.Call(t.Context(), snapshotRequest(2))
		wantLost(t, err)
		if took := time.Since(began); took != time.Minute {
			t.Errorf("given up after %v", took)
		}
		if len(c.lost) > 0 {
			t.Error("said to be lost")
		}
		if c.Err() == nil {
			t.Error("the connection goes on")
		}
	})
}

func TestCallerGoesAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := dialFake(t, func(o *Options, node *fakeNode) {
			node.answer = func(request kmsg.Request) kmsg.Response {
				<-time.After(2 * time.Second)
				return samePosition(request)
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.Call(ctx, snapshotRequest(1))
		wantLost(t, err)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		_, err = c.Call(ctx, snapshotRequest(2)) // does not get its turn
		wantUnsent(t, err)
		response, err := c.Call(t.Context(), snapshotRequest(3))
		if err != nil || response.(*wire.PeerSnapshotResponse).SizeBytes != 3 {
			t.Errorf("%+v, %v", response, err)
		}
	})
}

// A node that hangs reads nothing any more: a request that does not fit into the sockets' buffers is not waited for
// longer than its caller does.
func TestCallerGoesAwayWhileItWrites(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hangs := make(chan struct{})
		c := dialFake(t, func(o *Options, node *fakeNode) {
			o.RequestTimeout, o.MaxInFlight = 0, 2
			node.answer = func(request kmsg.Request) kmsg.Response {
				select {
				case <-hangs:
				case <-time.After(time.Hour):
				}
				return samePosition(request)
			}
		})
		defer close(hangs)
		if err := c.Start(t.Context(), snapshotRequest(1), func(kmsg.Response, error) {}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := c.Call(ctx, snapshotRequest(2))
		wantUnsent(t, err)
		if took := time.Since(began); took != time.Second || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("given up after %v: %v", took, err)
		}
		if c.Err() == nil || len(c.lost) > 0 {
			t.Errorf("the connection goes on, or is said to be lost: %v", c.Err())
		}
	})
}

func TestStoppingEndsConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := dialFake(t, func(_ *Options, node *fakeNode) { node.mute = false })
		c.node.set(func() { c.node.mute = true })
		result := make(chan error, 1)
		go func() {
			_, err := c.Call(t.Context(), snapshotRequest(1))
			result <- err
		}()
		synctest.Wait()
		c.o.Spawner.Stop()
		wantLost(t, <-result)
		if len(c.lost) > 0 {
			t.Error("said to be lost")
		}
	})
}
