package lifecycle

import (
	"math"
	"slices"
)

// Contact decides whether a broker may still believe what its metadata says of who leads. It is isolated when no majority
// of the voters has answered it for as long as its session lasts: others may have fenced it, and it would not have heard.
// So may one whose process was stopped for so long (SIGSTOP, a paused machine), which finds that out by the time alone.
//
// That voters answer again is no news yet. A broker that was isolated stays so until a majority of the voters has answered
// what it sent within the last session, and it has applied all that their metadata logs had then: what is committed is in the
// log of one voter of every majority, so it has seen all that had been decided by then, and since then its session lasts. That
// the active controller answers would not do: it may be this very node, or another one, that was stopped as well and does not
// know of its successor yet.
//
// Whoever uses a Contact brings the time, which runs steadily, and asks anew each time. It has one owner and no locks.
type Contact struct {
	self      int32
	timeoutMs int64
	votes     bool             // this node is one of the voters
	voters    map[int32]answer // and what each has said last
	untilMs   int64            // up to when most of the voters count as heard of
	isolated  bool
}

// answer is what a voter has answered last.
type answer struct {
	heardMs   int64 // when was sent what it has answered; for one that is new, when it joined
	sentMs    int64 // as heardMs, -1 as long as it has answered nothing
	endOffset int64 // of its metadata log then
}

// NewContact returns the contact of a node that knows of no voters yet, and is not isolated.
func NewContact(self int32, timeoutMs int64) *Contact {
	return &Contact{self: self, timeoutMs: timeoutMs, untilMs: math.MaxInt64}
}

// SetVoters tells who votes. Those who join count as heard of now.
func (c *Contact) SetVoters(ids []int32, nowMs int64) {
	c.note(nowMs)
	voters := make(map[int32]answer, len(ids))
	for _, id := range ids {
		known, ok := c.voters[id]
		if !ok {
			known = answer{heardMs: nowMs, sentMs: -1}
		}
		voters[id] = known
	}
	_, c.votes = voters[c.self]
	c.voters = voters
	c.update()
}

// Answered notes that a voter has answered what was sent at sentMs, and that its metadata log ended at endOffset. This
// node's own voter is one of them.
func (c *Contact) Answered(voter int32, sentMs, nowMs, endOffset int64) {
	c.note(nowMs)
	known, ok := c.voters[voter]
	if !ok || sentMs < known.sentMs {
		return
	}
	c.voters[voter] = answer{heardMs: max(known.heardMs, sentMs), sentMs: sentMs, endOffset: endOffset}
	c.update()
}

func (c *Contact) update() {
	needed := len(c.voters)/2 + 1 // of the others
	if c.votes {
		needed--
	}
	if needed == 0 || len(c.voters) == 0 {
		c.untilMs = math.MaxInt64 // nobody else is needed, or nobody is known
		return
	}
	times := make([]int64, 0, len(c.voters))
	for id, a := range c.voters {
		if id != c.self {
			times = append(times, a.heardMs)
		}
	}
	slices.Sort(times)
	c.untilMs = times[len(times)-needed] + c.timeoutMs
}

// note finds out that contact is lost, before anything that comes later can hide it.
func (c *Contact) note(nowMs int64) {
	c.isolated = c.isolated || nowMs >= c.untilMs
}

// IsIsolated reports whether others may have decided what this broker has not heard, which has applied the metadata up to
// appliedOffset.
func (c *Contact) IsIsolated(nowMs, appliedOffset int64) bool {
	c.note(nowMs)
	if !c.isolated {
		return false
	}
	informed := 0
	for _, a := range c.voters {
		if a.sentMs >= 0 && nowMs < a.sentMs+c.timeoutMs && a.endOffset <= appliedOffset+1 {
			informed++
		}
	}
	c.isolated = informed <= len(c.voters)/2
	return c.isolated
}

// CertainUntilMs is up to when IsIsolated says no, whatever is heard.
func (c *Contact) CertainUntilMs() int64 {
	if c.isolated {
		return math.MinInt64
	}
	return c.untilMs
}
