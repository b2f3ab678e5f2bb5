package partition

import (
	"testing"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/storage"
)

// threeReplicas returns a leader of three replicas, of which the first two are in sync, and what
// lets the third one join.
func threeReplicas(t *testing.T) (p *Partition, mayJoin *bool) {
	p, _ = newPartition(t, nil)
	mayJoin = new(bool)
	p.replicating = ReplicationOptions{LagMaxMs: 1000, MayJoin: func(int32, int64) bool { return *mayJoin }}
	a := Assignment{Leader: 1, LeaderEpoch: 4, PartitionEpoch: 7, Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2}, MinInSyncReplicas: 2}
	if err := p.Apply(a, nowMs); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := appendTo(t, p, -1, 4, "a"); err != nil {
			t.Fatal(err)
		}
	}
	return p, mayJoin
}

func fetchedBy(id int32, offset int64) Followed {
	return Followed{BrokerID: id, BrokerEpoch: int64(id), LeaderEpoch: 4, Offset: offset, NowMs: nowMs}
}

func wantHighWatermark(t *testing.T, p *Partition, want int64, when string) {
	t.Helper()
	if got := p.Log().HighWatermark(); got != want {
		t.Errorf("%s: the high watermark is %d, expected %d", when, got, want)
	}
}

func TestPendingExpansionHoldsHighWatermark(t *testing.T) {
	t.Parallel()
	p, mayJoin := threeReplicas(t)
	*mayJoin = true
	wantHighWatermark(t, p, 0, "before anybody fetched")
	change, _ := p.NoteFetch(fetchedBy(3, 1))
	if change == nil || change.LeaderEpoch != 4 || change.PartitionEpoch != 7 || len(change.ISR) != 3 || change.ISR[2] != (ISRMember{3, 3}) || change.ISR[0].BrokerEpoch != kafka.NoBrokerEpoch {
		t.Fatalf("proposes %+v", change)
	}
	*mayJoin = false // it is fenced meanwhile, but the controller may have let it in before
	p.NoteFetch(fetchedBy(2, 3))
	wantHighWatermark(t, p, 1, "while the change is pending")
	if again, _ := p.NoteFetch(fetchedBy(3, 2)); again != nil {
		t.Errorf("proposes %+v while another change is pending", again)
	}
	p.Refused(change)
	wantHighWatermark(t, p, 3, "after the refusal")
}

func TestMetadataEndsPendingChange(t *testing.T) {
	t.Parallel()
	p, mayJoin := threeReplicas(t)
	*mayJoin = true
	if again, _ := p.NoteFetch(fetchedBy(3, 3)); again == nil {
		t.Fatal("proposes nothing")
	}
	a := p.Assignment()
	a.PartitionEpoch, a.ISR = 8, []int32{1, 2, 3}
	if err := p.Apply(a, nowMs); err != nil {
		t.Fatal(err)
	}
	// Broker 2 has never fetched, and broker 3 has everything.
	if change := p.Lagging(nowMs + 2000); change == nil || len(change.ISR) != 2 || change.ISR[1].BrokerID != 3 {
		t.Errorf("after %d ms without a fetch: %+v", 2000, change)
	}
}

func TestFetchOfAnotherEpochIsNotNoted(t *testing.T) {
	t.Parallel()
	p, _ := threeReplicas(t)
	for _, wrong := range []Followed{
		{BrokerID: 2, LeaderEpoch: 3, Offset: 3, NowMs: nowMs}, {BrokerID: 9, LeaderEpoch: 4, Offset: 3, NowMs: nowMs}, {BrokerID: 2, LeaderEpoch: 4, Offset: 4, NowMs: nowMs},
	} {
		if change, _ := p.NoteFetch(wrong); change != nil {
			t.Errorf("%+v: proposes %+v", wrong, change)
		}
		wantHighWatermark(t, p, 0, "after a fetch that does not count")
	}
	p.NoteFetch(fetchedBy(2, 2))
	wantHighWatermark(t, p, 2, "after one that counts")
}

func TestTooFewInSync(t *testing.T) {
	t.Parallel()
	p, _ := threeReplicas(t)
	a := p.Assignment()
	a.PartitionEpoch, a.ISR = 8, []int32{1}
	if err := p.Apply(a, nowMs); err != nil {
		t.Fatal(err)
	}
	wantHighWatermark(t, p, 0, "with fewer in sync than min.insync.replicas")
	if _, err := appendTo(t, p, -1, 4, "b"); kafka.CodeOf(err) != kafka.ErrNotEnoughReplicas {
		t.Errorf("an append is answered %v", err)
	}
	if _, err := p.CommitState(4, 0); kafka.CodeOf(err) != kafka.ErrNotEnoughReplicasAfterAppend {
		t.Errorf("one that was appended before is answered %v", err)
	}
}

