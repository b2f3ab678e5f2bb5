package host

import (
	"encoding/json"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moldau/moldau/internal/balance"
	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/wire"
)

// TestTheHostBalances: reports reach the balancer, which begins to give a broker that joins what it should have, says so, and
// forgets everything when another controller takes over.
func TestTheHostBalances(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, l := newWatchWith(t, func(o *Options) { o.Balances = true })
		joining := "3"
		records := []metadata.Record{&metadata.ConfigRecord{ResourceType: kafka.ConfigResourceBroker, Name: "moldau.balancer.joining.brokers", Value: &joining}, &metadata.TopicRecord{Name: "uneven", TopicID: kafka.UUID{2}}}
		for id := range int32(8) {
			records = append(records, &metadata.PartitionRecord{PartitionID: id, TopicID: kafka.UUID{2}, Replicas: []int32{1, 2}, ISR: []int32{1, 2}, Leader: 1, Directories: []kafka.UUID{{1}, {2}}})
		}
		delta := metadata.NewDelta(l.image)
		for _, r := range records {
			if err := delta.Replay(r); err != nil {
				t.Fatal(err)
			}
		}
		l.image = delta.Apply(l.image.Offset+int64(len(records)), 1)
		l.lead(h, 1)
		report := func() {
			t.Helper()
			for id := int32(1); id <= 3; id++ {
				resp, _, err := h.Handle(t.Context(), controller.Origin{}, &wire.PeerLoadRequest{NodeID: id, BrokerEpoch: l.image.Broker(id).Epoch, IsFull: true, LatencyMicros: -1})
				if err != nil || resp.(*wire.PeerLoadResponse).ErrorCode != 0 || resp.(*wire.PeerLoadResponse).CopyBytesPerSecond == 0 {
					t.Fatalf("%+v, %v", resp, err)
				}
			}
		}
		status := func(isPlan bool, answer any) {
			t.Helper()
			resp, _, err := h.Handle(t.Context(), controller.Origin{}, &wire.PeerBalancerRequest{IsPlan: isPlan})
			if err == nil {
				err = json.Unmarshal(resp.(*wire.PeerBalancerResponse).Data, answer)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		hear(h, 2*time.Second, 1, 2, 3)
		var before balance.Status
		if status(false, &before); before.State != "stalled" || len(before.Moving) > 0 || len(before.Brokers) != 3 {
			t.Errorf("without reports: %+v", before)
		}
		report()
		hear(h, 2*time.Second, 1, 2, 3)
		var moving balance.Status
		if status(false, &moving); moving.State != "moving" || len(moving.Moving) == 0 || !slices.Contains(moving.Moving[0].To, 3) {
			t.Fatalf("%+v", moving)
		}
		p := l.image.Partition(moving.Moving[0].Topic, moving.Moving[0].Partition)
		if !p.Balancing || !slices.Equal(p.AddingReplicas, []int32{3}) {
			t.Errorf("%+v", p)
		}
		var plan balance.Proposal
		if status(true, &plan); len(plan.Plan.Before) != 3 {
			t.Errorf("%+v", plan)
		}
		l.lead(h, 2)
		hear(h, 2*time.Second, 1, 2, 3)
		var after balance.Status
		if status(false, &after); after.State != "stalled" || len(after.Moving) != len(moving.Moving) {
			t.Errorf("another controller: %+v", after)
		}
	})
}
