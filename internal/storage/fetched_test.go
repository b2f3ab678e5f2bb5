package storage

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
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
	if err := follower.StartAt(4, startMs); err == nil || follower.LogEndOffset() != 6 {
		t.Errorf("starts over before its records, and ends at %d", follower.LogEndOffset())
	}
	if err := follower.StartAt(100, startMs); err != nil || follower.LogStartOffset() != 100 || follower.LogEndOffset() != 100 || follower.LatestEpoch() != kafka.NoLeaderEpoch || follower.SegmentCount() != 1 {
		t.Errorf("started over: %v, from %d to %d in epoch %d, %d segments", err, follower.LogStartOffset(), follower.LogEndOffset(), follower.LatestEpoch(), follower.SegmentCount())
	}
	_, again := openLogOn(t, mem.KillClone(), testConfig())
	if again.LogStartOffset() != 100 || again.LogEndOffset() != 100 {
		t.Errorf("after a kill: from %d to %d", again.LogStartOffset(), again.LogEndOffset())
	}
}

// TestStartOverEarlierAtEveryFault has an empty log that begins at 100 go on at 7, with every disk call failing in turn, and then a
// kill or a power loss: the next start finds one of the two. What is appended and flushed then stays.
func TestStartOverEarlierAtEveryFault(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := env.NewSeededRandom(seed)
	mem := newMem(t)
	m, l := openLogOn(t, mem, testConfig())
	for range 3 {
		mustProduce(t, l, idempotent(1, 0, int32(l.LogEndOffset()), 1), 0)
	}
	if err := l.StartAt(100, startMs); err != nil {
		t.Fatal(err)
	}
	if err := m.Shutdown(1); err != nil {
		t.Fatal(err)
	}
	for n := int64(1); ; n++ {
		broken := mem.KillClone()
		fault := &vfs.FailAt{N: n, Torn: n%2 == 0}
		_, l, err := tryOpen(vfs.NewFault(broken, fault.Decide), testConfig())
		if err == nil {
			err = l.StartAt(7, startMs)
		}
		if err == nil {
			if l.LogStartOffset() != 7 || l.LogEndOffset() != 7 || l.HighWatermark() != 7 || l.SegmentCount() != 1 || l.CountedOffset() != 7 || l.FlushedOffset() != 7 {
				t.Fatalf("call %d: from %d to %d, committed %d, %d segments", n, l.LogStartOffset(), l.LogEndOffset(), l.HighWatermark(), l.SegmentCount())
			}
			if _, err = produce(l, idempotent(2, 0, 0, 2).build(t, 1), 3, startMs); err == nil {
				err = l.Flush()
			}
		}
		for i, after := range []*vfs.Mem{broken.KillClone(), broken.CrashClone(random), broken.CrashClone(random)} {
			_, again, openErr := tryOpen(after, testConfig())
			if openErr != nil {
				t.Fatalf("call %d, state %d, seed %d: %v", n, i, seed, openErr)
			}
			start, end := again.LogStartOffset(), again.LogEndOffset()
			if err == nil && (start != 7 || end != 9 || again.LatestEpoch() != 3) || start != 7 && start != 100 || start == 100 && end != 100 {
				t.Fatalf("call %d (%v), state %d, seed %d: the log has %d to %d", n, err, i, seed, start, end)
			}
		}
		if err == nil && !fault.Failed() {
			break
		}
	}
}

// TestFetchedFromFarAhead: what a follower lacks of a compacted log may begin so far from where its own does that one segment cannot name both offsets.
func TestFetchedFromFarAhead(t *testing.T) {
	t.Parallel()
	const far = 3_000_000_000
	mem := newMem(t)
	m, l := openLogOn(t, mem, testConfig())
	for i := range int64(3) {
		b := plain(2).build(t, uint64(i))
		b.SetBaseOffset(far + 2*i)
		b.SetPartitionLeaderEpoch(5)
		if err := l.AppendFetched(Fetched{Records: b, LeaderEpoch: 5, NowMs: startMs}); err != nil {
			t.Fatal(err)
		}
	}
	l.AdvanceHighWatermark(l.LogEndOffset())
	check := func(l *Log, when string) {
		t.Helper()
		r, err := l.Read(ReadRequest{Offset: l.LogStartOffset(), MaxBytes: 1 << 20, UpTo: l.HighWatermark()})
		if err != nil || r.NextOffset(0) != far+6 || l.LogEndOffset() != far+6 || l.EpochForOffset(far+5) != 5 {
			t.Errorf("%s: the log goes from offset %d to %d, read up to %d, %v", when, l.LogStartOffset(), l.LogEndOffset(), r.NextOffset(0), err)
		}
	}
	check(l, "at once")
	_, killed := openLogOn(t, mem.KillClone(), testConfig())
	killed.AdvanceHighWatermark(killed.LogEndOffset())
	check(killed, "after a kill")
	if err := m.Shutdown(1); err != nil {
		t.Fatal(err)
	}
	_, l = openLogOn(t, mem, testConfig())
	check(l, "after a restart")
}