// TestKafka13574RecordsOfAnotherLeaderAreNotAcknowledged: whoever asks late, since an earlier partition of its request was waited for, must
// not take what another leader has written in the place of its records for them.
func TestKafka13574RecordsOfAnotherLeaderAreNotAcknowledged(t *testing.T) {
	t.Parallel()
	p, _ := threeReplicas(t) // three records, of which none is committed
	a := p.Assignment()
	a.Leader, a.LeaderEpoch, a.PartitionEpoch = 2, 5, 8
	if err := p.Apply(a, nowMs); err != nil {
		t.Fatal(err)
	}
	if err := p.TruncateToLeader(5, EpochEnd{LeaderEpoch: 4, EndOffset: 1}, 0, nowMs); err != nil {
		t.Fatal(err)
	}
	other := batchOf(t, "x", "y", "z")
	other.SetBaseOffset(1)
	other.SetPartitionLeaderEpoch(5)
	if err := p.AppendFetched(Fetched{storage.Fetched{Records: other, LeaderEpoch: 5, NowMs: nowMs}, 4, 0}); err != nil {
		t.Fatal(err)
	}
	wantHighWatermark(t, p, 4, "as a follower")
	want := func(when string) {
		t.Helper()
		for what, state := range map[string]func(int32, int64) (bool, error){"acks=all": p.CommitState, "acks=1": p.CountState} {
			if done, err := state(4, 1); !done || err != nil {
				t.Errorf("%s, %s: the record that is left is answered %v, %v", when, what, done, err)
			}
			if done, err := state(4, 3); done || kafka.CodeOf(err) != kafka.ErrNotLeaderOrFollower {
				t.Errorf("%s, %s: a record that is gone is answered %v, %v", when, what, done, err)
			}
		}
	}
	want("while another leads")
	a.Leader, a.LeaderEpoch, a.PartitionEpoch = 1, 6, 9
	if err := p.Apply(a, nowMs); err != nil {
		t.Fatal(err)
	}
	want("leading again")
}

// TestHungFollowerDoesNotHoldUpCommits: once it is out of the in-sync replicas nobody waits for it, though its broker lives on and
// nobody else fetches.
func TestHungFollowerDoesNotHoldUpCommits(t *testing.T) {
	t.Parallel()
	p, mayJoin := threeReplicas(t)
	*mayJoin = true
	a := p.Assignment()
	a.MinInSyncReplicas = 1
	if err := p.Apply(a, nowMs); err != nil {
		t.Fatal(err)
	}
	p.NoteFetch(fetchedBy(2, 3))
	wantHighWatermark(t, p, 3, "in sync")
	if _, err := appendTo(t, p, 1, 4, "b"); err != nil {
		t.Fatal(err)
	}
	late := int64(nowMs + 2000)
	if change := p.Lagging(late); change == nil || len(change.ISR) != 1 {
		t.Fatalf("proposes %+v", change)
	}
	wantHighWatermark(t, p, 3, "while the change is pending")
	a.PartitionEpoch, a.ISR = 8, []int32{1}
	if err := p.Apply(a, late); err != nil {
		t.Fatal(err)
	}
	wantHighWatermark(t, p, 4, "out of the in-sync replicas")
}

// TestFollowerThatCaughtUpOnceDoesNotHoldUpCommits: it was waited for, but it has not come back.
func TestFollowerThatCaughtUpOnceDoesNotHoldUpCommits(t *testing.T) {
	t.Parallel()
	p, mayJoin := threeReplicas(t)
	*mayJoin = true
	a := p.Assignment()
	a.MinInSyncReplicas, a.PartitionEpoch, a.ISR = 1, 8, []int32{1}
	if err := p.Apply(a, nowMs); err != nil {
		t.Fatal(err)
	}
	change, _ := p.NoteFetch(fetchedBy(2, 3))
	if change == nil {
		t.Fatal("proposes nothing")
	}
	p.Refused(change)
	if _, err := appendTo(t, p, 1, 4, "b"); err != nil {
		t.Fatal(err)
	}
	wantHighWatermark(t, p, 3, "while it may come back")
	p.Lagging(nowMs + 2000)
	wantHighWatermark(t, p, 4, "when it has not")
}

