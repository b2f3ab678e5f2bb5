package group

import (
	"math"

	"github.com/moldau/moldau/internal/shard"
)

// timer is one deadline of a shard. It may be scheduled again and again; run is called by Tick.
type timer struct {
	atMs int64
	seq  uint64
	pos  int // index in the heap plus one; 0 while not scheduled
	run  func()
}

// timers is a heap of deadlines, earliest first; equal ones run in the order in which they were
// scheduled, so that a shard's behaviour is a function of its input.
type timers struct {
	heap []*timer
	seq  uint64
}

func (ts *timers) schedule(t *timer, atMs int64) {
	ts.seq++
	t.atMs, t.seq = atMs, ts.seq
	if t.pos == 0 {
		ts.heap = append(ts.heap, t)
		t.pos = len(ts.heap)
	}
	ts.fix(t.pos - 1)
}

func (ts *timers) cancel(t *timer) {
	if t.pos == 0 {
		return
	}
	i, last := t.pos-1, len(ts.heap)-1
	moved := ts.heap[last]
	ts.heap[last] = nil
	ts.heap = ts.heap[:last]
	t.pos = 0
	if i < last {
		ts.heap[i] = moved
		moved.pos = i + 1
		ts.fix(i)
	}
}

// later is ms after nowMs; a time so long that it cannot be told means never.
func later(nowMs, ms int64) int64 {
	if ms > math.MaxInt64-1-nowMs {
		return math.MaxInt64 - 1
	}
	return nowMs + ms
}

// shift moves all deadlines by the same time, which leaves their order as it is.
func (ts *timers) shift(byMs int64) {
	for _, t := range ts.heap {
		t.atMs = later(t.atMs, byMs)
	}
}

func (ts *timers) nextDeadlineMs() int64 {
	if len(ts.heap) == 0 {
		return shard.NoDeadline
	}
	return ts.heap[0].atMs
}

// runDue runs what was due when it was called: a timer scheduled meanwhile waits for the next
// call even if it is due at once, so that a zero time-out cannot keep the shard's owner busy.
func (ts *timers) runDue(nowMs int64) {
	limit := ts.seq
	for len(ts.heap) > 0 {
		t := ts.heap[0]
		if t.atMs > nowMs || t.seq > limit {
			return
		}
		ts.cancel(t)
		t.run()
	}
}

func (ts *timers) before(i, j int) bool {
	a, b := ts.heap[i], ts.heap[j]
	return a.atMs < b.atMs || a.atMs == b.atMs && a.seq < b.seq
}

func (ts *timers) swap(i, j int) {
	ts.heap[i], ts.heap[j] = ts.heap[j], ts.heap[i]
	ts.heap[i].pos, ts.heap[j].pos = i+1, j+1
}

func (ts *timers) fix(i int) {
	for i > 0 && ts.before(i, (i-1)/2) {
		ts.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(ts.heap); child++ {
			if ts.before(child, least) {
				least = child
			}
		}
		if least == i {
			return
		}
		ts.swap(i, least)
		i = least
	}
}
