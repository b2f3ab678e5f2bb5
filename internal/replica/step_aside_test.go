package replica

import (
	"slices"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/storage"
)

// TestFullDiskIsNotWaitedFor: where a log dir takes no more, others lead what this broker leads on it, and a replica whose log
// refuses what it has fetched leaves the in-sync replicas; producers would wait for replica.lag.time.max.ms.
func TestFullDiskIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	h, w := newClusterHarness(t)
	h.Manager.options.Cluster.BrokerEpoch = func() int64 { return 10 }
	h.createReplicated("led", 1, 1, 2, 3)
	h.createReplicated("alone", 1, 1)
	h.createReplicated("followed", 2, 1, 2, 3)
	proposed := func(when string, want int) {
		t.Helper()
		if len(w.proposals) != want {
			t.Fatalf("%s: %d changes are proposed, want %d", when, len(w.proposals), want)
		}
	}
	nowMs := time.Now().UnixMilli()
	h.produce("led", 0, 10, "a")
	h.CheckLag(nowMs)
	proposed("there is room", 0)

	mem := h.fs.(*vfs.Mem)
	mem.SetTotalBytes(100 << 20)
	_, free, err := mem.Usage("/data")
	if err != nil {
		t.Fatal(err)
	}
	filler, err := mem.Create("/filler")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = filler.Close() }()
	if _, err := filler.WriteAt(make([]byte, free-reserveBytes/2-10_000), 0); err != nil {
		t.Fatal(err)
	}
	if err := h.options.Storage.CheckSpace(); err != nil || len(h.options.Storage.LowDirs()) != 1 {
		t.Fatalf("the disk is not full: %v", err)
	}
	h.CheckLag(nowMs)
	proposed("the disk is nearly full", 1)
	if change := w.proposals[0]; !change.Damaged || len(change.ISR) != 2 || slices.ContainsFunc(change.ISR, func(m partition.ISRMember) bool { return m.BrokerID == 1 }) {
		t.Errorf("proposes %+v", change)
	}
	fetch := func(size int) error {
		r, err := h.Lookup(tpOf("followed", 0))
		if err != nil {
			t.Fatal(err)
		}
		b := batchOf(t, size, "b")
		b.SetBaseOffset(r.Log().LogEndOffset())
		return r.AppendFetched(partition.Fetched{Fetched: storage.Fetched{Records: b, LeaderEpoch: 0, NowMs: nowMs}})
	}
	if err := fetch(10); err != nil {
		t.Fatalf("a follower may use half of the reserve: %v", err)
	}
	h.CheckLag(nowMs + 1000)
	proposed("the follower keeps up", 1)
	if err := fetch(reserveBytes / 2); kafka.CodeOf(err) != kafka.ErrKafkaStorageError {
		t.Fatalf("the follower found room: %v", err)
	}
	h.CheckLag(nowMs + 2000)
	proposed("the follower does not keep up", 2)
	if change := w.proposals[1]; !change.Damaged || len(change.ISR) != 2 {
		t.Errorf("proposes %+v", change)
	}
}

// TestStalledDiskIsNotWaitedFor: where calls on a log dir do not return, others lead what this broker leads on it, and its replicas there leave the
// in-sync replicas. When it answers they come back.
func TestStalledDiskIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	h, w := newClusterHarness(t)
	h.Manager.options.Cluster.BrokerEpoch = func() int64 { return 10 }
	h.createReplicated("led", 1, 1, 2, 3)
	h.createReplicated("followed", 2, 1, 2, 3)
	h.createReplicated("alone", 1, 1)
	h.createReplicated("two", 1, 1, 2)
	nowMs := time.Now().UnixMilli()
	h.CheckLag(nowMs)
	if len(w.proposals) != 0 {
		t.Fatalf("while the disk answers %d changes are proposed", len(w.proposals))
	}
	dir := "/data"
	h.options.Storage.SetStalled(dir, true)
	for range 3 {
		h.CheckLag(nowMs)
	}
	if len(w.proposals) != 2 {
		t.Fatalf("%d changes are proposed: where enough others have everything, one each", len(w.proposals))
	}
	for _, change := range w.proposals {
		if !change.Damaged || len(change.ISR) != 2 || slices.ContainsFunc(change.ISR, func(m partition.ISRMember) bool { return m.BrokerID == 1 }) {
			t.Errorf("proposes %+v", change)
		}
	}
	h.apply(&metadata.PartitionChangeRecord{TopicID: idOf("led"), Leader: 2, ISR: []int32{2, 3}})
	h.options.Storage.SetStalled(dir, false)
	if code := h.lookupCode("led", 0); code != kafka.ErrNone {
		t.Fatalf("the disk answers: %v", code)
	}
	if r, _ := h.Lookup(tpOf("led", 0)); r.IsLeader() {
		t.Error("it leads what another broker leads by now, until it has heard of it again")
	}
	h.Reapply()
	if r, _ := h.Lookup(tpOf("led", 0)); r.IsLeader() || r.Assignment().LeaderEpoch != 1 {
		t.Errorf("%+v", r.Assignment())
	}
	h.CheckLag(nowMs + 10_000)
	for _, topic := range []string{"led", "followed"} {
		r, err := h.Lookup(tpOf(topic, 0))
		if err != nil || r.IsAside() {
			t.Errorf("%s is aside, or cannot be used: %v", topic, err)
		}
	}
}
