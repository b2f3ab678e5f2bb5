package metadata

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/kafka"
)

func text(s string) *string { return &s }

func topicNames(topics []*Topic) string {
	var names []string
	for _, t := range topics {
		names = append(names, t.Name)
	}
	return strings.Join(names, " ")
}

func TestDeltaListsItsChanges(t *testing.T) {
	t.Parallel()
	topicConfig := kafka.ConfigResource{Type: kafka.ConfigResourceTopic, Name: "old"}
	base, _ := apply(t, EmptyImage(),
		&TopicRecord{Name: "old", TopicID: id(1)}, partition(1, 0), partition(1, 1),
		&TopicRecord{Name: "kept", TopicID: id(2)}, partition(2, 0), partition(2, 1),
		&ConfigRecord{ResourceType: topicConfig.Type, ResourceName: "old", Name: "c", Value: text("1")},
		&RegisterBrokerRecord{BrokerID: 1, BrokerEpoch: 5, Fenced: true},
		&FeatureLevelRecord{Name: "f", FeatureLevel: 1})
	change := NewPartitionChangeRecord(id(2), 1)
	change.Leader = kafka.NoLeader
	image, d := apply(t, base,
		&RemoveTopicRecord{TopicID: id(1)},
		&TopicRecord{Name: "old", TopicID: id(3)}, partition(3, 0),
		&TopicRecord{Name: "brief", TopicID: id(4)}, partition(4, 0), &RemoveTopicRecord{TopicID: id(4)},
		&TopicRecord{Name: "again", TopicID: id(5)},
		change,
		&BrokerRegistrationChangeRecord{BrokerID: 1, BrokerEpoch: 5, Fenced: FencingUnfence},
		&RegisterBrokerRecord{BrokerID: 0},
		&ConfigRecord{ResourceType: kafka.ConfigResourceBroker, ResourceName: "", Name: "b", Value: text("2")},
		&FeatureLevelRecord{Name: "f", FeatureLevel: 0}, &FeatureLevelRecord{Name: "e", FeatureLevel: 2})

	if d.IsEmpty() || d.Base() != base {
		t.Error("the delta is empty or has another base")
	}
	if got := topicNames(d.CreatedTopics()); got != "again old" {
		t.Errorf("created: %q", got)
	}
	if deleted := d.DeletedTopics(); topicNames(deleted) != "old" || deleted[0].ID != id(1) {
		t.Errorf("deleted: %+v", deleted)
	}
	var partitions []string
	for _, c := range d.ChangedPartitions() {
		partitions = append(partitions, fmt.Sprintf("%s/%d-%d %t %t", c.Topic, c.TopicID[2], c.ID, c.Old != nil, c.New != nil))
	}
	if got, want := strings.Join(partitions, ", "), "old/1-0 true false, old/1-1 true false, kept/2-1 true true, old/3-0 false true"; got != want {
		t.Errorf("partitions are %s, want %s", got, want)
	}
	kept := image.Partition("kept", 1)
	if kept.Leader != kafka.NoLeader || kept.LeaderEpoch != 1 || kept.PartitionEpoch != 1 || base.Partition("kept", 1).Leader != 1 {
		t.Errorf("kept-1 is %+v", kept)
	}
	wantConfigs := []ConfigChange{
		{Resource: topicConfig, Old: map[string]string{"c": "1"}},
		{Resource: kafka.ConfigResource{Type: kafka.ConfigResourceBroker}, New: map[string]string{"b": "2"}},
	}
	if got := d.ChangedConfigs(); !reflect.DeepEqual(got, wantConfigs) {
		t.Errorf("configs are %+v", got)
	}
	brokers := d.ChangedBrokers()
	if len(brokers) != 2 || brokers[0].Old != nil || brokers[1].Old.Fenced == brokers[1].New.Fenced {
		t.Errorf("brokers are %+v", brokers)
	}
	if got, want := d.ChangedFeatures(), []FeatureChange{{"e", 0, 2}, {"f", 1, 0}}; !reflect.DeepEqual(got, want) {
		t.Errorf("features are %+v", got)
	}
}

func TestConfigsAreSetAndRemoved(t *testing.T) {
	t.Parallel()
	resource := kafka.ConfigResource{Type: kafka.ConfigResourceTopic, Name: "t"}
	set := func(name string, value *string) Record {
		return &ConfigRecord{ResourceType: resource.Type, ResourceName: resource.Name, Name: name, Value: value}
	}
	one, _ := apply(t, EmptyImage(), set("a", text("1")), set("b", text("")))
	two, _ := apply(t, one, set("a", nil))
	three, _ := apply(t, two, set("b", nil))
	if got := one.Config(resource); len(got) != 2 || got["a"] != "1" {
		t.Errorf("first %v", got)
	}
	if got := two.Config(resource); !reflect.DeepEqual(got, map[string]string{"b": ""}) {
		t.Errorf("then %v", got)
	}
	for r := range three.ConfigResources() {
		t.Errorf("%v is left with %v", r, three.Config(r))
	}
}

