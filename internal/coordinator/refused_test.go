package coordinator

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/replica"
	"github.com/moldau/moldau/internal/shard"
)

func (f *fixture) loads() int64 {
	return f.metrics.Counter("coordinator_loads_total", "", "coordinator", "note").Value()
}

// read is a step that writes nothing.
func (f *fixture) read() (any, error) {
	return f.runtime.BeginRead(0, note()).Wait(f.t.Context())
}

// TestHeldShard has too few replicas in sync for a while: the shard stays as it is, and whoever waits for others goes on waiting.
func TestHeldShard(t *testing.T) {
	withRuntime(t, func(f *fixture) {
		f.elect(1)
		f.must(note("a"))
		parked := f.call(f.t.Context(), park(5_000))
		synctest.Wait()
		f.log.set(func() { f.log.refusal = kafka.ErrNotEnoughReplicas })
		for range 95 {
			f.fails(note("lost"), kafka.ErrCoordinatorNotAvailable)
			f.pass(100 * time.Millisecond)
		}
		f.runtime.Broadcast(note("broadcast"))
		if notes, err := f.read(); err != nil || len(notes.([]string)) != 1 {
			t.Errorf("a read while held: %v, %v", notes, err)
		}
		if parked.get().done {
			t.Errorf("the deadline came while held: %+v", parked.get())
		}
		f.log.set(func() { f.log.refusal = nil })
		f.pass(maxRefusedPause + time.Millisecond) // nobody asks: the shard looks by itself
		if got := f.must(note("b")); got != "a broadcast b" {
			t.Errorf("notes %q", got)
		}
		if parked.get().done {
			t.Error("the deadline came before members could come back")
		}
		f.pass(maxHoldGrace)
		if parked.get().value != "tick" {
			t.Errorf("parked request: %+v", parked.get())
		}
		if f.loads() != 1 || f.dropped != 0 {
			t.Errorf("loaded %d times, dropped %d times", f.loads(), f.dropped)
		}
	})
}

// TestLongHold has too few replicas in sync for a minute: who waits for others is told to come back before clients give up.
func TestLongHold(t *testing.T) {
	withRuntime(t, func(f *fixture) {
		f.elect(1)
		f.must(note("a"))
		parked := f.runtime.Begin(0, park(30_000))
		synctest.Wait()
		f.log.set(func() { f.log.refusal = kafka.ErrNotEnoughReplicas })
		f.fails(note("lost"), kafka.ErrCoordinatorNotAvailable)
		f.pass(maxHeldWait - time.Millisecond)
		if len(parked.done) > 0 {
			t.Errorf("who waits for others is sent away at once: %+v", <-parked.done)
		}
		f.pass(maxRefusedPause)
		if got := <-parked.done; kafka.CodeOf(got.Err) != kafka.ErrCoordinatorNotAvailable {
			t.Errorf("who waits for others: %+v", got)
		}
		for range 450 {
			f.fails(note("lost"), kafka.ErrCoordinatorNotAvailable)
			f.pass(100 * time.Millisecond)
		}
		f.log.set(func() { f.log.refusal = nil })
		f.pass(maxRefusedPause + time.Millisecond)
		if got := f.must(note("b")); got != "a b" {
			t.Errorf("notes %q", got)
		}
		f.pass(maxHoldGrace) // the deadline: nobody waits for it any more
		if got := f.must(note("c")); got != "a b c" || f.loads() != 1 || f.dropped != 0 {
			t.Errorf("notes %q, loaded %d times, dropped %d times", got, f.loads(), f.dropped)
		}
	})
}

