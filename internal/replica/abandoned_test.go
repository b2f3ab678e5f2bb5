package replica

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/moldau/moldau/internal/kafka"
)

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
			if h.IsAbandoned(tpOf(topic, 0)) != abandoned {
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
		h.Fetch(t.Context(), followerFetch(0, 2, partitionOf("t", 0, 0)), &buffers)
		want("t", false, "the controllers alone are gone")
		<-time.After(1499 * time.Millisecond)
		want("t", false, "before the session's end")
		<-time.After(time.Millisecond)
		want("t", true, "after it")
	})
}
