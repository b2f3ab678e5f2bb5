package broker

import (
	"encoding/binary"
	"maps"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

const (
	upgrade       int8 = 1
	safeDowngrade int8 = 2
)

func featureUpdate(kind int8, levels map[string]int16) *kmsg.UpdateFeaturesRequest {
	req := kmsg.NewPtrUpdateFeaturesRequest()
	req.SetVersion(2)
	req.TimeoutMillis = 10_000
	for name, level := range levels {
		u := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
		u.Feature, u.MaxVersionLevel, u.UpgradeType = name, level, kind
		req.FeatureUpdates = append(req.FeatureUpdates, u)
	}
	return req
}

func (n *configNode) features(kind int8, levels map[string]int16) kafka.ErrorCode {
	n.t.Helper()
	return kafka.ErrorCode(request[*kmsg.UpdateFeaturesResponse](n, featureUpdate(kind, levels)).ErrorCode)
}

// transact commits a transaction and returns the version of the last value in __transaction_state.
func (n *configNode) transact(topic string) (version int16) {
	n.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(n.b.server.Addr("PLAINTEXT").String()), kgo.TransactionalID("t"), kgo.DefaultProduceTopic(topic))
	if err != nil {
		n.t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.BeginTransaction(); err != nil {
		n.t.Fatal(err)
	}
	if err := cl.ProduceSync(n.t.Context(), kgo.StringRecord("x")).FirstErr(); err != nil {
		n.t.Fatal(err)
	}
	if err := cl.EndTransaction(n.t.Context(), kgo.TryCommit); err != nil {
		n.t.Fatal(err)
	}
	partition := &configTopic{configNode: n, name: kafka.TransactionStateTopic}
	for r, err := range partition.last().Records(1 << 20) {
		if err != nil {
			n.t.Fatal(err)
		}
		version = int16(binary.BigEndian.Uint16(r.Value))
	}
	return version
}

// TestLevelsOfARunningNode: a folder that was formatted for an old metadata.version becomes a cluster of that
// level, whose records old releases can read; every change of a level counts at once.
func TestLevelsOfARunningNode(t *testing.T) {
	t.Parallel()
	n := &configNode{t: t, dir: t.TempDir(), properties: map[string]string{"transaction.state.log.num.partitions": "1", "offsets.topic.num.partitions": "1"}}
	begins := map[string]int16{metadata.MetadataVersionFeature: 14, metadata.ELRVersionFeature: 0, controller.TransactionVersionFeature: 0}
	var records []metadata.FeatureLevelRecord
	for name, level := range begins {
		records = append(records, metadata.FeatureLevelRecord{Name: name, FeatureLevel: level})
	}
	if err := metadata.WriteBootstrap(vfs.OS{}, n.dir, 1, records); err != nil {
		t.Fatal(err)
	}
	n.start(nil)
	t.Cleanup(func() {
		if n.b != nil {
			n.stop()
		}
	})
	if got := maps.Collect(n.b.loader.Current().Features()); !maps.Equal(got, begins) {
		t.Errorf("begins with %v", got)
	}
	p := n.topic("t", nil)
	if v := n.transact("t"); v != 0 {
		t.Errorf("at level 0 values have version %d", v)
	}
	image := n.b.loader.Current()
	if d, _ := image.TopicByName("t").Partition(0).Directory(1); d != kafka.DirectoryMigrating || len(image.Broker(1).LogDirs) > 0 {
		t.Errorf("at level 14 the metadata has log dirs: %s, %v", d, image.Broker(1).LogDirs)
	}

	n.restart(nil) // the same levels, from the log
	if code := n.features(upgrade, map[string]int16{metadata.ELRVersionFeature: 1}); code != kafka.ErrInvalidUpdateVersion {
		t.Errorf("eligible leader replicas without their metadata.version: %v", code)
	}
	if code := n.features(upgrade, map[string]int16{metadata.MetadataVersionFeature: 29, metadata.ELRVersionFeature: 1, controller.TransactionVersionFeature: 2}); code != kafka.ErrNone {
		t.Fatal(code)
	}
	own := n.b.dirs.DirectoryIDs[n.dir]
	eventually(t, "the metadata knows the log dirs", func() bool {
		image := n.b.loader.Current()
		d, _ := image.TopicByName("t").Partition(0).Directory(1)
		return d == own && len(image.Broker(1).LogDirs) == 1
	})
	if v := n.transact("t"); v != 1 {
		t.Errorf("at level 2 values have version %d", v)
	}
	for _, level := range []int16{1, 0} {
		if code := n.features(safeDowngrade, map[string]int16{controller.TransactionVersionFeature: level}); code != kafka.ErrNone {
			t.Errorf("transaction.version %d: %v", level, code)
		}
	}
	n.transact("t")
	if code := n.features(safeDowngrade, map[string]int16{metadata.MetadataVersionFeature: 23, metadata.ELRVersionFeature: 0}); code != kafka.ErrNone {
		t.Errorf("down to 23: %v", code)
	}
	if code := n.features(3, map[string]int16{metadata.MetadataVersionFeature: 22}); code != kafka.ErrInvalidUpdateVersion {
		t.Errorf("down to 22, which would lose metadata: %v", code)
	}
	p.must(rec{timestampMs: p.nowMs(), value: "after"})
	n.restart(nil)
	want := map[string]int16{metadata.MetadataVersionFeature: 23, metadata.ELRVersionFeature: 0, controller.TransactionVersionFeature: 0}
	if got := maps.Collect(n.b.loader.Current().Features()); !maps.Equal(got, want) {
		t.Errorf("ends with %v", got)
	}
}

// TestLevelsReachAllNodes: every controller is registered with what it supports, and a change of a level made
// through any node counts on all of them.
func TestLevelsReachAllNodes(t *testing.T) {
	t.Parallel()
	c := newClusterNodes(t)
	c.start(0, 1)
	c.awaitMetadata(0, "both controllers are registered", func(image *metadata.Image) bool {
		known := 0
		for r := range image.Controllers() {
			if r.IncarnationID == c.running[r.ID-1].incarnation {
				known++
			}
		}
		return known == 2
	})
	for i, level := range []int16{1, 2, 0} {
		kind := safeDowngrade
		if i == 1 {
			kind = upgrade
		}
		resp, err := c.running[i%2].channel.Send(t.Context(), self, featureUpdate(kind, map[string]int16{controller.TransactionVersionFeature: level, metadata.ELRVersionFeature: min(level, 1)}))
		if err != nil {
			t.Fatal(err)
		}
		if r := resp.(*kmsg.UpdateFeaturesResponse); r.ErrorCode != 0 {
			t.Fatalf("%v: %s", kafka.ErrorCode(r.ErrorCode), *r.ErrorMessage)
		}
		for j := range 2 {
			c.awaitMetadata(j, "the level counts", func(image *metadata.Image) bool {
				return image.FeatureLevel(controller.TransactionVersionFeature) == level && image.FeatureLevel(metadata.ELRVersionFeature) == min(level, 1)
			})
		}
	}
}
