package metadata

import (
	"iter"
	"slices"

	"github.com/tidwall/btree"

	"github.com/moldau/moldau/internal/kafka"
)

// Names of the features with finalized levels that this package itself looks at.
const (
	MetadataVersionFeature = "metadata.version"
	ELRVersionFeature      = "eligible.leader.replicas.version"
)

// Image is the state of the cluster's metadata after one record of the metadata log. It is
// immutable; what it returns is shared and must not be modified. Two images share all parts
// that did not change between them. Iteration is in the order of the keys.
type Image struct {
	Offset int64 // of the last record included, -1 for none
	Epoch  int32 // in which that record was written

	features       *btree.Map[string, int16]
	brokers        *btree.Map[int32, *Broker]
	controllers    *btree.Map[int32, *Controller]
	topicsByName   *btree.Map[string, *Topic]
	topicsByID     *btree.Map[string, *Topic]
	configs        *btree.Map[string, *resourceConfig]
	quotas         *btree.Map[string, *ClientQuota]
	nextProducerID int64
}

// Broker is a registered broker.
type Broker struct {
	ID                   int32
	Epoch                int64
	IncarnationID        kafka.UUID
	Endpoints            []Endpoint
	Features             []SupportedFeature
	Rack                 *string
	IsMigratingZkBroker  bool
	Fenced               bool
	InControlledShutdown bool
	LogDirs              []kafka.UUID // ascending
	CordonedLogDirs      []kafka.UUID // nil: not known
}

// Endpoint returns the broker's endpoint of a listener.
func (b *Broker) Endpoint(listener string) (Endpoint, bool) {
	for _, e := range b.Endpoints {
		if e.Name == listener {
			return e, true
		}
	}
	return Endpoint{}, false
}

// FeatureRange returns the levels of a feature that the broker supports; 0 to 0 of one it does not know.
func (b *Broker) FeatureRange(name string) (lowest, highest int16) {
	return featureRange(b.Features, name)
}

func featureRange(features []SupportedFeature, name string) (lowest, highest int16) {
	for _, f := range features {
		if f.Name == name {
			return f.MinVersion, f.MaxVersion
		}
	}
	return 0, 0
}

// Active reports whether the broker may lead partitions and be given new ones.
func (b *Broker) Active() bool { return !b.Fenced && !b.InControlledShutdown }

// IsCordoned reports whether all log dirs of the broker are closed to new replicas (KIP-1066).
func (b *Broker) IsCordoned() bool {
	return len(b.LogDirs) > 0 && !slices.ContainsFunc(b.LogDirs, func(id kafka.UUID) bool { return !slices.Contains(b.CordonedLogDirs, id) })
}

// Controller is a registered controller.
type Controller struct {
	ID               int32
	IncarnationID    kafka.UUID
	ZkMigrationReady bool
	Endpoints        []Endpoint
	Features         []SupportedFeature
}

// FeatureRange returns the levels of a feature that the controller supports; 0 to 0 of one it does not know.
func (c *Controller) FeatureRange(name string) (lowest, highest int16) {
	return featureRange(c.Features, name)
}

// Topic is one incarnation of a topic. Partitions ascend by ID without gaps.
type Topic struct {
	Name       string
	ID         kafka.UUID
	Partitions []*Partition
}

// Partition returns the partition with the given index, or nil.
func (t *Topic) Partition(id int32) *Partition {
	if id >= 0 && int(id) < len(t.Partitions) && t.Partitions[id].ID == id {
		return t.Partitions[id]
	}
	i, ok := slices.BinarySearchFunc(t.Partitions, id, comparePartition)
	if !ok {
		return nil
	}
	return t.Partitions[i]
}

func comparePartition(p *Partition, id int32) int { return int(int64(p.ID) - int64(id)) }

// Partition is the controller's view of one partition.
type Partition struct {
	ID                  int32
	Replicas            []int32 // preferred leader first
	Directories         []kafka.UUID
	ISR                 []int32
	RemovingReplicas    []int32
	AddingReplicas      []int32
	ELR                 []int32
	LastKnownELR        []int32
	Leader              int32 // kafka.NoLeader for none
	LeaderRecoveryState int8
	LeaderEpoch         int32
	PartitionEpoch      int32
	// Balancing says that the balancer has begun the reassignment that is under way, and not an operator.
	Balancing bool
}

// Directory returns the log directory that hosts broker's replica.
func (p *Partition) Directory(broker int32) (kafka.UUID, bool) {
	i := slices.Index(p.Replicas, broker)
	if i < 0 || i >= len(p.Directories) {
		return kafka.UUID{}, false
	}
	return p.Directories[i], true
}

// IsReassigning reports whether replicas are being added or removed.
func (p *Partition) IsReassigning() bool { return len(p.AddingReplicas)+len(p.RemovingReplicas) > 0 }

// HasOnlineDirectory reports whether the broker can use the log directory of a replica, as far as
// the metadata says (KIP-858).
func (b *Broker) HasOnlineDirectory(id kafka.UUID) bool {
	switch id {
	case kafka.DirectoryUnassigned, kafka.DirectoryMigrating:
		return true
	case kafka.DirectoryLost:
		return false
	}
	return len(b.LogDirs) == 0 || slices.Contains(b.LogDirs, id)
}

