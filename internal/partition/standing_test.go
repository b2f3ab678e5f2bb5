package partition

import (
	"slices"
	"sync/atomic"
	"testing"
)

// TestWhatStandsIsCaughtUp: a follower whose session leaves the partition out has caught up with each of its fetches, until something is
// appended; from then on it lags like any other, whatever the session fetches.
func TestWhatStandsIsCaughtUp(t *testing.T) {
	t.Parallel()
	p, _ := threeReplicas(t)
	a := p.Assignment()
	a.MinInSyncReplicas = 1
	if err := p.Apply(a, nowMs); err != nil {
		t.Fatal(err)
	}
	var session atomic.Int64
	at := func(atMs int64) { session.Store(nowMs + atMs) }
	note := func(offset, atMs int64, want bool) *Standing {
		t.Helper()
		at(atMs)
		f := fetchedBy(2, offset)
		f.NowMs, f.Standing = nowMs+atMs, NewStanding(&session)
		if _, stands := p.NoteFetch(f); stands != want {
			t.Fatalf("from offset %d: stands %t", offset, stands)
		}
		return f.Standing
	}
	lags := func(atMs int64, want bool) {
		t.Helper()
		change := p.Lagging(nowMs + atMs)
		if (change != nil) != want {
			t.Errorf("at %d ms: proposes %+v", atMs, change)
		}
		if change != nil {
			p.Refused(change)
		}
	}
	note(2, 0, false)
	if third := fetchedBy(3, 3); !slices.Contains(p.Assignment().ISR, 3) {
		third.Standing = NewStanding(&session)
		if _, stands := p.NoteFetch(third); stands {
			t.Error("what is not in sync must be looked at, or it would not be taken in")
		}
	}
	s := note(3, 0, true)
	s.Begin()
	at(60_000)
	lags(60_500, false)
	if _, err := appendTo(t, p, 1, 4, "b"); err != nil {
		t.Fatal(err)
	}
	lags(61_000, false)
	s.End()
	at(90_000) // the session fetches, and this partition is refused
	lags(61_000, false)
	lags(61_001, true)
	s = note(4, 91_000, true)
	s.Begin()
	at(95_000)
	s.End()
	at(99_000)
	note(3, 99_000, false) // has started over
	lags(96_000, false)
	lags(96_001, true)
	s = note(4, 100_000, true)
	s.Begin()
	if _, err := appendTo(t, p, 1, 4, "c"); err != nil {
		t.Fatal(err)
	}
	const hour = 3_600_000
	lags(-hour, false)
	lags(-hour+1000, false)
	lags(-hour+1001, true) // the clock is set back, and the follower has died
}

// TestMovesAreTold: followers must hear of the high watermark, and of where the log begins on request, whoever moves them.
func TestMovesAreTold(t *testing.T) {
	t.Parallel()
	p, _ := threeReplicas(t)
	told := 0
	p.replicating.Moved = func() { told++ }
	p.NoteFetch(fetchedBy(2, 2))
	if told != 1 {
		t.Errorf("told %d times of the high watermark", told)
	}
	p.NoteFetch(fetchedBy(2, 2))
	if told != 1 {
		t.Errorf("told %d times of the same high watermark", told)
	}
	if _, err := p.DeleteRecords(1); err != nil || told != 2 {
		t.Errorf("told %d times after records were deleted, %v", told, err)
	}
}
