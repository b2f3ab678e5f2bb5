package host

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	metadatahost "github.com/moldau/moldau/internal/metadata/host"
	"github.com/moldau/moldau/internal/metrics"
)

// TestALoaderThatIsSlowHoldsNobodyUp lets a follower's loader stand still: its voter goes on answering.
func TestALoaderThatIsSlowHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		leader, _ := c.elected()
		epoch := leader.node.Leadership().Epoch
		slow := c.members[0]
		if slow == leader {
			slow = c.members[1]
		}
		slow.kill()
		gate := make(chan struct{})
		o := slow.options()
		o.Metrics = metrics.NewRegistry()
		o.Submit = func(ctx context.Context, _ metadatahost.Batch) error {
			select {
			case <-gate:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		node, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		node.Start(context.Background())
		c.mu.Lock()
		slow.node = node
		c.mu.Unlock()
		c.create(3 * deliveryBatches)
		<-time.After(3 * time.Second)
		if l := leader.node.Leadership(); !l.IsSelf || l.Epoch != epoch || node.Leadership().LeaderID != leader.spec.NodeID {
			t.Errorf("the leader is %+v, the slow node knows %+v", l, node.Leadership())
		}
		if node.HighWatermark() >= leader.node.HighWatermark() {
			t.Error("the slow node has everything in memory")
		}
		close(gate)
		c.until("it catches up", func() bool { return node.HighWatermark() == leader.node.HighWatermark() })
		if end := leader.node.LogEndOffset(); node.LogEndOffset() != end || end != leader.node.HighWatermark() {
			t.Errorf("logs end at %d and %d", node.LogEndOffset(), end)
		}
	})
}
