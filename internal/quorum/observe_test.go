package quorum

import (
	"testing"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
)

// openObserver is of a node that is none of the voters 2, 3 and 4.
func openObserver(t *testing.T) *Voter {
	t.Helper()
	mem := vfs.NewMem()
	mustMkdir(t, mem)
	o := testOptions(mem)
	o.Form = votersOf(2, 3, 4)
	v, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

// TestAnObserverKeepsTheNewestLeader: a voter that was cut off still tells of an old one.
func TestAnObserverKeepsTheNewestLeader(t *testing.T) {
	t.Parallel()
	v := openObserver(t)
	for i, step := range []struct {
		leader int32
		epoch  int32
		want   Leadership
	}{
		{kafka.NoLeader, 0, Leadership{LeaderID: kafka.NoLeader, Epoch: 0}},
		{3, 5, Leadership{LeaderID: 3, Epoch: 5}},
		{2, 4, Leadership{LeaderID: 3, Epoch: 5}},
		{kafka.NoLeader, 5, Leadership{LeaderID: 3, Epoch: 5}},
		{4, 6, Leadership{LeaderID: 4, Epoch: 6}},
		{kafka.NoLeader, 7, Leadership{LeaderID: kafka.NoLeader, Epoch: 7}},
		{2, 7, Leadership{LeaderID: 2, Epoch: 7}},
	} {
		if err := v.Observe(Page{LeaderID: step.leader, Epoch: step.epoch}); err != nil {
			t.Fatal(err)
		}
		if got := v.Leadership(); got != step.want {
			t.Errorf("page %d of leader %d in epoch %d: %+v, expected %+v", i, step.leader, step.epoch, got, step.want)
		}
	}
}

// TestAPageKeepsItsSnapshot: it is encoded on another goroutine while the voter goes on.
func TestAPageKeepsItsSnapshot(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	mustMkdir(t, mem)
	v := mustOpen(t, mem)
	defer v.Close()
	page, err := v.Committed(NoPosition, 1000)
	if err != nil {
		t.Fatal(err)
	}
	before := *page.Snapshot
	if err := v.propose("a"); err != nil {
		t.Fatal(err)
	}
	if err := takeSnapshot(v); err != nil {
		t.Fatal(err)
	}
	if *page.Snapshot != before {
		t.Errorf("the page of snapshot %s now has %s", before.FileName(), page.Snapshot.FileName())
	}
}
