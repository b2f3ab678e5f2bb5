package coordinator

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// settableClock is the machine's clock, which somebody may set to another time.
type settableClock struct{ setBy atomic.Int64 }

func (c *settableClock) Now() time.Time { return time.Now().Add(time.Duration(c.setBy.Load())) }

func (c *settableClock) set(by time.Duration) { c.setBy.Add(int64(by)) }

// TestClockIsSet: NTP or an operator sets the clock while something waits. Session time-outs must
// neither run out at once nor stand still until the clock is back where it was.
func TestClockIsSet(t *testing.T) {
	for _, by := range []time.Duration{-time.Hour, time.Hour, -900 * time.Millisecond} {
		t.Run(by.String(), func(t *testing.T) {
			withRuntime(t, func(f *fixture) {
				f.elect(1)
				late := f.call(f.t.Context(), park(90_000))
				synctest.Wait()
				f.pass(30 * time.Second)
				f.clock.set(by)
				f.must(note("a")) // a turn
				f.pass(59_999 * time.Millisecond)
				if late.get().done {
					t.Fatal("answered before its deadline")
				}
				f.pass(2 * time.Millisecond)
				if late.get().value != "tick" {
					t.Fatalf("%+v", late.get())
				}
			})
		})
	}
}

// TestLoadIsRetriedAfterTheClockWentBack: the pause before the next attempt is real time.
func TestLoadIsRetriedAfterTheClockWentBack(t *testing.T) {
	withRuntime(t, func(f *fixture) {
		f.elect(1)
		f.must(note("x"))
		f.log.set(func() { f.log.readErr = errors.New("disk") })
		f.elect(2)
		f.clock.set(-time.Hour)
		f.log.set(func() { f.log.readErr = nil })
		f.pass(2 * firstLoadRetry)
		if got := f.must(note("a")); got != "x a" {
			t.Errorf("notes %q", got)
		}
	})
}
