package quota

import (
	"testing"

	"github.com/moldau/moldau/internal/kafka"
)

func tp(topic string, partition int32) kafka.TopicPartition {
	return kafka.TopicPartition{Topic: topic, Partition: partition}
}

func TestReplicationCoversWhatIsNamed(t *testing.T) {
	t.Parallel()
	var none *Replication
	if none.Covers(tp("t", 0)) {
		t.Error("nothing covers a replica")
	}
	r := NewReplication(tenSeconds)
	r.SetReplicas("some", ThrottledReplicas{Partitions: []int32{1, 3}})
	r.SetReplicas("all", ThrottledReplicas{All: true})
	r.SetReplicas("gone", ThrottledReplicas{All: true})
	r.SetReplicas("gone", ThrottledReplicas{})
	for of, want := range map[kafka.TopicPartition]bool{tp("some", 1): true, tp("some", 2): false, tp("all", 9): true, tp("gone", 0): false, tp("other", 0): false} {
		if got := r.Covers(of); got != want {
			t.Errorf("%s: %v", of, got)
		}
	}
}

// TestReplicationRate has Kafka's SimpleRate: a burst counts over a second at least, and is made up for over the window.
func TestReplicationRate(t *testing.T) {
	t.Parallel()
	r := NewReplication(tenSeconds)
	r.Record(5000, 0)
	if r.IsExceeded(0) {
		t.Error("exceeded without a limit")
	}
	r.SetLimit(1000)
	for nowMs, want := range map[int64]float64{0: 5000, 999: 5000} {
		if got := r.BytesPerSecond(nowMs); got != want || !r.IsExceeded(nowMs) {
			t.Errorf("at %d ms: %v", nowMs, got)
		}
	}
	for _, c := range []struct {
		nowMs    int64
		exceeded bool
	}{{2500, true}, {4999, true}, {5000, false}, {12_000, false}} {
		if got := r.IsExceeded(c.nowMs); got != c.exceeded {
			t.Errorf("at %d ms: exceeded %v, %v bytes/s", c.nowMs, got, r.BytesPerSecond(c.nowMs))
		}
	}
	r.SetLimit(0)
	if r.IsExceeded(30_000) {
		t.Error("an idle one exceeds nothing")
	}
	r.Record(1, 30_000)
	if !r.IsExceeded(30_000) {
		t.Error("a rate of 0 allows nothing more")
	}
}
