package controller

import (
	"testing"

	"github.com/moldau/moldau/internal/metadata"
)

// A data folder that an earlier release has written has no transaction.version. It gets level 2 at
// its next start, unless somebody has turned the feature off.
func TestOlderFoldersGetNewFeatures(t *testing.T) {
	t.Parallel()
	of := func(records ...metadata.Record) *metadata.Image {
		t.Helper()
		delta := metadata.NewDelta(metadata.EmptyImage())
		for _, r := range records {
			if err := delta.Replay(r); err != nil {
				t.Fatal(err)
			}
		}
		return delta.Apply(1, 1)
	}
	c := newCluster(t, nil).c
	old := &metadata.FeatureLevelRecord{Name: metadata.MetadataVersionFeature, FeatureLevel: MetadataVersion}
	got := c.Bootstrap(of(old))
	if len(got) != 1 || *got[0].(*metadata.FeatureLevelRecord) != (metadata.FeatureLevelRecord{Name: TransactionVersionFeature, FeatureLevel: TransactionVersion}) {
		t.Errorf("%+v", got)
	}
	for _, level := range []int16{0, 1, TransactionVersion} {
		if got := c.Bootstrap(of(old, &metadata.FeatureLevelRecord{Name: TransactionVersionFeature, FeatureLevel: level})); len(got) != 0 {
			t.Errorf("level %d is overwritten: %+v", level, got)
		}
	}
}
