package broker

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/moldau/moldau/internal/broker/lifecycle"
)

// A process that was stopped knows that it is isolated when it is asked next, though nothing has happened here, and until what it has applied
// is as new as what the voters have.
func TestContactIsJudgedWhenAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, applied := newContact(1, 1500), int64(7)
		isIsolated := func() bool { return c.isIsolated(func() int64 { return applied }) }
		if <-time.After(time.Hour); isIsolated() {
			t.Error("without voters")
		}
		c.tell(func(core *lifecycle.Contact, nowMs int64) { core.SetVoters([]int32{1, 2, 3}, nowMs) })
		if <-time.After(1499 * time.Millisecond); isIsolated() {
			t.Error("before the end of its session")
		}
		if <-time.After(time.Millisecond); !isIsolated() {
			t.Error("not after it")
		}
		for _, voter := range []int32{1, 2} {
			c.tell(func(core *lifecycle.Contact, nowMs int64) { core.Answered(voter, nowMs, nowMs, 9) })
		}
		if !isIsolated() {
			t.Error("not before what the voters have is applied")
		}
		if applied = 8; isIsolated() {
			t.Error("although it has what the voters have")
		}
		if applied = 7; isIsolated() {
			t.Error("what was applied is looked at while it is in contact")
		}
	})
}
