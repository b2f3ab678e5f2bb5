package host

import (
	"testing"
	"testing/synctest"

	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/quorum"
)

// The active controller writes the features that an older folder lacks before it serves anybody.
func TestFeaturesOfAnOlderFolder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		delta := metadata.NewDelta(metadata.EmptyImage())
		if err := delta.Replay(&metadata.FeatureLevelRecord{Name: metadata.MetadataVersionFeature, FeatureLevel: controller.MetadataVersion}); err != nil {
			t.Fatal(err)
		}
		l := &log{image: delta.Apply(1, 1)}
		h := newHost(t, l)
		h.OnLeadership(quorum.Leadership{LeaderID: 1, Epoch: 1, IsSelf: true, StartOffset: l.image.Offset + 1})
		synctest.Wait()
		l.commit(t)
		if err := h.WaitActive(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := l.image.FeatureLevel(controller.TransactionVersionFeature); got != controller.TransactionVersion {
			t.Errorf("level %d", got)
		}
	})
}
