package metadata

import (
	"testing"

	"github.com/moldau/moldau/internal/kafka"
)

// TestWhoBeganAReassignment: the balancer's mark comes with a reassignment, stays while in-sync replicas change, and goes when
// the reassignment ends or somebody else begins another one.
func TestWhoBeganAReassignment(t *testing.T) {
	t.Parallel()
	p := &Partition{Replicas: []int32{1, 2}, ISR: []int32{1, 2}, Directories: make([]kafka.UUID, 2), Leader: 1}
	step := func(want bool, change func(r *PartitionChangeRecord)) {
		t.Helper()
		r := NewPartitionChangeRecord(kafka.UUID{1}, 0)
		change(r)
		decoded, err := Decode(Encode(r))
		if err != nil {
			t.Fatal(err)
		}
		if p, err = p.Merge(decoded.(*PartitionChangeRecord)); err != nil {
			t.Fatal(err)
		}
		if p.Balancing != want {
			t.Errorf("after %+v: %+v", r, p)
		}
	}
	step(false, func(r *PartitionChangeRecord) { r.ISR = []int32{1} })
	step(true, func(r *PartitionChangeRecord) {
		r.Replicas, r.Directories, r.AddingReplicas, r.Balancing = []int32{1, 2, 3}, make([]kafka.UUID, 3), []int32{3}, true
	})
	step(true, func(r *PartitionChangeRecord) { r.ISR = []int32{1, 2} })
	step(false, func(r *PartitionChangeRecord) { r.AddingReplicas = []int32{} })
	step(true, func(r *PartitionChangeRecord) { r.RemovingReplicas, r.Balancing = []int32{3}, true })
	step(false, func(r *PartitionChangeRecord) { r.RemovingReplicas = []int32{2} })
}
