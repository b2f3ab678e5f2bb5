package host

import (
	"encoding/json"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

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

// steppingClock makes everything take 10 ms between two looks at it.
type steppingClock struct{ ms atomic.Int64 }

func (c *steppingClock) Now() time.Time { return time.UnixMilli(c.ms.Add(10)) }

// Answers about the balancer take a small part of the controller's time, however many ask; who has changed what the balancer
// is to do is not told what was true before.
func TestAnswersAboutTheBalancerAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, l := newWatchWith(t, func(o *Options) { o.Balances, o.Clock = true, &steppingClock{} })
		l.lead(h, 1)
		ask := func(isPlan bool) []byte {
			t.Helper()
			resp, _, err := h.Handle(t.Context(), controller.Origin{}, &wire.PeerBalancerRequest{IsPlan: isPlan})
			if err != nil {
				t.Fatal(err)
			}
			return resp.(*wire.PeerBalancerResponse).Data
		}
		first := ask(false)
		if again := ask(false); &again[0] != &first[0] {
			t.Error("an answer is made anew at once")
		}
		if plan := ask(true); &plan[0] == &first[0] {
			t.Error("the status is given for the plan")
		}
		req, value := kmsg.NewPtrIncrementalAlterConfigsRequest(), "2"
		resource := kmsg.NewIncrementalAlterConfigsRequestResource()
		resource.ResourceType = kmsg.ConfigResourceTypeBroker
		resource.Configs = []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "moldau.balancer.draining.brokers", Value: &value}}
		req.Resources = append(req.Resources, resource)
		if _, _, err := h.Handle(t.Context(), controller.Origin{}, req); err != nil {
			t.Fatal(err)
		}
		var status balance.Status
		if err := json.Unmarshal(ask(false), &status); err != nil || !slices.Equal(status.Draining, []int32{2}) {
			t.Errorf("%+v, %v", status, err)
		}
		first = ask(false)
		made := 0
		for range 200 {
			if next := ask(false); &next[0] != &first[0] {
				first, made = next, made+1
			}
		}
		if made == 0 || made > 20 {
			t.Errorf("200 questions: %d answers were made", made)
		}
	})
}
