package coordinator

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

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