// TestStartedOverIsReadyToFetchOn: with flush.messages a follower says only what it has flushed. One that starts over has to get
// there without anything being appended.
func TestStartedOverIsReadyToFetchOn(t *testing.T) {
	t.Parallel()
	p, _, commit := newFlushedPartition(t, func(c *storage.LogConfig) { c.FlushMessages = 1 })
	a := Assignment{Leader: 2, LeaderEpoch: 4, PartitionEpoch: 7, Replicas: []int32{1, 2}, ISR: []int32{2}, MinInSyncReplicas: 1}
	if err := p.Apply(a, nowMs); err != nil {
		t.Fatal(err)
	}
	for _, start := range []int64{20, 7} {
		if err := p.StartAt(4, start, nowMs); err != nil {
			t.Fatal(err)
		}
		if err := commit(); err != nil {
			t.Fatal(err)
		}
		if offset, _, ready := p.FollowFrom(); offset != start || !ready {
			t.Errorf("it fetches from %d, ready %v", offset, ready)
		}
	}
}

// TestFollowerBeginsWithinABatch: DeleteRecords may leave a leader's log beginning within a batch, which a follower that begins
// there is sent as a whole.
func TestFollowerBeginsWithinABatch(t *testing.T) {
	t.Parallel()
	for _, old := range []int{0, 2} { // records that are all deleted by now
		p, _ := newPartition(t, nil)
		a := Assignment{Leader: 2, LeaderEpoch: 4, PartitionEpoch: 7, Replicas: []int32{1, 2}, ISR: []int32{2}, MinInSyncReplicas: 1}
		if err := p.Apply(a, nowMs); err != nil {
			t.Fatal(err)
		}
		fetched := func(offset, start int64, values ...string) Fetched {
			b := batchOf(t, values...)
			b.SetBaseOffset(offset)
			b.SetPartitionLeaderEpoch(4)
			return Fetched{storage.Fetched{Records: b, LeaderEpoch: 4, NowMs: nowMs}, 110, start}
		}
		for i := range old {
			if err := p.AppendFetched(fetched(int64(i), 0, "old")); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.StartAt(4, 105, nowMs); err != nil {
			t.Fatal(err)
		}
		if err := p.AppendFetched(fetched(90, 105, "a", "b")); err == nil || p.Log().LogEndOffset() != 105 {
			t.Errorf("a batch that ends below: %v, the log ends at %d", err, p.Log().LogEndOffset())
		}
		half := fetched(100, 105, "0", "1", "2", "3", "4", "5", "6")
		half.Records = half.Records[:20]
		if err := p.AppendFetched(half); err == nil || p.Log().LogStartOffset() != 105 {
			t.Errorf("half a batch: %v, the log begins at %d", err, p.Log().LogStartOffset())
		}
		if err := p.AppendFetched(fetched(100, 105, "0", "1", "2", "3", "4", "5", "6")); err != nil {
			t.Fatal(err)
		}
		if l := p.Log(); l.LogStartOffset() != 105 || l.LogEndOffset() != 107 || l.HighWatermark() != 107 {
			t.Errorf("the log is %d to %d, committed is %d", l.LogStartOffset(), l.LogEndOffset(), l.HighWatermark())
		}
	}
}

// TestClockSetBackHidesNoLag: a leader whose wall clock is set back notices all the same that a follower does not catch up.
func TestClockSetBackHidesNoLag(t *testing.T) {
	t.Parallel()
	p, _ := threeReplicas(t)
	const hour = 3_600_000
	p.NoteFetch(fetchedBy(2, 2))
	if change := p.Lagging(nowMs - hour); change != nil {
		t.Fatalf("at once: proposes %+v", change)
	}
	if change := p.Lagging(nowMs - hour + 1000); change != nil {
		t.Errorf("after replica.lag.time.max.ms: proposes %+v", change)
	}
	if change := p.Lagging(nowMs - hour + 1001); change == nil || len(change.ISR) != 1 {
		t.Errorf("later: proposes %+v", change)
	}
}

// TestProducedBytes: what is told when the high watermark moves is no count of bytes, and must not get into the rate of production, by
// which the balancer lets its copies go.
func TestProducedBytes(t *testing.T) {
	t.Parallel()
	p, _ := threeReplicas(t)
	p.NoteFetch(fetchedBy(2, 2))
	p.NoteFetch(fetchedBy(2, 3))
	want := 3 * int64(len(batchOf(t, "a")))
	if got := p.ProducedBytes(); got != want {
		t.Errorf("%d bytes, want %d", got, want)
	}
	if _, err := appendTo(t, p, -1, 3, "of an old epoch"); err == nil {
		t.Fatal("appended")
	}
	if got := p.ProducedBytes(); got != want {
		t.Errorf("%d bytes with what was refused, want %d", got, want)
	}
}
