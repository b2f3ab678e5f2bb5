package metadata

import (
	"cmp"
	"maps"
	"slices"

	"github.com/tidwall/btree"

	"github.com/moldau/moldau/internal/kafka"
)

// Delta collects what records change about an image: make one with NewDelta, Replay the
// records, then Apply; or take the Difference of two images. What it returns is in a fixed order
// and must not be modified.
type Delta struct {
	base    *Image
	applied bool

	features       map[string]int16      // level, 0 is off; featureGone
	brokers        map[int32]*Broker     // nil removes
	controllers    map[int32]*Controller // nil removes
	topics         map[kafka.UUID]*topicDelta
	deletedTopics  map[kafka.UUID]*Topic // of the base image
	createdNames   map[string]kafka.UUID // topics that exist only in the delta
	configs        map[string]*ConfigChange
	quotas         map[string]*ClientQuota // after the delta; without limits: removed
	nextProducerID int64
}

// topicDelta is a topic that was created or changed. topic is private to the delta.
type topicDelta struct {
	base    *Topic // nil for a created topic
	topic   *Topic
	changed map[int32]struct{} // partition ids
}

// NewDelta returns a Delta without changes.
func NewDelta(base *Image) *Delta {
	return &Delta{
		base:           base,
		features:       map[string]int16{},
		brokers:        map[int32]*Broker{},
		controllers:    map[int32]*Controller{},
		topics:         map[kafka.UUID]*topicDelta{},
		deletedTopics:  map[kafka.UUID]*Topic{},
		createdNames:   map[string]kafka.UUID{},
		configs:        map[string]*ConfigChange{},
		quotas:         map[string]*ClientQuota{},
		nextProducerID: base.nextProducerID,
	}
}

// Base returns the image that the Delta starts from.
func (d *Delta) Base() *Image { return d.base }

// IsEmpty reports whether no record changed anything.
func (d *Delta) IsEmpty() bool {
	return len(d.features)+len(d.brokers)+len(d.controllers)+len(d.topics)+len(d.deletedTopics)+len(d.configs)+len(d.quotas) == 0 &&
		d.nextProducerID == d.base.nextProducerID
}

// Apply returns the image with the changes, whose last record is at offset and was written
// in epoch. It ends the Delta: nothing can be replayed any more.
func (d *Delta) Apply(offset int64, epoch int32) *Image {
	d.applied = true
	image := *d.base
	image.Offset, image.Epoch, image.nextProducerID = offset, epoch, d.nextProducerID
	if len(d.features) > 0 {
		image.features = fork(image.features)
		for name, level := range d.features {
			if level == featureGone {
				image.features.Delete(name)
			} else {
				image.features.Set(name, level)
			}
		}
	}
	image.brokers = applyNodes(image.brokers, d.brokers)
	image.controllers = applyNodes(image.controllers, d.controllers)
	d.applyTopics(&image)
	d.applyQuotas(&image)
	if len(d.configs) > 0 {
		image.configs = fork(image.configs)
		for key, change := range d.configs {
			if len(change.New) == 0 {
				image.configs.Delete(key)
			} else {
				image.configs.Set(key, &resourceConfig{change.Resource, change.New})
			}
		}
	}
	return &image
}

func applyNodes[N any](nodes *btree.Map[int32, *N], changes map[int32]*N) *btree.Map[int32, *N] {
	if len(changes) == 0 {
		return nodes
	}
	nodes = fork(nodes)
	for id, node := range changes {
		if node == nil {
			nodes.Delete(id)
		} else {
			nodes.Set(id, node)
		}
	}
	return nodes
}

func (d *Delta) applyTopics(image *Image) {
	if len(d.topics)+len(d.deletedTopics) == 0 {
		return
	}
	image.topicsByName, image.topicsByID = fork(image.topicsByName), fork(image.topicsByID)
	for id, topic := range d.deletedTopics {
		image.topicsByID.Delete(string(id[:]))
		image.topicsByName.Delete(topic.Name)
	}
	for id, changed := range d.topics {
		image.topicsByID.Set(string(id[:]), changed.topic)
		image.topicsByName.Set(changed.topic.Name, changed.topic)
	}
}

// CreatedTopics returns the topics that the Delta created and did not delete again, by name.
func (d *Delta) CreatedTopics() []*Topic {
	var created []*Topic
	for _, t := range d.topics {
		if t.base == nil {
			created = append(created, t.topic)
		}
	}
	slices.SortFunc(created, compareTopics)
	return created
}

// DeletedTopics returns the base image's topics that are gone, by name. A topic of the same
// name may be among CreatedTopics, with another id.
func (d *Delta) DeletedTopics() []*Topic {
	return slices.SortedFunc(maps.Values(d.deletedTopics), compareTopics)
}

func compareTopics(a, b *Topic) int { return cmp.Compare(a.Name, b.Name) }

// PartitionChange is a partition before and after a Delta: Old is nil for a new partition,
// New is nil for one whose topic was deleted.
type PartitionChange struct {
	Topic   string
	TopicID kafka.UUID
	ID      int32
	Old     *Partition
	New     *Partition
}

// ChangedPartitions returns every partition that was created, changed or deleted, those of
// deleted topics included: deletions first, then by topic name and partition.
func (d *Delta) ChangedPartitions() []PartitionChange {
	var changes []PartitionChange
	for _, t := range d.DeletedTopics() {
		for _, p := range t.Partitions {
			changes = append(changes, PartitionChange{Topic: t.Name, TopicID: t.ID, ID: p.ID, Old: p})
		}
	}
	changed := slices.SortedFunc(maps.Values(d.topics), func(a, b *topicDelta) int { return compareTopics(a.topic, b.topic) })
	for _, t := range changed {
		for _, id := range slices.Sorted(maps.Keys(t.changed)) {
			change := PartitionChange{Topic: t.topic.Name, TopicID: t.topic.ID, ID: id, New: t.topic.Partition(id)}
			if t.base != nil {
				change.Old = t.base.Partition(id)
			}
			changes = append(changes, change)
		}
	}
	return changes
}

// ConfigChange is the explicitly set configs of one resource before and after a Delta.
type ConfigChange struct {
	Resource kafka.ConfigResource
	Old      map[string]string
	New      map[string]string
}

// ChangedConfigs returns the resources whose configs records touched, by type and name.
func (d *Delta) ChangedConfigs() []ConfigChange {
	var changes []ConfigChange
	for _, key := range slices.Sorted(maps.Keys(d.configs)) {
		changes = append(changes, *d.configs[key])
	}
	return changes
}

// BrokerChange is a broker before (nil: new) and after (nil: unregistered) a Delta.
type BrokerChange struct {
	ID  int32
	Old *Broker
	New *Broker
}

// ChangedBrokers returns the brokers that were registered, changed or unregistered, by id.
func (d *Delta) ChangedBrokers() []BrokerChange {
	var changes []BrokerChange
	for _, id := range slices.Sorted(maps.Keys(d.brokers)) {
		changes = append(changes, BrokerChange{ID: id, Old: d.base.Broker(id), New: d.brokers[id]})
	}
	return changes
}

// FeatureChange is a finalized feature level before and after a Delta; 0 is none.
type FeatureChange struct {
	Name string
	Old  int16
	New  int16
}

// ChangedFeatures returns the features whose level records stated, by name.
func (d *Delta) ChangedFeatures() []FeatureChange {
	var changes []FeatureChange
	for _, name := range slices.Sorted(maps.Keys(d.features)) {
		changes = append(changes, FeatureChange{Name: name, Old: d.base.FeatureLevel(name), New: max(0, d.features[name])})
	}
	return changes
}
