package replica

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moldau/moldau/internal/kafka"
)

// resumingFetch is a follower's that has got the answer to the one before.
func resumingFetch(wait time.Duration, id int32, partitions ...FetchPartition) *FetchRequest {
	r := followerFetch(wait, id, partitions...)
	r.Follower.Resumes = true
	return r
}

// A leader whom neither controllers nor followers reach says so; one whom either reaches goes on serving.
func TestAbandonedLeader(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, _ := newClusterHarness(t)
		isolated := false
		c := h.Manager.options.Cluster
		c.Isolated, c.SessionTimeout = func() bool { return isolated }, 1500*time.Millisecond
		h.createReplicated("t", 1, 1, 2)
		h.createReplicated("alone", 1, 1)
		h.createReplicated("followed", 2, 1, 2)
		want := func(topic string, abandoned bool, when string) {
			t.Helper()
			if errors.Is(h.CheckAbandoned(tpOf(topic, 0)), ErrAbandoned) != abandoned {
				t.Errorf("%s: %s is abandoned: %t", when, topic, !abandoned)
			}
		}
		var buffers Buffers
		h.Fetch(t.Context(), followerFetch(0, 2, partitionOf("t", 0, 0)), &buffers)
		<-time.After(2 * time.Second)
		want("t", false, "the controllers answer")
		isolated = true
		want("t", true, "nobody is heard of")
		want("alone", false, "no other replica may lead")
		want("followed", false, "another broker leads")
		want("missing", false, "there is no such partition")
		h.produce("t", 0, 10, "a")
		if err := h.AwaitCommit(t.Context(), tpOf("t", 0), 0, 1, time.Second); kafka.CodeOf(err) != kafka.ErrNotLeaderOrFollower {
			t.Errorf("who has waited gets %v", err)
		}
		h.Fetch(t.Context(), followerFetch(0, 3, partitionOf("t", 0, 0)), &buffers)
		want("t", true, "a replica fetches that is not in sync")
		h.Fetch(t.Context(), resumingFetch(0, 2, partitionOf("t", 0, 0)), &buffers)
		want("t", true, "a replica fetches, perhaps a while ago: it has got no answer since")
		h.Fetch(t.Context(), followerFetch(0, 2, partitionOf("t", 0, 0)), &buffers)
		want("t", true, "another fetch that may be as old")
		h.Fetch(t.Context(), resumingFetch(0, 2, partitionOf("t", 0, 0)), &buffers)
		want("t", false, "the controllers alone are gone")
		<-time.After(1499 * time.Millisecond)
		want("t", false, "before the session's end")
		<-time.After(time.Millisecond)
		want("t", true, "after it")
	})
}

// A follower whose fetch waits longer than a session lasts is silent meanwhile: that says nothing of it.
func TestWaitingFollowerIsNotSilent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, _ := newClusterHarness(t)
		c := h.Manager.options.Cluster
		began := time.Now()
		c.Isolated, c.SessionTimeout = func() bool { return time.Since(began) > 0 }, 1500*time.Millisecond
		h.createReplicated("t", 1, 1, 2)
		var buffers Buffers
		done := make(chan struct{})
		go func() { // the first before the controllers are gone, the second after it
			defer close(done)
			h.Fetch(t.Context(), followerFetch(10*time.Second, 2, partitionOf("t", 0, 0)), &buffers)
			h.Fetch(t.Context(), resumingFetch(10*time.Second, 2, partitionOf("t", 0, 0)), &buffers)
		}()
		for time.Since(began) < 20*time.Second+700*time.Millisecond {
			synctest.Wait()
			if err := h.CheckAbandoned(tpOf("t", 0)); err != nil {
				t.Fatalf("after %s: %v", time.Since(began), err)
			}
			<-time.After(100 * time.Millisecond)
		}
		<-done
		<-time.After(800 * time.Millisecond)
		if err := h.CheckAbandoned(tpOf("t", 0)); !errors.Is(err, ErrAbandoned) {
			t.Errorf("a follower that does not come back is waited for: %v", err)
		}
	})
}

