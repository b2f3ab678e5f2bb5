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

// TestFetchOfAnOldIncarnationIsNotNoted (KIP-903): what a broker had before it started anew it may have lost.
func TestFetchOfAnOldIncarnationIsNotNoted(t *testing.T) {
	t.Parallel()
	p, _ := threeReplicas(t)
	f := fetchedBy(2, 1)
	f.BrokerEpoch = 20
	p.NoteFetch(f)
	wantHighWatermark(t, p, 1, "by the new incarnation")
	p.NoteFetch(fetchedBy(2, 3)) // in broker epoch 2
	wantHighWatermark(t, p, 1, "by the old one")
}