func TestClearELR(t *testing.T) {
	t.Parallel()
	withELR := func(topic int) *PartitionRecord {
		p := partition(topic, 0)
		p.EligibleLeaderReplicas, p.LastKnownELR = []int32{2}, []int32{3}
		return p
	}
	base, _ := apply(t, EmptyImage(), &TopicRecord{Name: "a", TopicID: id(1)}, withELR(1), &TopicRecord{Name: "b", TopicID: id(2)}, withELR(2))
	one, _ := apply(t, base, &ClearELRRecord{TopicName: "a"})
	if one.Partition("a", 0).hasELR() || !one.Partition("b", 0).hasELR() || one.Partition("a", 0).PartitionEpoch != 0 {
		t.Error("not exactly topic a was cleared")
	}
	all, d := apply(t, base, &TopicRecord{Name: "c", TopicID: id(3)}, withELR(3), &RemoveTopicRecord{TopicID: id(1)}, &ClearELRRecord{})
	if all.Partition("b", 0).hasELR() || all.Partition("c", 0).hasELR() || all.TopicByName("a") != nil || len(d.ChangedPartitions()) != 3 {
		t.Errorf("changes are %+v", d.ChangedPartitions())
	}
}

func TestOldRecordsGetMigratingDirectories(t *testing.T) {
	t.Parallel()
	old := partition(1, 0)
	old.Replicas, old.Directories = []int32{1, 2}, nil
	image, _ := apply(t, EmptyImage(), &TopicRecord{Name: "a", TopicID: id(1)}, old)
	want := []kafka.UUID{kafka.DirectoryMigrating, kafka.DirectoryMigrating}
	if got := image.Partition("a", 0).Directories; !reflect.DeepEqual(got, want) {
		t.Errorf("directories are %v", got)
	}
}

func TestReplayRefusesContradictions(t *testing.T) {
	t.Parallel()
	base, _ := apply(t, EmptyImage(), &TopicRecord{Name: "t", TopicID: id(1)}, partition(1, 0), &RegisterBrokerRecord{BrokerID: 1, BrokerEpoch: 5})
	badDirectories := partition(1, 1)
	badDirectories.Directories = []kafka.UUID{{1}, {2}}
	badState := NewPartitionChangeRecord(id(1), 0)
	badState.LeaderRecoveryState = 4
	tests := []struct {
		name    string
		records []Record
		want    string
	}{
		{"topic that exists", []Record{&TopicRecord{Name: "t", TopicID: id(2)}}, "already exists"},
		{"topic created twice", []Record{&TopicRecord{Name: "u", TopicID: id(2)}, &TopicRecord{Name: "u", TopicID: id(3)}}, "already exists"},
		{"topic id taken", []Record{&TopicRecord{Name: "u", TopicID: id(1)}}, "already taken"},
		{"partition of no topic", []Record{partition(9, 0)}, "is unknown"},
		{"partition of a deleted topic", []Record{&RemoveTopicRecord{TopicID: id(1)}, partition(1, 1)}, "is unknown"},
		{"negative partition", []Record{partition(1, -1)}, "negative"},
		{"directories that do not match", []Record{badDirectories}, "2 directories for 1 replicas"},
		{"change of no partition", []Record{NewPartitionChangeRecord(id(1), 3)}, "does not exist"},
		{"unknown recovery state", []Record{badState}, "leader recovery state 4"},
		{"deleted twice", []Record{&RemoveTopicRecord{TopicID: id(1)}, &RemoveTopicRecord{TopicID: id(1)}}, "is unknown"},
		{"ELR of no topic", []Record{&ClearELRRecord{TopicName: "x"}}, "is unknown"},
		{"ELR of a deleted topic", []Record{&RemoveTopicRecord{TopicID: id(1)}, &ClearELRRecord{TopicName: "t"}}, "is unknown"},
		{"unregistered broker", []Record{&UnfenceBrokerRecord{ID: 2}}, "not registered"},
		{"broker of another epoch", []Record{&FenceBrokerRecord{ID: 1, Epoch: 4}}, "epoch 5"},
		{"unregistered twice", []Record{&UnregisterBrokerRecord{BrokerID: 1, BrokerEpoch: 5}, &UnregisterBrokerRecord{BrokerID: 1, BrokerEpoch: 5}}, "not registered"},
		{"fencing change", []Record{&BrokerRegistrationChangeRecord{BrokerID: 1, BrokerEpoch: 5, Fenced: 2}}, "fencing change 2"},
		{"shutdown change", []Record{&BrokerRegistrationChangeRecord{BrokerID: 1, BrokerEpoch: 5, InControlledShutdown: 2}}, "shutdown change 2"},
		{"endpoint without name", []Record{&RegisterBrokerRecord{Endpoints: []Endpoint{{}}}}, "listener name"},
		{"metadata.version of the future", []Record{&FeatureLevelRecord{Name: MetadataVersionFeature, FeatureLevel: 31}}, "not supported"},
		{"negative feature level", []Record{&FeatureLevelRecord{Name: "f", FeatureLevel: -1}}, "level -1"},
		{"aborted transaction", []Record{&AbortTransactionRecord{}}, "not supported"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := NewDelta(base)
			last := len(test.records) - 1
			for _, r := range test.records[:last] {
				if err := d.Replay(r); err != nil {
					t.Fatal(err)
				}
			}
			err := d.Replay(test.records[last])
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), test.records[last].Type().String()) {
				t.Errorf("error is %v, want %q", err, test.want)
			}
		})
	}
}

func TestFencing(t *testing.T) {
	t.Parallel()
	base, _ := apply(t, EmptyImage(), &RegisterBrokerRecord{BrokerID: 1, BrokerEpoch: 5, Fenced: true})
	up, _ := apply(t, base, &UnfenceBrokerRecord{ID: 1, Epoch: 5})
	down, _ := apply(t, up, &FenceBrokerRecord{ID: 1, Epoch: 5})
	if base.Broker(1).Active() || !up.Broker(1).Active() || down.Broker(1).Active() {
		t.Error("fencing has no effect, or one on an older image")
	}
}
