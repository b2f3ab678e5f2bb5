package storage

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/env/vfs"
)

// TestShutdownSyncsLogsTogether: one after the other, ten thousand logs take longer than whatever
// stops a process gives it, and the next start then has to recover them all.
func TestShutdownSyncsLogsTogether(t *testing.T) {
	t.Parallel()
	const logs = 4
	var stopping atomic.Bool
	var arrived atomic.Int32
	all := make(chan struct{})
	fault := vfs.NewFault(newMem(t), func(op vfs.Op, name string) error {
		if op == vfs.OpSync && stopping.Load() {
			if arrived.Add(1) == logs {
				close(all)
			}
			select {
			case <-all:
			case <-time.After(10 * time.Second):
				t.Errorf("%s is synced while no other log is", name)
			}
		}
		return nil
	})
	m, err := OpenManager(testOptions(fault, testConfig()))
	if err != nil {
		t.Fatal(err)
	}
	concurrently := func(count int, work func(i int)) {
		var done sync.WaitGroup
		for i := range count {
			done.Go(func() { work(i) })
		}
		done.Wait()
	}
	if err := m.Load(LoadOptions{NowMs: startMs, ShutdownParallel: concurrently}); err != nil {
		t.Fatal(err)
	}
	for i := range logs {
		l, err := m.GetOrCreate(tidp("t", int32(i), 1), testConfig(), startMs)
		if err != nil {
			t.Fatal(err)
		}
		mustProduce(t, l, plain(1), 0)
	}
	stopping.Store(true)
	if err := m.Shutdown(1); err != nil {
		t.Fatal(err)
	}
}
