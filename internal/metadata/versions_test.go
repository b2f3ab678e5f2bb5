package metadata

import (
	"bytes"
	"testing"

	"github.com/moldau/moldau/internal/kafka"
)

// The schema version of every kind of record at the levels of metadata.version around which it changes, as
// Apache Kafka 4.3 writes it.
func TestRecordVersionsOfLevels(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		r    Record
		want map[int16]int16 // by level
	}{
		{&RegisterBrokerRecord{}, map[int16]int16{7: 1, 8: 2, 16: 2, 17: 3, 29: 3, 30: 4}},
		{&PartitionRecord{}, map[int16]int16{7: 0, 16: 0, 17: 1, 22: 1, 23: 2, 30: 2}},
		{NewPartitionChangeRecord(kafka.UUID{}, 0), map[int16]int16{7: 0, 16: 0, 17: 1, 22: 1, 23: 2, 30: 2}},
		{&TopicRecord{}, map[int16]int16{7: 0, 30: 0}},
		{&RegisterControllerRecord{}, map[int16]int16{15: 0, 30: 0}},
	} {
		for level, want := range c.want {
			if _, got, err := DecodeVersioned(EncodeAt(c.r, level)); err != nil || got != want {
				t.Errorf("%s at metadata.version %d has version %d, want %d (%v)", c.r.Type(), level, got, want, err)
			}
		}
		if !bytes.Equal(Encode(c.r), EncodeAt(c.r, LatestMetadataVersion)) {
			t.Errorf("%s: Encode does not write the latest level", c.r.Type())
		}
	}
}

// A level may fall as long as none between says more than the one before it.
func TestLosesMetadata(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from, to int16
		want     bool
	}{{30, 30, false}, {30, 29, true}, {29, 23, false}, {29, 22, true}, {22, 17, false}, {17, 16, true}, {13, 12, true}, {12, 11, false}, {10, 8, false}, {8, 7, true}} {
		if got := LosesMetadata(c.from, c.to); got != c.want {
			t.Errorf("from %d to %d: %v", c.from, c.to, got)
		}
	}
}

// A snapshot of a cluster of an old level is one that old releases read.
func TestSnapshotOfAnOldLevel(t *testing.T) {
	t.Parallel()
	delta := NewDelta(EmptyImage())
	for _, r := range []Record{
		&FeatureLevelRecord{Name: MetadataVersionFeature, FeatureLevel: 14},
		&RegisterBrokerRecord{BrokerID: 1, LogDirs: nil},
		&TopicRecord{Name: "t", TopicID: kafka.UUID{1}},
		&PartitionRecord{TopicID: kafka.UUID{1}, Replicas: []int32{1}, ISR: []int32{1}, Leader: 1},
	} {
		if err := delta.Replay(r); err != nil {
			t.Fatal(err)
		}
	}
	image := delta.Apply(3, 1)
	again := NewDelta(EmptyImage())
	err := image.WriteTo(func(r Record) error {
		decoded, err := Decode(EncodeAt(r, image.MetadataVersion()))
		if err != nil {
			return err
		}
		return again.Replay(decoded)
	})
	if err != nil {
		t.Fatal(err)
	}
	p := again.Apply(3, 1).TopicByName("t").Partition(0)
	if d, _ := p.Directory(1); d != kafka.DirectoryMigrating || p.Leader != 1 {
		t.Errorf("%+v", p)
	}
}
