package follower

import (
	"slices"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/quota"
)

// TestThrottledReplicasAreNotFetched: above the limit those that are covered and lag are left out, until the rate is
// down again; those that have caught up, and others, go on.
func TestThrottledReplicasAreNotFetched(t *testing.T) {
	t.Parallel()
	h := newHarness(t, nil)
	throttle := quota.NewReplication(quota.Window{Samples: 11, Sample: time.Second})
	throttle.SetReplicas("covered", quota.ThrottledReplicas{Partitions: []int32{0, 1, 2}})
	throttle.SetLimit(40)
	h.options.Throttles = []*quota.Replication{throttle}
	behind, idle, inSync, free := h.open("covered", 0, 1), h.open("covered", 1, 1), h.open("covered", 2, 1), h.open("free", 0, 1)
	for _, p := range []*partition.Partition{behind, idle, inSync, free} {
		h.Follow(p, 1)
	}
	h.send()
	h.answer(0, map[*partition.Partition]answer{inSync: offsets(0, 0)})
	h.send()
	some := withRecords(9, batch(t, 0, 1, "a"))
	h.answer(0, map[*partition.Partition]answer{behind: some})
	r := h.send()
	if got := forgotten(r); !slices.Equal(slices.Sorted(slices.Values(got)), []int32{0, 1}) || r.ForgottenTopics[0].TopicID != idOf("covered") {
		t.Fatalf("left out: %v", got)
	}
	if len(r.Topics) != 0 || r.MaxWaitMillis != throttledWaitMs {
		t.Fatalf("request %+v", r)
	}
	bytes := int64(len(some.RecordBatches))
	h.answer(bytes*1000/40, nil)
	r = h.send()
	if len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 2 || r.Topics[0].Partitions[0].FetchOffset != 1 || len(r.ForgottenTopics) != 0 {
		t.Fatalf("request %+v", r)
	}
}
