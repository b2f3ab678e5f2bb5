package partition

import (
	"testing"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/storage"
)

// newFollower returns a follower of broker 2 with three records, of which two are committed.
func newFollower(t *testing.T) (p *Partition, advanced func() int64) {
	t.Helper()
	p, announced := newPartition(t, nil)
	a := Assignment{Leader: 2, LeaderEpoch: 4, PartitionEpoch: 7, Replicas: []int32{1, 2}, ISR: []int32{1, 2}, MinInSyncReplicas: 1}
	if err := p.Apply(a, nowMs); err != nil {
		t.Fatal(err)
	}
	batch := batchOf(t, "a", "b")
	batch.SetPartitionLeaderEpoch(4)
	last := batchOf(t, "c")
	last.SetBaseOffset(2)
	last.SetPartitionLeaderEpoch(4)
	f := Fetched{storage.Fetched{Records: append(batch, last...), LeaderEpoch: 4, NowMs: nowMs}, 2, 0}
	if err := p.AppendFetched(f); err != nil {
		t.Fatal(err)
	}
	return p, announced.Load
}

// TestFollowersServeConsumers (KIP-392): up to their own high watermark, and only those who know of it.
func TestFollowersServeConsumers(t *testing.T) {
	t.Parallel()
	p, advanced := newFollower(t)
	if advanced() == 0 {
		t.Error("nobody was told of the high watermark")
	}
	for _, c := range []struct {
		offset  int64
		any     bool
		epoch   int32
		code    kafka.ErrorCode
		records bool
	}{
		{0, true, kafka.NoLeaderEpoch, kafka.ErrNone, true},
		{0, true, 4, kafka.ErrNone, true},
		{2, true, 4, kafka.ErrNone, false}, // there, and not committed as far as it knows
		{3, true, 4, kafka.ErrNone, false},
		{4, true, 4, kafka.ErrOffsetOutOfRange, false},
		{-1, true, 4, kafka.ErrOffsetOutOfRange, false},
		{0, true, 3, kafka.ErrFencedLeaderEpoch, false},
		{0, true, 5, kafka.ErrUnknownLeaderEpoch, false},
		{0, false, 4, kafka.ErrNotLeaderOrFollower, false},
	} {
		r := ReadRequest{Offset: c.offset, MaxBytes: 1000, CurrentLeaderEpoch: c.epoch, LastFetchedEpoch: kafka.NoLeaderEpoch, AnyReplica: c.any}
		read, err := p.Read(r)
		if kafka.CodeOf(err) != c.code || len(read.Records) > 0 != c.records {
			t.Errorf("%+v: %d bytes, %v", c, len(read.Records), err)
		}
		if err == nil && (read.HighWatermark != 2 || read.LogEndOffset != 3) {
			t.Errorf("%+v: %+v", c, read)
		}
		if result, atEnd := p.ReadAtEnd(&r); atEnd != (c.code == kafka.ErrNone && c.offset == 2) || atEnd && result.HighWatermark != 2 {
			t.Errorf("%+v: at the end %v", c, atEnd)
		}
	}
}

// TestOnlyAssignedReplicasReplicate: a broker that the assignment does not name reads nothing, committed or not.
func TestOnlyAssignedReplicasReplicate(t *testing.T) {
	t.Parallel()
	p, _ := threeReplicas(t)
	for id, want := range map[int32]kafka.ErrorCode{2: kafka.ErrNone, 3: kafka.ErrNone, 4: kafka.ErrUnknownLeaderEpoch} {
		for _, lastEpoch := range []int32{kafka.NoLeaderEpoch, 4} {
			r := ReadRequest{Offset: 1, MaxBytes: 1000, CurrentLeaderEpoch: 4, LastFetchedEpoch: lastEpoch, IsReplica: true, ReplicaID: id}
			read, err := p.Read(r)
			if kafka.CodeOf(err) != want || len(read.Records) > 0 != (want == kafka.ErrNone) {
				t.Errorf("broker %d: %d bytes, %v", id, len(read.Records), err)
			}
			r.Offset = 3
			if _, atEnd := p.ReadAtEnd(&r); atEnd != (want == kafka.ErrNone && lastEpoch == 4) {
				t.Errorf("broker %d, last epoch %d: at the end %v", id, lastEpoch, atEnd)
			}
		}
	}
}

// TestReplicaOfAnotherHistoryIsNotAtItsEnd: the short way for followers that have everything does not take one
// that has as much of something else.
func TestReplicaOfAnotherHistoryIsNotAtItsEnd(t *testing.T) {
	t.Parallel()
	p, _ := threeReplicas(t)
	for _, lastEpoch := range []int32{2, 3, 5} {
		r := ReadRequest{Offset: 3, MaxBytes: 1000, CurrentLeaderEpoch: 4, LastFetchedEpoch: lastEpoch, IsReplica: true, ReplicaID: 2}
		if _, atEnd := p.ReadAtEnd(&r); atEnd {
			t.Errorf("last epoch %d passes", lastEpoch)
		}
		if read, err := p.Read(r); err == nil && read.Diverging == nil {
			t.Errorf("last epoch %d does not diverge", lastEpoch)
		}
	}
}

func TestLeaderTellsFollowersOfAppends(t *testing.T) {
	t.Parallel()
	p, _ := threeReplicas(t)
	told := 0
	p.replicating.Appended = func() { told++ }
	if _, err := appendTo(t, p, -1, 4, "b"); err != nil {
		t.Fatal(err)
	}
	if told != 1 || p.Log().HighWatermark() != 0 {
		t.Errorf("told %d times, committed %d", told, p.Log().HighWatermark())
	}
}

// TestNearReplica has leader 1 and followers 2 and 3 in sync, 4 not.
func TestNearReplica(t *testing.T) {
	t.Parallel()
	p, _ := threeReplicas(t)
	a := p.Assignment()
	a.PartitionEpoch, a.Replicas, a.ISR = 8, []int32{1, 2, 3, 4}, []int32{1, 2, 3}
	if err := p.Apply(a, nowMs); err != nil {
		t.Fatal(err)
	}
	near := func(ids ...int32) func(int32) bool {
		return func(broker int32) bool {
			for _, id := range ids {
				if id == broker {
					return true
				}
			}
			return false
		}
	}
	want := func(offset int64, want int32, ids ...int32) {
		t.Helper()
		if got := p.NearReplica(offset, near(ids...)); got != want {
			t.Errorf("from offset %d near %v: %d, want %d", offset, ids, got, want)
		}
	}
	want(0, kafka.NoLeader, 2, 3) // they have not fetched yet
	for _, f := range []Followed{{BrokerID: 2, Offset: 2}, {BrokerID: 3, Offset: 1}, {BrokerID: 4, Offset: 3}} {
		f.BrokerEpoch, f.LeaderEpoch, f.NowMs = 5, 4, nowMs
		p.NoteFetch(f)
	}
	want(0, 2, 2, 3)
	want(0, 3, 3)
	want(0, kafka.NoLeader, 1, 2, 3)
	want(0, kafka.NoLeader, 4)
	want(0, kafka.NoLeader)
	want(2, 2, 2, 3)
	want(2, kafka.NoLeader, 3) // which does not have it yet
	p.NoteFetch(Followed{BrokerID: 3, BrokerEpoch: 5, LeaderEpoch: 4, Offset: 2, LogStartOffset: 1, NowMs: nowMs})
	want(1, 2, 2, 3)           // both have as much: the one that has caught up later
	want(0, kafka.NoLeader, 3) // which begins later
}