// Who waits already when the leader is abandoned is sent away then: producers and consumers, not coordinators, whose
// records may yet be committed. Consumers still get what is committed.
func TestAbandonedLeaderLetsWaitersGo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, _ := newClusterHarness(t)
		began := time.Now()
		c := h.Manager.options.Cluster
		c.Isolated, c.SessionTimeout = func() bool { return time.Since(began) >= 2*time.Second }, 1500*time.Millisecond
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			ticker := time.NewTicker(100 * time.Millisecond)
			defer ticker.Stop()
			for {
				select {
				case <-stop:
					return
				case <-ticker.C:
					h.NoteAbandoned()
				}
			}
		}()
		h.createReplicated("t", 1, 1, 2)
		var follower Buffers
		h.produce("t", 0, 10, "committed")
		h.Fetch(t.Context(), followerFetch(0, 2, partitionOf("t", 0, 1)), &follower)
		h.produce("t", 0, 10, "a")

		type outcome struct {
			err   error
			after time.Duration
		}
		run := func(wait func() error) <-chan outcome {
			done := make(chan outcome, 1)
			go func() {
				err := wait()
				done <- outcome{err, time.Since(began)}
			}()
			return done
		}
		fetch := func(offset int64, maxWait time.Duration) error {
			var buffers Buffers
			defer buffers.Release()
			result := h.Fetch(t.Context(), &FetchRequest{MaxWait: maxWait, MinBytes: 1, MaxBytes: 1 << 20, Partitions: []FetchPartition{partitionOf("t", 0, offset)}}, &buffers)[0]
			if result.Err == nil && result.SizeBytes() == 0 {
				return errors.New("nothing")
			}
			return result.Err
		}
		commit := func(ctx context.Context, timeout time.Duration) error {
			return h.AwaitCommit(ctx, tpOf("t", 0), 0, 2, timeout)
		}
		producer := run(func() error { return commit(t.Context(), 30*time.Second) })
		consumer := run(func() error { return fetch(1, 30*time.Second) })
		coordinator := make(chan error, 1)
		h.WhenCommitted(tpOf("t", 0), 0, 2, func(err error) { coordinator <- err })
		for name, waiter := range map[string]<-chan outcome{"the producer": producer, "the consumer": consumer} {
			if o := <-waiter; kafka.CodeOf(o.err) != kafka.ErrNotLeaderOrFollower || o.after < 2*time.Second || o.after > 2200*time.Millisecond {
				t.Errorf("%s was told %v after %s", name, o.err, o.after)
			}
		}
		if err := commit(t.Context(), time.Minute); kafka.CodeOf(err) != kafka.ErrNotLeaderOrFollower || time.Since(began) > 2200*time.Millisecond {
			t.Errorf("a producer that comes later is told %v after %s", err, time.Since(began))
		}
		if err := fetch(0, time.Minute); err != nil {
			t.Errorf("what is committed is not served: %v", err)
		}
		later := time.Now()
		if err := fetch(1, 500*time.Millisecond); kafka.CodeOf(err) != kafka.ErrNotLeaderOrFollower || time.Since(later) != 500*time.Millisecond {
			t.Errorf("a consumer that comes later is told %v after %s", err, time.Since(later))
		}
		if _, _, err := h.AppendMarker(tpOf("t", 0), nil, TransactionalAppend{}); !errors.Is(err, ErrAbandoned) {
			t.Errorf("a marker gets %v", err)
		}
		if len(coordinator) > 0 {
			t.Errorf("the coordinator was told %v", <-coordinator)
		}
		for range 2 {
			h.Fetch(t.Context(), resumingFetch(0, 2, partitionOf("t", 0, 2)), &follower) // the network is back
		}
		if err := <-coordinator; err != nil {
			t.Errorf("the coordinator is told %v", err)
		}
		h.NoteAbandoned()
		if err := commit(t.Context(), 0); err != nil {
			t.Errorf("what was waited for is committed, and %v", err)
		}
		if err := fetch(2, 500*time.Millisecond); kafka.CodeOf(err) == kafka.ErrNotLeaderOrFollower {
			t.Errorf("after it the consumer is told %v", err)
		}
	})
}
