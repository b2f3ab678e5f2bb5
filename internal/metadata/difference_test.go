package metadata

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/moldau/moldau/internal/kafka"
)

// rebuilt is an image as a snapshot of it gives it: equal, and sharing nothing.
func rebuilt(t *testing.T, image *Image) *Image {
	t.Helper()
	d := NewDelta(EmptyImage())
	if err := image.WriteTo(func(r Record) error {
		again, err := Decode(Encode(r))
		if err != nil {
			return err
		}
		return d.Replay(again)
	}); err != nil {
		t.Fatal(err)
	}
	return d.Apply(image.Offset, image.Epoch)
}

// TestDifferenceLeadsFromOneImageToAnother takes images of random histories, of the same and of
// unrelated ones, and applies what differs between them.
func TestDifferenceLeadsFromOneImageToAnother(t *testing.T) {
	t.Parallel()
	for range 6 {
		seed := rand.Uint64()
		random := rand.New(rand.NewPCG(seed, 0))
		var images []*Image
		for range 2 {
			h := &history{random: random, image: EmptyImage()}
			images = append(images, h.image)
			for range 120 {
				h.image, _ = apply(t, h.image, h.records()...)
				if random.IntN(20) == 0 {
					images = append(images, h.image)
				}
			}
		}
		for range 40 {
			old, target := images[random.IntN(len(images))], images[random.IntN(len(images))]
			snapshot := rebuilt(t, target)
			d := Difference(old, snapshot)
			got := d.Apply(snapshot.Offset, snapshot.Epoch)
			if want := dump(t, target); dump(t, got) != want || got.Offset != target.Offset || got.Epoch != target.Epoch {
				t.Fatalf("seed %d: the difference leads to offset %d\n%s\nwant offset %d\n%s", seed, got.Offset, dump(t, got), target.Offset, want)
			}
			if problem := notExact(d, old, got); problem != "" {
				t.Fatalf("seed %d: %s", seed, problem)
			}
			if d.IsEmpty() != (dump(t, old) == dump(t, target)) {
				t.Fatalf("seed %d: empty is %v from\n%s\nto\n%s", seed, d.IsEmpty(), dump(t, old), dump(t, target))
			}
		}
	}
}

// notExact says where what a publisher sees is not what differs between the images.
func notExact(d *Delta, old, target *Image) string {
	if d.Base() != old {
		return "the delta has another base"
	}
	for _, problem := range []string{
		notExactTopics(d, old, target),
		unequal("features", keyed(d.ChangedFeatures(), func(c FeatureChange) string { return c.Name }), differing(maps.Collect(old.Features()), maps.Collect(target.Features()))),
		unequal("brokers", keyed(d.ChangedBrokers(), func(c BrokerChange) string { return fmt.Sprint(c.ID) }),
			differing(nodesOf(old.brokers.Keys(), old.Broker), nodesOf(target.brokers.Keys(), target.Broker))),
		unequal("controllers", slices.Collect(maps.Keys(nodesOf(slices.Collect(maps.Keys(d.controllers)), target.Controller))),
			differing(nodesOf(old.controllers.Keys(), old.Controller), nodesOf(target.controllers.Keys(), target.Controller))),
		unequal("configs", keyed(d.ChangedConfigs(), func(c ConfigChange) string { return fmt.Sprint(c.Resource) }), differing(configsOf(old), configsOf(target))),
		unequal("quotas", slices.Collect(maps.Keys(d.quotas)), differing(quotasOf(old), quotasOf(target))),
	} {
		if problem != "" {
			return problem
		}
	}
	for _, c := range d.ChangedBrokers() {
		if c.Old != old.Broker(c.ID) || c.New != target.Broker(c.ID) {
			return fmt.Sprintf("broker %d is not what the images have", c.ID)
		}
	}
	for _, c := range d.ChangedConfigs() {
		if !maps.Equal(c.Old, old.Config(c.Resource)) || !maps.Equal(c.New, target.Config(c.Resource)) {
			return fmt.Sprintf("the configs of %v are not what the images have", c.Resource)
		}
	}
	return ""
}

