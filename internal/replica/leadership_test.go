package replica

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// Clients may hear of a new leader before it has itself: they wait for it for a moment, and for nobody who has just led.
func TestLeadershipsAreWaitedForAMoment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, _ := newClusterHarness(t)
		h.createReplicated("t", 2, 1, 2, 3)
		elect := func(leader int32) {
			change := metadata.NewPartitionChangeRecord(idOf("t"), 0)
			change.Leader = leader
			h.apply(change)
		}
		fetch := func(epoch int32) (kafka.ErrorCode, time.Duration) {
			began := time.Now()
			r := request(0, 1, partitionOf("t", 0, 0))
			r.Partitions[0].CurrentLeaderEpoch = epoch
			var buffers Buffers
			return kafka.CodeOf(h.Fetch(t.Context(), r, &buffers)[0].Err), time.Since(began)
		}
		awaited := func() time.Duration {
			began := time.Now()
			h.AwaitLeadership(t.Context(), tpOf("t", 0), LeadershipPatience)
			return time.Since(began)
		}
		if code, took := fetch(1); code != kafka.ErrUnknownLeaderEpoch || took != LeadershipPatience {
			t.Errorf("nobody is elected: %v after %v", code, took)
		}
		if code, took := fetch(0); code != kafka.ErrNotLeaderOrFollower || took != 0 {
			t.Errorf("a consumer that knows no more: %v after %v", code, took)
		}
		if took := awaited(); took != LeadershipPatience {
			t.Errorf("nobody is elected: %v", took)
		}
		const later = 10 * time.Millisecond
		time.AfterFunc(later, func() { elect(1) })
		if code, took := fetch(1); code != kafka.ErrNone || took != later {
			t.Errorf("elected: %v after %v", code, took)
		}
		if took := awaited(); took != 0 {
			t.Errorf("it leads: %v", took)
		}
		elect(3)
		if took := awaited(); took != 0 {
			t.Errorf("it has led until now: %v", took)
		}
		elect(2)
		time.AfterFunc(later, func() { elect(1) })
		if took := awaited(); took != later {
			t.Errorf("others have led since: %v", took)
		}
	})
}
