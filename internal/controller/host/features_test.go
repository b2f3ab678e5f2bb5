package host

import (
	"testing"
	"testing/synctest"

	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/kafka"
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

// The controller of an older release stops its node, and neither serves nor writes anything, where a newer one has finalized
// a level that it does not know.
func TestControllerOfAnOlderReleaseDoesNotServe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		delta := metadata.NewDelta(metadata.EmptyImage())
		if err := delta.Replay(&metadata.FeatureLevelRecord{Name: controller.TransactionVersionFeature, FeatureLevel: controller.TransactionVersion + 1}); err != nil {
			t.Fatal(err)
		}
		l := &log{image: delta.Apply(1, 1)}
		var faults []error
		h := newHostWith(t, l, func(o *Options) { o.OnFault = func(err error) { faults = append(faults, err) } })
		h.OnLeadership(quorum.Leadership{LeaderID: 1, Epoch: 1, IsSelf: true, StartOffset: l.image.Offset + 1})
		synctest.Wait()
		if len(faults) != 1 || kafka.CodeOf(faults[0]) != kafka.ErrUnsupportedVersion || len(l.proposals) != 0 {
			t.Errorf("faults %v, %d proposals", faults, len(l.proposals))
		}
		if answer := <-create(h, "t", false); kafka.CodeOf(answer.err) != kafka.ErrNotController {
			t.Errorf("a request is answered %+v", answer)
		}
	})
}
