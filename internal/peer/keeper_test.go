package peer

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/wire"
)

func (k *Keeper) known() (nodes, idle int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, n := range k.nodes {
		idle += len(n.idle)
	}
	return len(k.nodes), idle
}

func newKeeper(t *testing.T, perNode int) (*Keeper, *fakeNetwork) {
	network := &fakeNetwork{nodes: map[string]*fakeNode{}}
	return NewKeeper(Options{Self: self(), Purpose: wire.PurposeSession, Spawner: newSpawner(t), Network: network.open}, perNode, nil), network
}

// TestKeeperForgets: neither a node that is gone nor one that nobody calls any more leaves anything behind.
func TestKeeperForgets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, network := newKeeper(t, 1)
		call := func(a Address) {
			t.Helper()
			if _, err := k.Call(t.Context(), a, &wire.PeerRaftRequest{}); err != nil {
				t.Error(err)
			}
		}
		var addresses []Address
		for i := range 5 {
			node, a := network.add(t, int32(i+2), fmt.Sprint("host", i))
			node.answer = echo
			addresses = append(addresses, a)
		}
		for range 2 {
			call(addresses[0])
			call(addresses[1])
		}
		if nodes, idle := k.known(); nodes != 2 || idle != 2 {
			t.Errorf("%d nodes, %d connections", nodes, idle)
		}
		if hellos, _ := network.nodes[addresses[0].hostPort()].greeted(); hellos != 1 {
			t.Errorf("%d connections for two requests", hellos)
		}
		network.nodes[addresses[0].hostPort()].cut() // and its machine never comes back
		synctest.Wait()
		call(addresses[2])
		if nodes, _ := k.known(); nodes != 2 {
			t.Errorf("%d nodes, one of them is gone", nodes)
		}
		<-time.After(2 * keptIdle)
		call(addresses[3])
		synctest.Wait()
		if nodes, idle := k.known(); nodes != 1 || idle != 1 {
			t.Errorf("%d nodes and %d connections after a long time", nodes, idle)
		}
		if _, err := k.Call(t.Context(), Address{NodeID: 9, Host: "nowhere", Port: 1}, &wire.PeerRaftRequest{}); err == nil {
			t.Error("a call to nobody")
		}
		k.Forget(addresses[3])
		k.Forget(addresses[4])
		if nodes, idle := k.known(); nodes != 0 || idle != 0 {
			t.Errorf("%d nodes and %d connections after all were to be forgotten", nodes, idle)
		}
	})
}

// TestKeeperBoundsConnections: as many requests at a time as there may be connections; one that nobody waits for
// any more gives its connection up.
func TestKeeperBoundsConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, network := newKeeper(t, 2)
		node, a := network.add(t, 2, "two")
		hold := make(chan struct{})
		node.answer = func(r kmsg.Request) kmsg.Response {
			<-hold
			return echo(r)
		}
		outcomes := make(chan error, 4)
		ctx, giveUp := context.WithCancel(t.Context())
		for i := range 4 {
			within := t.Context()
			if i == 0 {
				within = ctx
			}
			go func() {
				_, err := k.Call(within, a, &wire.PeerRaftRequest{})
				outcomes <- err
			}()
			synctest.Wait()
		}
		if hellos, _ := node.greeted(); hellos != 2 {
			t.Errorf("%d connections", hellos)
		}
		giveUp()
		if err := <-outcomes; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		synctest.Wait()
		if hellos, _ := node.greeted(); hellos != 3 {
			t.Errorf("%d connections, one was given up", hellos)
		}
		close(hold)
		for range 3 {
			if err := <-outcomes; err != nil {
				t.Error(err)
			}
		}
		if nodes, idle := k.known(); nodes != 1 || idle != 2 {
			t.Errorf("%d nodes, %d connections", nodes, idle)
		}
	})
}
