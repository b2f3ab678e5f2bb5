package partition

import "testing"

// TestLateAdvanceByAnOldRole: whoever moves the high watermark without the lock that keeps the role may come late. What it has
// found out by the in-sync replicas of before must not count, or a new one would lack what is committed.
func TestLateAdvanceByAnOldRole(t *testing.T) {
	t.Parallel()
	p, _ := threeReplicas(t) // of which nobody may join
	a := p.Assignment()
	a.MinInSyncReplicas = 1
	if err := p.Apply(a, nowMs); err != nil {
		t.Fatal(err)
	}
	p.NoteFetch(fetchedBy(2, 2))
	a.PartitionEpoch, a.ISR = 8, []int32{1}
	if err := p.Apply(a, nowMs); err != nil {
		t.Fatal(err)
	}
	wantHighWatermark(t, p, 3, "alone")
	alone := p.role.Load()
	a.PartitionEpoch, a.ISR = 9, []int32{1, 2}
	if err := p.Apply(a, nowMs); err != nil {
		t.Fatal(err)
	}
	if _, err := appendTo(t, p, -1, 4, "b"); err != nil {
		t.Fatal(err)
	}
	wantHighWatermark(t, p, 3, "with another in sync")
	p.commit(alone)
	wantHighWatermark(t, p, 3, "after a late advance")
}

// TestKIP903FetchOfAnOldIncarnationIsNotNoted (KIP-903): what a broker had before it started anew it may have lost.
func TestKIP903FetchOfAnOldIncarnationIsNotNoted(t *testing.T) {
	t.Parallel()
	p, _ := threeReplicas(t)
	f := fetchedBy(2, 1)
	f.BrokerEpoch = 20
	p.NoteFetch(f)
	wantHighWatermark(t, p, 1, "by the new incarnation")
	p.NoteFetch(fetchedBy(2, 3)) // in broker epoch 2
	wantHighWatermark(t, p, 1, "by the old one")
}

// TestKIP101KilledFollowerKeepsWhatIsAcknowledged (KAFKA-1211): a follower's high watermark comes behind its leader's. Whoever cuts its
// log off there after a restart, and leads next, loses what was acknowledged in between.
func TestKIP101KilledFollowerKeepsWhatIsAcknowledged(t *testing.T) {
	t.Parallel()
	p, _ := threeReplicas(t)
	if high, end := p.Log().HighWatermark(), p.Log().LogEndOffset(); high != 0 || end != 3 {
		t.Fatalf("high watermark %d, end %d", high, end)
	}
	a := p.Assignment()
	for _, leader := range []int32{2, 3, 1} {
		a.Leader, a.LeaderEpoch, a.PartitionEpoch = leader, a.LeaderEpoch+1, a.PartitionEpoch+1
		if err := p.Apply(a, nowMs); err != nil {
			t.Fatal(err)
		}
		if end := p.Log().LogEndOffset(); end != 3 {
			t.Fatalf("broker %d leads: the log ends at %d", leader, end)
		}
	}
	if r, err := p.Read(ReadRequest{Offset: 2, MaxBytes: 1, MinOneBatch: true, IsReplica: true, ReplicaID: 2, CurrentLeaderEpoch: -1, LastFetchedEpoch: -1}); err != nil || len(r.Records) == 0 {
		t.Errorf("the last record: %d bytes, %v", len(r.Records), err)
	}
}