// TestSlowCommit has followers not fetch what was appended, or too few be in sync for it, for a minute: who waits for that, and who reads what
// it has changed, is told to come back before clients give up. Nothing is loaded again, since it may be committed yet.
func TestSlowCommit(t *testing.T) {
	for _, refusal := range []error{nil, kafka.ErrNotEnoughReplicas} {
		t.Run(fmt.Sprint(refusal), func(t *testing.T) {
			withRuntime(t, func(f *fixture) {
				f.elect(1)
				f.must(note("a"))
				f.log.set(func() { f.log.manual = true })
				wrote, patient := f.runtime.Begin(0, note("b")), f.call(f.t.Context(), note("c"))
				synctest.Wait()
				f.log.set(func() { f.log.refusal = refusal })
				f.pass(time.Second)
				for range 12 {
					began := time.Now()
					if _, err := f.read(); kafka.CodeOf(err) != kafka.ErrCoordinatorNotAvailable || time.Since(began) > defaultCommitTimeout {
						t.Fatalf("a read after %s: %v", time.Since(began), err)
					}
				}
				if response := <-wrote.done; kafka.CodeOf(response.Err) != kafka.ErrCoordinatorNotAvailable {
					t.Errorf("who wrote: %+v", response)
				}
				late := f.runtime.BeginRead(0, note())
				f.pass(time.Millisecond)
				f.log.set(func() { f.log.refusal, f.log.manual = nil, false })
				f.log.commit()
				f.pass(maxRefusedPause)
				if response := <-late.done; response.Err != nil {
					t.Errorf("who came last: %+v", response)
				}
				if got := patient.get(); fmt.Sprint(got.value) != "[a b c]" {
					t.Errorf("who has a time of its own: %+v", got)
				}
				if got := f.must(note("d")); got != "a b c d" || f.loads() != 1 || f.dropped != 0 {
					t.Errorf("notes %q, loaded %d times, dropped %d times", got, f.loads(), f.dropped)
				}
				if got := f.metrics.Gauge("coordinator_waiting_requests", "", "coordinator", "note").Value(); got != 0 {
					t.Errorf("%d requests wait", got)
				}
			})
		})
	}
}

// TestFailingAppendsBackOff has appends fail for a minute, which nothing foresees.
func TestFailingAppendsBackOff(t *testing.T) {
	for _, failure := range []kafka.ErrorCode{kafka.ErrNotEnoughReplicas, kafka.ErrKafkaStorageError} {
		t.Run(failure.Error(), func(t *testing.T) {
			withRuntime(t, func(f *fixture) {
				f.elect(1)
				f.must(note("a"))
				f.log.set(func() { f.log.appendErr = failure })
				for range 600 {
					f.fails(note("lost"), kafka.ErrCoordinatorNotAvailable)
					f.pass(100 * time.Millisecond)
				}
				if got := f.loads(); got > 20 {
					t.Errorf("loaded %d times within a minute", got)
				}
				f.runtime.Broadcast(note("broadcast"))
				f.log.set(func() { f.log.appendErr = nil })
				f.pass(maxRefusedPause + time.Millisecond)
				if got := f.must(note("b")); got != "a broadcast b" {
					t.Errorf("notes %q", got)
				}
				// A new spell begins anew: with a load at once.
				f.log.set(func() { f.log.appendErr = failure })
				f.fails(note("lost"), kafka.ErrCoordinatorNotAvailable)
				f.log.set(func() { f.log.appendErr = nil })
				synctest.Wait()
				if got := f.must(note("c")); got != "a broadcast b c" {
					t.Errorf("notes %q", got)
				}
			})
		})
	}
}

// TestRefusedTransactionalAppend keeps the shard: only what was appended is in its state.
func TestRefusedTransactionalAppend(t *testing.T) {
	withRuntime(t, func(f *fixture) {
		f.elect(1)
		f.log.set(func() { f.log.appendErr = kafka.ErrNotEnoughReplicas })
		f.fails(func(_ *noteShard, token shard.Token, _ int64) shard.Effects {
			return shard.Effects{Marker: &shard.Marker{ProducerID: 1}, Responses: []shard.Response{{Token: token}}}
		}, kafka.ErrCoordinatorNotAvailable)
		if f.dropped != 0 {
			t.Error("the shard was dropped")
		}
	})
}

