package coordinator

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/txn"
)

// TestMarkersOfAShardThatIsLoadedAgain has the log refuse the record that completes a transaction: the shard is
// loaded again and asks for the markers while the sender does not know yet. The transaction may not hang.
func TestMarkersOfAShardThatIsLoadedAgain(t *testing.T) {
	t.Parallel()
	for name, still := range map[string]bool{"here": true, "by another broker": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var image atomic.Pointer[metadata.Image]
			image.Store(metadata.EmptyImage())
			clock := env.NewManualClock(time.UnixMilli(1_000))
			delivery := func() *txn.Delivery {
				return &txn.Delivery{CoordinatorEpoch: 3, Markers: txn.Markers{TransactionalID: "x"}}
			}
			completions := 0
			var m *markerSender
			complete := func(context.Context, *txn.Delivery) error {
				if completions++; completions > 1 {
					return nil
				}
				if still {
					m.add(delivery())
				}
				return kafka.ErrNotCoordinator
			}
			m = newMarkerSender(clock, metrics.NewRegistry(), &markerRouter{image: &image}, complete, func(partition, leaderEpoch int32) bool { return still && partition == 0 && leaderEpoch == 3 })
			m.add(delivery())
			for d, _ := m.take(); d != nil; d, _ = m.take() {
				m.deliver(t.Context(), d)
				clock.Advance(time.Second)
			}
			if want := map[bool]int{true: 2, false: 1}[still]; completions != want || m.queue.Len() != 0 {
				t.Errorf("tried to complete %d times, want %d; %d left", completions, want, m.queue.Len())
			}
		})
	}
}

// remoteMarkersTo returns a sender of markers for partitions 0 to 2 of topic t, which brokers 0 to 2 lead; none of them
// is this one. answers may hang, or fail.
func remoteMarkersTo(t *testing.T, answers func(ctx context.Context, broker int32, r *kmsg.WriteTxnMarkersRequest) error) (m *markerSender, completed *atomic.Int32) {
	t.Helper()
	delta := metadata.NewDelta(metadata.EmptyImage())
	records := []metadata.Record{&metadata.TopicRecord{Name: "t", TopicID: kafka.UUID{1}}}
	for p := range int32(3) {
		records = append(records, &metadata.PartitionRecord{TopicID: kafka.UUID{1}, PartitionID: p, Replicas: []int32{p}, ISR: []int32{p}, Leader: p, Directories: make([]kafka.UUID, 1)})
	}
	for _, r := range records {
		if err := delta.Replay(r); err != nil {
			t.Fatal(err)
		}
	}
	var image atomic.Pointer[metadata.Image]
	image.Store(delta.Apply(1, 1))
	call := func(ctx context.Context, broker int32, req kmsg.Request) (kmsg.Response, error) {
		asked, resp := req.(*kmsg.WriteTxnMarkersRequest), kmsg.NewPtrWriteTxnMarkersResponse()
		if err := answers(ctx, broker, asked); err != nil {
			return nil, err
		}
		for _, a := range asked.Markers {
			answer := kmsg.WriteTxnMarkersResponseMarker{ProducerID: a.ProducerID}
			for _, topic := range a.Topics {
				out := kmsg.WriteTxnMarkersResponseMarkerTopic{Topic: topic.Topic}
				for _, p := range topic.Partitions {
					out.Partitions = append(out.Partitions, kmsg.WriteTxnMarkersResponseMarkerTopicPartition{Partition: p})
				}
				answer.Topics = append(answer.Topics, out)
			}
			resp.Markers = append(resp.Markers, answer)
		}
		return resp, nil
	}
	spawner := env.NewSpawner(t.Context(), func(name string, err error) { t.Errorf("%s: %v", name, err) })
	t.Cleanup(spawner.Stop)
	o := &TransactionsOptions{NodeID: 9, Spawner: spawner, Metrics: metrics.NewRegistry(), Call: call}
	completed = &atomic.Int32{}
	m = newMarkerSender(env.SystemClock{}, metrics.NewRegistry(), newMarkerRouter(o, &image), func(context.Context, *txn.Delivery) error {
		completed.Add(1)
		return nil
	}, func(int32, int32) bool { return true })
	m.start(spawner)
	return m, completed
}

func (m *markerSender) addTransactions(count int, prefix string, partition int32) {
	for i := range count {
		m.add(&txn.Delivery{Markers: txn.Markers{TransactionalID: fmt.Sprint(prefix, i), Producer: txn.Producer{ID: int64(i)},
			Partitions: []kafka.TopicPartition{{Topic: "t", Partition: partition}}}})
	}
}

// TestMarkersShareRequests has transactions end while a broker writes the markers of another one: all of theirs go in
// its next request, as in Kafka.
func TestMarkersShareRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var sizes []int // the broker is asked once at a time
		m, completed := remoteMarkersTo(t, func(_ context.Context, _ int32, r *kmsg.WriteTxnMarkersRequest) error {
			sizes = append(sizes, len(r.Markers))
			<-time.After(slowSend / 2)
			return nil
		})
		m.addTransactions(1, "first ", 1)
		synctest.Wait()
		m.addTransactions(100, "", 1)
		<-time.After(slowSend)
		synctest.Wait()
		if completed.Load() != 101 || fmt.Sprint(sizes) != "[1 100]" || m.queue.Len() != 0 || len(m.slots) != 0 {
			t.Errorf("%d completed with requests of %v transactions; %d left, %d under way", completed.Load(), sizes, m.queue.Len(), len(m.slots))
		}
	})
}

// TestHungBrokerHoldsUpNoOtherMarkers has many transactions wait for a broker that hangs.
func TestHungBrokerHoldsUpNoOtherMarkers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, completed := remoteMarkersTo(t, func(ctx context.Context, broker int32, _ *kmsg.WriteTxnMarkersRequest) error {
			if broker != 1 {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		})
		m.addTransactions(100, "hangs ", 1)
		synctest.Wait()
		m.addTransactions(100, "", 2)
		synctest.Wait()
		if completed.Load() != 100 || m.queue.Len() != 100 {
			t.Errorf("%d completed, %d left", completed.Load(), m.queue.Len())
		}
	})
}
