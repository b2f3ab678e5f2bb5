package controller

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
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
	got := c.Bootstrap(Input{Image: of(old)})
	if len(got) != 2 || *got[0].(*metadata.FeatureLevelRecord) != (metadata.FeatureLevelRecord{Name: metadata.ELRVersionFeature, FeatureLevel: ELRVersion}) ||
		*got[1].(*metadata.FeatureLevelRecord) != (metadata.FeatureLevelRecord{Name: TransactionVersionFeature, FeatureLevel: TransactionVersion}) {
		t.Errorf("%+v", got)
	}
	elr := &metadata.FeatureLevelRecord{Name: metadata.ELRVersionFeature}
	for _, level := range []int16{0, 1, TransactionVersion} {
		if got := c.Bootstrap(Input{Image: of(old, elr, &metadata.FeatureLevelRecord{Name: TransactionVersionFeature, FeatureLevel: level})}); len(got) != 0 {
			t.Errorf("level %d is overwritten: %+v", level, got)
		}
	}
}

// With eligible leader replicas all nodes must see the same min.insync.replicas: the controller's own is
// stored for the cluster, and values of single brokers go.
func TestMinISRIsTheSameForAllNodes(t *testing.T) {
	t.Parallel()
	cl := newCluster(t, map[string]string{minISRConfig: "2"})
	cluster := kafka.ConfigResource{Type: kafka.ConfigResourceBroker}
	if got := cl.image.Config(cluster)[minISRConfig]; got != "2" {
		t.Errorf("stored %q", got)
	}
	one := "1"
	off := &metadata.FeatureLevelRecord{Name: metadata.ELRVersionFeature}
	cl.apply([]metadata.Record{off, &metadata.ConfigRecord{ResourceType: kafka.ConfigResourceBroker, ResourceName: "1", Name: minISRConfig, Value: &one},
		&metadata.ConfigRecord{ResourceType: kafka.ConfigResourceBroker, Name: minISRConfig}})
	if got := cl.c.Bootstrap(Input{Image: cl.image}); len(got) != 0 {
		t.Errorf("at the next start, with the feature off: %+v", got)
	}
	req := kmsg.NewPtrUpdateFeaturesRequest()
	req.Version = 2
	req.FeatureUpdates = []kmsg.UpdateFeaturesRequestFeatureUpdate{{Feature: metadata.ELRVersionFeature, MaxVersionLevel: ELRVersion, UpgradeType: featureUpgrade}}
	cl.handle(req)
	broker := cl.image.Config(kafka.ConfigResource{Type: kafka.ConfigResourceBroker, Name: "1"})
	if got := cl.image.Config(cluster)[minISRConfig]; got != "2" || broker[minISRConfig] != "" || cl.image.FeatureLevel(metadata.ELRVersionFeature) != ELRVersion {
		t.Errorf("turned on: the cluster has %q, broker 1 %q", got, broker[minISRConfig])
	}
}

// A level that a newer release has finalized is not for this one: it says which, and what to do, before it decides anything.
// Apache Kafka's controller dies of the record, without saying more (strimzi #10735). That such a level is finalized
// while a node of this release is there is refused (scripts/features).
func TestLevelsOfANewerReleaseAreRefused(t *testing.T) {
	t.Parallel()
	cl := newCluster(t, nil)
	if err := cl.c.CheckFeatures(cl.image); err != nil {
		t.Fatal(err)
	}
	for _, level := range []metadata.FeatureLevelRecord{{Name: TransactionVersionFeature, FeatureLevel: TransactionVersion + 1}, {Name: "nobody.knows", FeatureLevel: 1}} {
		delta := metadata.NewDelta(cl.image)
		if err := delta.Replay(&level); err != nil {
			t.Fatal(err)
		}
		err := cl.c.CheckFeatures(delta.Apply(cl.image.Offset+1, 1))
		if kafka.CodeOf(err) != kafka.ErrUnsupportedVersion || !strings.Contains(err.Error(), fmt.Sprintf("level %d of %s", level.FeatureLevel, level.Name)) || !strings.Contains(err.Error(), "a newer one") {
			t.Errorf("%+v: %v", level, err)
		}
	}
	newer := &metadata.FeatureLevelRecord{Name: metadata.MetadataVersionFeature, FeatureLevel: MetadataVersion + 1} // records may look otherwise from there on
	if err := metadata.NewDelta(cl.image).Replay(newer); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("metadata.version %d is not supported; levels", newer.FeatureLevel)) {
		t.Errorf("metadata.version: %v", err)
	}
}

// A log that has records and no metadata.version gets one from the next active controller. Apache Kafka only warns of it, and
// the cluster stays at the lowest level (KAFKA-20839).
func TestKafka20839MetadataVersionIsAbsent(t *testing.T) {
	t.Parallel()
	cl := newCluster(t, nil)
	delta := metadata.NewDelta(metadata.EmptyImage())
	if err := delta.Replay(&metadata.TopicRecord{Name: "t", TopicID: kafka.UUID{1}}); err != nil {
		t.Fatal(err)
	}
	cl.image = delta.Apply(5, 1)
	cl.apply(cl.c.Bootstrap(Input{Image: cl.image}))
	if got := cl.image.FeatureLevel(metadata.MetadataVersionFeature); got != MetadataVersion {
		t.Errorf("metadata.version %d", got)
	}
}
