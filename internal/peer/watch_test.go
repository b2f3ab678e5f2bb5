package peer

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/wire"
)

// watched is a connection to a fake node, whose losses a Watch hears of.
type watched struct {
	*Conn
	*Watch
	node *fakeNode
	dead chan kafka.UUID
}

func newWatched(t *testing.T) *watched {
	network := &fakeNetwork{nodes: map[string]*fakeNode{}}
	node, address := network.add(t, 2, "two")
	node.answer = echo
	w := &watched{node: node, dead: make(chan kafka.UUID, 10)}
	spawner := newSpawner(t)
	w.Watch = NewWatch(WatchOptions{Self: self(), Spawner: spawner, Metrics: metrics.NewRegistry(), Network: network.open,
		OnDead: func(_ int32, incarnation kafka.UUID) { w.dead <- incarnation }})
	var err error
	w.Conn, err = Dial(t.Context(), Options{Self: self(), Address: address, Purpose: wire.PurposeSession, Spawner: spawner, Network: network.open, OnLost: w.Lost})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *watched) wantDead(t *testing.T, within time.Duration) {
	t.Helper()
	began := time.Now()
	select {
	case incarnation := <-w.dead:
		if incarnation != (kafka.UUID{2}) || time.Since(began) > within {
			t.Errorf("incarnation %v died after %v", incarnation, time.Since(began))
		}
	case <-time.After(time.Hour):
		t.Error("not found dead")
	}
}

func TestKilledNodeIsDeadAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t)
		w.node.set(func() { w.node.down = true })
		w.node.cut()
		w.wantDead(t, 0)
		w.Lost(2, kafka.UUID{2}, w.Conn.o.Address)
		<-time.After(time.Hour)
		if len(w.dead) > 0 {
			t.Error("dead twice")
		}
	})
}

func TestCutConnectionIsNoDeath(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t)
		w.node.cut()
		<-time.After(time.Hour)
		if len(w.dead) > 0 {
			t.Error("a node that answers probes is said to be dead")
		}
		if _, probes := w.node.greeted(); probes != 8 {
			t.Errorf("%d probes", probes)
		}
	})
}

func TestRestartedNodeHasDied(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t)
		w.node.set(func() { w.node.hello.IncarnationID = kafka.UUID{7} })
		w.node.cut()
		w.wantDead(t, 0)
	})
}

// A process that dies may still have a listener when its first connection is reset.
func TestDyingNodeIsFoundDead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t)
		w.node.set(func() { w.node.raw = []byte{} }) // accepts, and resets
		w.node.cut()
		<-time.After(5 * time.Millisecond)
		if len(w.dead) > 0 {
			t.Fatal("dead too early")
		}
		w.node.set(func() { w.node.down = true })
		w.wantDead(t, 8*time.Millisecond)
	})
}

func TestStoppedNodeIsLeftToItsSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWatched(t)
		w.node.set(func() { w.node.mute = true })
		w.node.cut()
		<-time.After(time.Hour)
		if _, probes := w.node.greeted(); len(w.dead) > 0 || probes != 1 {
			t.Errorf("%d deaths, %d probes", len(w.dead), probes)
		}
	})
}