func notExactTopics(d *Delta, old, target *Image) string {
	names := func(topics []*Topic) (all []string) {
		for _, topic := range topics {
			all = append(all, topic.Name+" "+topic.ID.String())
		}
		return all
	}
	partitions := func(image *Image) map[string]any {
		all := map[string]any{}
		for topic := range image.Topics() {
			for _, p := range topic.Partitions {
				all[fmt.Sprint(topic.Name, topic.ID, p.ID)] = *p.Record(topic.ID)
			}
		}
		return all
	}
	topics := func(image *Image) map[string]bool {
		all := map[string]bool{}
		for topic := range image.Topics() {
			all[topic.Name+" "+topic.ID.String()] = true
		}
		return all
	}
	var created, deleted []string
	for name := range topics(target) {
		if !topics(old)[name] {
			created = append(created, name)
		}
	}
	for name := range topics(old) {
		if !topics(target)[name] {
			deleted = append(deleted, name)
		}
	}
	for _, c := range d.ChangedPartitions() {
		before, after := old.TopicByID(c.TopicID), target.TopicByID(c.TopicID)
		if c.Old == nil && c.New == nil || c.Old != nil && before.Partition(c.ID) != c.Old || c.New != nil && after.Partition(c.ID) != c.New {
			return fmt.Sprintf("partition %s-%d is not what the images have", c.Topic, c.ID)
		}
	}
	for _, problem := range []string{
		unequal("created topics", names(d.CreatedTopics()), created),
		unequal("deleted topics", names(d.DeletedTopics()), deleted),
		unequal("partitions", keyed(d.ChangedPartitions(), func(c PartitionChange) string { return fmt.Sprint(c.Topic, c.TopicID, c.ID) }), differing(partitions(old), partitions(target))),
	} {
		if problem != "" {
			return problem
		}
	}
	return ""
}

func keyed[C any](changes []C, key func(C) string) (keys []string) {
	for _, c := range changes {
		keys = append(keys, key(c))
	}
	return keys
}

// differing are the keys under which the maps do not have the same.
func differing[V any](old, target map[string]V) (keys []string) {
	for key, before := range old {
		if after, ok := target[key]; !ok || !reflect.DeepEqual(before, after) {
			keys = append(keys, key)
		}
	}
	for key := range target {
		if _, ok := old[key]; !ok {
			keys = append(keys, key)
		}
	}
	return keys
}

func nodesOf[N any](ids []int32, node func(int32) *N) map[string]any {
	all := map[string]any{}
	for _, id := range ids {
		all[fmt.Sprint(id)] = node(id)
	}
	return all
}

func configsOf(image *Image) map[string]map[string]string {
	all := map[string]map[string]string{}
	for r := range image.ConfigResources() {
		all[fmt.Sprint(r)] = image.Config(r)
	}
	return all
}

func quotasOf(image *Image) map[string]map[string]float64 {
	all := map[string]map[string]float64{}
	for q := range image.ClientQuotas() {
		all[quotaEntityKey(q.Entity)] = q.Limits
	}
	return all
}

func unequal(what string, got, want []string) string {
	slices.Sort(got)
	slices.Sort(want)
	if got, want = slices.Compact(got), slices.Compact(want); !slices.Equal(got, want) {
		return fmt.Sprintf("the delta has the %s %q, the images differ in %q", what, got, want)
	}
	return ""
}

func TestDifferenceNamesWhatIsGone(t *testing.T) {
	t.Parallel()
	user, value := "u", "1"
	old, _ := apply(t, EmptyImage(), &TopicRecord{Name: "gone", TopicID: id(1)}, partition(1, 0),
		&TopicRecord{Name: "again", TopicID: id(2)}, partition(2, 0), &RegisterBrokerRecord{BrokerID: 1}, &RegisterControllerRecord{ControllerID: 1},
		&ConfigRecord{ResourceType: kafka.ConfigResourceTopic, ResourceName: "gone", Name: "c", Value: &value}, &FeatureLevelRecord{Name: "f", FeatureLevel: 1},
		&ClientQuotaRecord{Entity: []QuotaEntityPart{{Type: QuotaUser, Name: &user}}, Key: "k", Value: 1}, &ProducerIDsRecord{NextProducerID: 1000})
	target, _ := apply(t, EmptyImage(), &TopicRecord{Name: "again", TopicID: id(3)}, partition(3, 0))
	d := Difference(old, target)
	if got := dump(t, d.Apply(5, 1)); got != dump(t, target) {
		t.Errorf("applied:\n%s", got)
	}
	if created, deleted := topicNames(d.CreatedTopics()), topicNames(d.DeletedTopics()); created != "again" || deleted != "again gone" {
		t.Errorf("created %q, deleted %q", created, deleted)
	}
	if brokers := d.ChangedBrokers(); len(brokers) != 1 || brokers[0].New != nil {
		t.Errorf("brokers are %+v", brokers)
	}
	if features := d.ChangedFeatures(); !reflect.DeepEqual(features, []FeatureChange{{"f", 1, 0}}) {
		t.Errorf("features are %+v", features)
	}
	if configs := d.ChangedConfigs(); len(configs) != 1 || configs[0].New != nil || configs[0].Old["c"] != "1" {
		t.Errorf("configs are %+v", configs)
	}
	if !d.ChangesQuotas() || d.nextProducerID != 0 {
		t.Error("the quota or the producer ids stay")
	}
}