// TestAbandonedShard hears nobody who could confirm what it writes: everybody is sent away, who waits for a commit or for
// other members too, and nothing is loaded again, since it may all be committed yet.
func TestAbandonedShard(t *testing.T) {
	withRuntime(t, func(f *fixture) {
		f.elect(1)
		f.must(note("a"))
		parked := f.call(f.t.Context(), park(30_000))
		f.log.set(func() { f.log.manual = true })
		waiting := f.call(f.t.Context(), note("b"))
		synctest.Wait()
		f.log.set(func() {
			f.log.refusal = &kafka.Error{Code: kafka.ErrNotLeaderOrFollower, Message: "gone", Cause: replica.ErrAbandoned}
		})
		f.runtime.CheckAppends()
		synctest.Wait()
		for name, c := range map[string]*outcome{"a commit": waiting, "a deadline": parked} {
			if got := c.get(); !got.done || kafka.CodeOf(got.err) != kafka.ErrNotCoordinator {
				t.Errorf("who waits for %s: %+v", name, got)
			}
		}
		f.fails(note("lost"), kafka.ErrNotCoordinator)
		if _, err := f.read(); kafka.CodeOf(err) != kafka.ErrNotCoordinator {
			t.Errorf("a read: %v", err)
		}
		if got := f.metrics.Gauge("coordinator_waiting_requests", "", "coordinator", "note").Value(); got != 0 {
			t.Errorf("%d requests wait", got)
		}
		f.log.set(func() { f.log.refusal, f.log.manual = nil, false })
		f.log.commit()
		if got := f.must(note("c")); got != "a b c" {
			t.Errorf("notes %q", got)
		}
		f.pass(time.Minute)
		if f.loads() != 1 || f.dropped != 0 {
			t.Errorf("loaded %d times, dropped %d times", f.loads(), f.dropped)
		}
	})
}

// TestAppendFailsBetweenTwoSteps has an append fail that a second step of the same turn brings about, since both do not fit in one batch. That
// step is answered with the failure, and nothing of it may be left to the shard that is loaded next: not its records, which that one does not
// know, nor its answer, for which nobody waits any more.
func TestAppendFailsBetweenTwoSteps(t *testing.T) {
	withRuntime(t, func(f *fixture) {
		f.elect(1)
		f.must(note("a"))
		gate, reading := make(chan struct{}), make(chan struct{})
		f.log.set(func() { f.log.gate = gate })
		first := f.runtime.Begin(0, note("b"))
		synctest.Wait() // in its append
		second, third := f.runtime.Begin(0, note(strings.Repeat("c", 600))), f.runtime.Begin(0, note(strings.Repeat("d", 600)))
		gate <- struct{}{}
		synctest.Wait() // in the append of c, before d
		f.log.set(func() { f.log.appendErr, f.log.reading = kafka.ErrKafkaStorageError, reading })
		gate <- struct{}{}
		synctest.Wait() // being loaded again
		f.log.set(func() { f.log.appendErr, f.log.gate, f.log.reading = nil, nil, nil })
		close(reading)
		synctest.Wait()
		if response := <-first.done; response.Err != nil {
			t.Errorf("the first step: %v", response.Err)
		}
		for _, p := range []Pending{second, third} {
			if response := <-p.done; kafka.CodeOf(response.Err) != kafka.ErrCoordinatorNotAvailable {
				t.Errorf("a step that failed: %+v", response)
			}
		}
		if got := f.must(note("e")); got != "a b e" || f.log.batches(testTP) != 3 {
			t.Errorf("notes %q in %d batches", got, f.log.batches(testTP))
		}
	})
}

// TestAskedWhileDropped asks at the moment at which a shard is dropped for a while: whoever is not queued is told so, or would wait for ever.
func TestAskedWhileDropped(t *testing.T) {
	withRuntime(t, func(f *fixture) {
		f.elect(1)
		f.log.set(func() { f.log.appendErr = kafka.ErrKafkaStorageError })
		f.fails(note("a"), kafka.ErrCoordinatorNotAvailable) // it is loaded again at once
		synctest.Wait()
		gate := make(chan struct{})
		f.log.set(func() { f.log.gate = gate })
		failed := f.runtime.Begin(0, note("b"))
		synctest.Wait() // in its append
		asked := kafka.ErrNone
		f.runtime.Enqueue(0, note("c"), func(shard.Response) { asked = f.runtime.Begin(0, note("d")).code })
		close(gate)
		<-failed.done
		synctest.Wait()
		if asked != kafka.ErrCoordinatorNotAvailable {
			t.Errorf("who asked while the shard was dropped was told %v", asked)
		}
	})
}
