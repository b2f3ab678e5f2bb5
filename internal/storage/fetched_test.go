package storage

import (
	"slices"
	"testing"

	"github.com/moldau/moldau/internal/kafka"
)

func TestAppendFetched(t *testing.T) {
	t.Parallel()
	_, leader := openLogOn(t, newMem(t), testConfig())
	mem := newMem(t)
	_, follower := openLogOn(t, mem, testConfig())
	for range 3 {
		mustProduce(t, leader, plain(2), 2)
	}
	read, err := leader.Read(ReadRequest{MaxBytes: 1 << 20, UpTo: leader.LogEndOffset()})
	if err != nil {
		t.Fatal(err)
	}
	damaged := slices.Clone(read.Records)
	damaged[len(damaged)-1] ^= 1
	for name, f := range map[string]Fetched{
		"nothing":         {LeaderEpoch: 2},
		"damaged":         {Records: damaged, LeaderEpoch: 2},
		"a later epoch":   {Records: read.Records, LeaderEpoch: 1},
		"half a batch":    {Records: read.Records[:len(read.Records)-3], LeaderEpoch: 2},
		"the same, twice": {Records: slices.Concat(read.Records, read.Records), LeaderEpoch: 2},
	} {
		if err := follower.AppendFetched(f); kafka.CodeOf(err) != kafka.ErrCorruptMessage || follower.LogEndOffset() != 0 {
			t.Errorf("%s: %v, the log ends at %d", name, err, follower.LogEndOffset())
		}
	}
	f := Fetched{Records: read.Records, LeaderEpoch: 3, NowMs: startMs}
	if err := follower.AppendFetched(f); err != nil || follower.LogEndOffset() != 6 || follower.LatestEpoch() != 2 || follower.CountedOffset() != 6 {
		t.Fatalf("%v, the log ends at %d in epoch %d, %d counted", err, follower.LogEndOffset(), follower.LatestEpoch(), follower.CountedOffset())
	}
	if err := follower.AppendFetched(f); kafka.CodeOf(err) != kafka.ErrInvalidRecord {
		t.Errorf("the same again: %v", err)
	}
	if err := follower.StartAt(100, startMs); err != nil || follower.LogStartOffset() != 100 || follower.LogEndOffset() != 100 || follower.LatestEpoch() != kafka.NoLeaderEpoch || follower.SegmentCount() != 1 {
		t.Errorf("started over: %v, from %d to %d in epoch %d, %d segments", err, follower.LogStartOffset(), follower.LogEndOffset(), follower.LatestEpoch(), follower.SegmentCount())
	}
	if err := follower.StartAt(7, startMs); err == nil {
		t.Error("starts over before its end")
	}
	_, again := openLogOn(t, mem.KillClone(), testConfig())
	if again.LogStartOffset() != 100 || again.LogEndOffset() != 100 {
		t.Errorf("after a kill: from %d to %d", again.LogStartOffset(), again.LogEndOffset())
	}
}
