package replica

import (
	"testing"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// TestNobodyWaitsForAFailedLogDir: a follower that had everything a moment ago counts until it lags, since it is about to be in sync; but not
// where its log dir has failed while its broker lives on with another one. Nobody fetches for it any more.
func TestNobodyWaitsForAFailedLogDir(t *testing.T) {
	t.Parallel()
	h, _ := newClusterHarness(t)
	kept, failed := kafka.UUID{15: 201}, kafka.UUID{15: 202}
	h.apply(&metadata.BrokerRegistrationChangeRecord{BrokerID: 2, BrokerEpoch: 20, LogDirs: []kafka.UUID{kept, failed}})
	h.apply(&metadata.TopicRecord{Name: "t", TopicID: idOf("t")},
		&metadata.PartitionRecord{TopicID: idOf("t"), Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2}, Leader: 1, Directories: []kafka.UUID{{}, failed, {}}})
	h.produce("t", 0, 10, "a")
	h.commit("t", 1)
	change := metadata.NewPartitionChangeRecord(idOf("t"), 0)
	change.ISR = []int32{1}
	h.apply(&metadata.BrokerRegistrationChangeRecord{BrokerID: 2, BrokerEpoch: 20, LogDirs: []kafka.UUID{kept}}, change)
	h.produce("t", 0, 10, "b")
	r, err := h.Lookup(tpOf("t", 0))
	if err != nil {
		t.Fatal(err)
	}
	if high := r.Log().HighWatermark(); high != 2 {
		t.Errorf("committed up to %d of 2: the replica in the failed log dir is waited for", high)
	}
}