// HasFailedDirectory reports whether the broker's replica of a partition is in a log directory that the broker cannot use; not
// where nothing is known of it.
func (b *Broker) HasFailedDirectory(p *Partition) bool {
	directory, isKnown := p.Directory(b.ID)
	return isKnown && !b.HasOnlineDirectory(directory)
}

type resourceConfig struct {
	resource kafka.ConfigResource
	values   map[string]string
}

func configKey(r kafka.ConfigResource) string { return string([]byte{byte(r.Type)}) + r.Name }

// EmptyImage returns the image before the first record.
func EmptyImage() *Image {
	return &Image{
		Offset:       -1,
		features:     btree.NewMap[string, int16](0),
		brokers:      btree.NewMap[int32, *Broker](0),
		controllers:  btree.NewMap[int32, *Controller](0),
		topicsByName: btree.NewMap[string, *Topic](0),
		topicsByID:   btree.NewMap[string, *Topic](0),
		configs:      btree.NewMap[string, *resourceConfig](0),
		quotas:       btree.NewMap[string, *ClientQuota](0),
	}
}

// fork returns a map that can be changed without m noticing. btree's own Copy also gives the
// source a new isolation id, and that write to a published image would race with others who
// copy it; so it goes to a copy of the head. The new map's id is fresh, hence on no node yet,
// and nothing is written under it any more once its image is built.
func fork[K string | int32, V any](m *btree.Map[K, V]) *btree.Map[K, V] {
	head := *m
	return head.Copy()
}

func values[K string | int32, V any](m *btree.Map[K, V]) iter.Seq[V] {
	return func(yield func(V) bool) {
		m.Scan(func(_ K, v V) bool { return yield(v) })
	}
}

// HasFeature reports whether a record has set the level of a feature, be it to 0, which is off.
func (i *Image) HasFeature(name string) bool {
	_, ok := i.features.Get(name)
	return ok
}

// FeatureLevel returns the finalized level of a feature, 0 where it has none.
func (i *Image) FeatureLevel(name string) int16 {
	level, _ := i.features.Get(name)
	return level
}

// Features iterates over the features with a level by name, also those turned off with level 0.
func (i *Image) Features() iter.Seq2[string, int16] {
	return func(yield func(string, int16) bool) { i.features.Scan(yield) }
}

// Broker returns a registered broker, or nil.
func (i *Image) Broker(id int32) *Broker {
	b, _ := i.brokers.Get(id)
	return b
}

// Brokers iterates over the registered brokers by id, fenced ones too.
func (i *Image) Brokers() iter.Seq[*Broker] { return values(i.brokers) }

// BrokerCount returns the number of registered brokers.
func (i *Image) BrokerCount() int { return i.brokers.Len() }

// Controller returns a registered controller, or nil.
func (i *Image) Controller(id int32) *Controller {
	c, _ := i.controllers.Get(id)
	return c
}

// Controllers iterates over the registered controllers by id.
func (i *Image) Controllers() iter.Seq[*Controller] { return values(i.controllers) }

// TopicByName returns a topic, or nil.
func (i *Image) TopicByName(name string) *Topic {
	t, _ := i.topicsByName.Get(name)
	return t
}

// TopicByID returns a topic, or nil.
func (i *Image) TopicByID(id kafka.UUID) *Topic {
	t, _ := i.topicsByID.Get(string(id[:]))
	return t
}

// Topics iterates over the topics by name.
func (i *Image) Topics() iter.Seq[*Topic] { return values(i.topicsByName) }

// TopicsFrom iterates by name over the topics whose name is at least from.
func (i *Image) TopicsFrom(from string) iter.Seq[*Topic] {
	return func(yield func(*Topic) bool) {
		i.topicsByName.Ascend(from, func(_ string, t *Topic) bool { return yield(t) })
	}
}

// TopicCount returns the number of topics.
func (i *Image) TopicCount() int { return i.topicsByName.Len() }

// Partition returns one partition of a topic, or nil.
func (i *Image) Partition(topic string, partition int32) *Partition {
	if t := i.TopicByName(topic); t != nil {
		return t.Partition(partition)
	}
	return nil
}

// Config returns the explicitly set configs of a resource (nil for none). Read only.
func (i *Image) Config(r kafka.ConfigResource) map[string]string {
	if c, ok := i.configs.Get(configKey(r)); ok {
		return c.values
	}
	return nil
}

// ConfigResources iterates over the resources with at least one config, by type and name.
func (i *Image) ConfigResources() iter.Seq[kafka.ConfigResource] {
	return func(yield func(kafka.ConfigResource) bool) {
		i.configs.Scan(func(_ string, c *resourceConfig) bool { return yield(c.resource) })
	}
}

// NextProducerID returns the first producer id that no block has handed out yet.
func (i *Image) NextProducerID() int64 { return i.nextProducerID }
