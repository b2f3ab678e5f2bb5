package metadata

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/moldau/moldau/internal/kafka"
)

// Replay adds one record's change. An error means that the log contradicts itself or is
// newer than this program; the Delta is of no further use then.
func (d *Delta) Replay(record Record) error {
	if d.applied {
		panic("BUG: a record is replayed into a metadata delta that has been applied")
	}
	var err error
	switch r := record.(type) {
	case *RegisterBrokerRecord:
		err = d.replayRegisterBroker(r)
	case *UnregisterBrokerRecord:
		if _, err = d.brokerAt(r.BrokerID, r.BrokerEpoch); err == nil {
			d.brokers[r.BrokerID] = nil
		}
	case *FenceBrokerRecord:
		err = d.replayFencing(r.ID, r.Epoch, true)
	case *UnfenceBrokerRecord:
		err = d.replayFencing(r.ID, r.Epoch, false)
	case *BrokerRegistrationChangeRecord:
		err = d.replayBrokerChange(r)
	case *RegisterControllerRecord:
		d.controllers[r.ControllerID] = &Controller{ID: r.ControllerID, IncarnationID: r.IncarnationID,
			ZkMigrationReady: r.ZkMigrationReady, Endpoints: r.Endpoints, Features: r.Features}
	case *TopicRecord:
		err = d.replayTopic(r)
	case *PartitionRecord:
		err = d.replayPartition(r)
	case *PartitionChangeRecord:
		err = d.replayPartitionChange(r)
	case *RemoveTopicRecord:
		err = d.replayRemoveTopic(r)
	case *ClearELRRecord:
		err = d.replayClearELR(r)
	case *ConfigRecord:
		d.replayConfig(r)
	case *ClientQuotaRecord:
		d.replayClientQuota(r)
	case *FeatureLevelRecord:
		err = d.replayFeature(r)
	case *ProducerIDsRecord:
		d.nextProducerID = r.NextProducerID
	case *NoOpRecord:
	default:
		// Metadata transactions: Moldau writes a change as one batch instead, and taking
		// their records one by one would show an aborted one.
		err = fmt.Errorf("records of this type are not supported here")
	}
	if err != nil {
		return fmt.Errorf("cannot replay %s: %w", record.Type(), err)
	}
	return nil
}

func (d *Delta) broker(id int32) *Broker {
	if b, ok := d.brokers[id]; ok {
		return b
	}
	return d.base.Broker(id)
}

func (d *Delta) brokerAt(id int32, epoch int64) (*Broker, error) {
	b := d.broker(id)
	if b == nil {
		return nil, fmt.Errorf("broker %d is not registered", id)
	}
	if b.Epoch != epoch {
		return nil, fmt.Errorf("broker %d has epoch %d, the record is for epoch %d", id, b.Epoch, epoch)
	}
	return b, nil
}

func (d *Delta) replayRegisterBroker(r *RegisterBrokerRecord) error {
	for _, e := range r.Endpoints {
		if e.Name == "" {
			return fmt.Errorf("broker %d has an endpoint without a listener name", r.BrokerID)
		}
	}
	d.brokers[r.BrokerID] = &Broker{
		ID:                   r.BrokerID,
		Epoch:                r.BrokerEpoch,
		IncarnationID:        r.IncarnationID,
		Endpoints:            r.Endpoints,
		Features:             r.Features,
		Rack:                 r.Rack,
		IsMigratingZkBroker:  r.IsMigratingZkBroker,
		Fenced:               r.Fenced,
		InControlledShutdown: r.InControlledShutdown,
		LogDirs:              sortedUUIDs(r.LogDirs),
		CordonedLogDirs:      r.CordonedLogDirs,
	}
	return nil
}

func sortedUUIDs(ids []kafka.UUID) []kafka.UUID {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, func(a, b kafka.UUID) int { return bytes.Compare(a[:], b[:]) })
	return ids
}

func (d *Delta) replayFencing(id int32, epoch int64, fenced bool) error {
	b, err := d.brokerAt(id, epoch)
	if err != nil {
		return err
	}
	changed := *b
	changed.Fenced = fenced
	d.brokers[id] = &changed
	return nil
}

func (d *Delta) replayBrokerChange(r *BrokerRegistrationChangeRecord) error {
	b, err := d.brokerAt(r.BrokerID, r.BrokerEpoch)
	if err != nil {
		return err
	}
	changed := *b
	switch r.Fenced {
	case FencingNoChange:
	case FencingFence, FencingUnfence:
		changed.Fenced = r.Fenced == FencingFence
	default:
		return fmt.Errorf("fencing change %d is unknown", r.Fenced)
	}
	switch r.InControlledShutdown {
	case 0:
	case 1:
		changed.InControlledShutdown = true
	default:
		return fmt.Errorf("controlled shutdown change %d is unknown", r.InControlledShutdown)
	}
	if len(r.LogDirs) > 0 {
		changed.LogDirs = sortedUUIDs(r.LogDirs)
	}
	if r.CordonedLogDirs != nil {
		changed.CordonedLogDirs = r.CordonedLogDirs
	}
	d.brokers[r.BrokerID] = &changed
	return nil
}

func (d *Delta) replayTopic(r *TopicRecord) error {
	_, created := d.createdNames[r.Name]
	if existing := d.base.TopicByName(r.Name); existing != nil && d.deletedTopics[existing.ID] == nil || created {
		return fmt.Errorf("topic %q already exists", r.Name)
	}
	if d.topics[r.TopicID] != nil || d.base.TopicByID(r.TopicID) != nil {
		return fmt.Errorf("topic id %s of topic %q is already taken", r.TopicID, r.Name)
	}
	d.topics[r.TopicID] = &topicDelta{topic: &Topic{Name: r.Name, ID: r.TopicID}, changed: map[int32]struct{}{}}
	d.createdNames[r.Name] = r.TopicID
	return nil
}

// changedTopic returns the delta's own copy of a topic.
func (d *Delta) changedTopic(id kafka.UUID) (*topicDelta, error) {
	if t := d.topics[id]; t != nil {
		return t, nil
	}
	base := d.base.TopicByID(id)
	if base == nil || d.deletedTopics[id] != nil {
		return nil, fmt.Errorf("topic id %s is unknown", id)
	}
	t := &topicDelta{
		base:    base,
		topic:   &Topic{Name: base.Name, ID: base.ID, Partitions: slices.Clone(base.Partitions)},
		changed: map[int32]struct{}{},
	}
	d.topics[id] = t
	return t, nil
}

func (t *topicDelta) set(p *Partition) {
	i, found := slices.BinarySearchFunc(t.topic.Partitions, p.ID, comparePartition)
	if found {
		t.topic.Partitions[i] = p
	} else {
		t.topic.Partitions = slices.Insert(t.topic.Partitions, i, p)
	}
	t.changed[p.ID] = struct{}{}
}

func (d *Delta) replayPartition(r *PartitionRecord) error {
	t, err := d.changedTopic(r.TopicID)
	if err != nil {
		return err
	}
	if r.PartitionID < 0 {
		return fmt.Errorf("topic %q: partition id %d is negative", t.topic.Name, r.PartitionID)
	}
	p := &Partition{
		ID:                  r.PartitionID,
		Replicas:            r.Replicas,
		Directories:         directoriesOrMigrating(r.Directories, len(r.Replicas)),
		ISR:                 r.ISR,
		RemovingReplicas:    r.RemovingReplicas,
		AddingReplicas:      r.AddingReplicas,
		ELR:                 r.EligibleLeaderReplicas,
		LastKnownELR:        r.LastKnownELR,
		Balancing:           r.Balancing,
		Leader:              r.Leader,
		LeaderRecoveryState: r.LeaderRecoveryState,
		LeaderEpoch:         r.LeaderEpoch,
		PartitionEpoch:      r.PartitionEpoch,
	}
	if err := p.check(); err != nil {
		return fmt.Errorf("%s-%d: %w", t.topic.Name, r.PartitionID, err)
	}
	t.set(p)
	return nil
}

func (d *Delta) replayPartitionChange(r *PartitionChangeRecord) error {
	t, err := d.changedTopic(r.TopicID)
	if err != nil {
		return err
	}
	old := t.topic.Partition(r.PartitionID)
	if old == nil {
		return fmt.Errorf("%s-%d does not exist", t.topic.Name, r.PartitionID)
	}
	p, err := old.Merge(r)
	if err != nil {
		return fmt.Errorf("%s-%d: %w", t.topic.Name, r.PartitionID, err)
	}
	t.set(p)
	return nil
}

// Merge returns the partition with a change made: each raises the partition epoch, and one that names
// a leader the leader epoch, too.
func (p *Partition) Merge(r *PartitionChangeRecord) (*Partition, error) {
	merged := *p
	merged.PartitionEpoch++
	if r.Leader != NoLeaderChange {
		merged.Leader = r.Leader
		merged.LeaderEpoch++
	}
	if r.LeaderRecoveryState != NoLeaderRecoveryStateChange {
		merged.LeaderRecoveryState = r.LeaderRecoveryState
	}
	replaceIfGiven(&merged.Replicas, r.Replicas)
	replaceIfGiven(&merged.ISR, r.ISR)
	replaceIfGiven(&merged.RemovingReplicas, r.RemovingReplicas)
	replaceIfGiven(&merged.AddingReplicas, r.AddingReplicas)
	if r.AddingReplicas != nil || r.RemovingReplicas != nil {
		merged.Balancing = r.Balancing
	}
	replaceIfGiven(&merged.ELR, r.EligibleLeaderReplicas)
	replaceIfGiven(&merged.LastKnownELR, r.LastKnownELR)
	if r.Directories != nil {
		merged.Directories = r.Directories
	}
	merged.Directories = directoriesOrMigrating(merged.Directories, len(merged.Replicas))
	return &merged, merged.check()
}

func replaceIfGiven(list *[]int32, replacement []int32) {
	if replacement != nil {
		*list = replacement
	}
}

// directoriesOrMigrating fills in what records from before directory ids (KIP-858) lack.
func directoriesOrMigrating(dirs []kafka.UUID, replicas int) []kafka.UUID {
	if slices.ContainsFunc(dirs, func(id kafka.UUID) bool { return id != kafka.DirectoryMigrating }) {
		return dirs
	}
	return slices.Repeat([]kafka.UUID{kafka.DirectoryMigrating}, replicas)
}

func (p *Partition) check() error {
	if len(p.Directories) != len(p.Replicas) {
		return fmt.Errorf("%d directories for %d replicas", len(p.Directories), len(p.Replicas))
	}
	if p.LeaderRecoveryState != RecoveredLeader && p.LeaderRecoveryState != RecoveringLeader {
		return fmt.Errorf("leader recovery state %d is unknown", p.LeaderRecoveryState)
	}
	return nil
}

func (d *Delta) replayRemoveTopic(r *RemoveTopicRecord) error {
	base := d.base.TopicByID(r.TopicID)
	if d.deletedTopics[r.TopicID] != nil {
		base = nil
	}
	var name string
	switch t := d.topics[r.TopicID]; {
	case t != nil:
		name = t.topic.Name
	case base != nil:
		name = base.Name
	default:
		return fmt.Errorf("topic id %s is unknown", r.TopicID)
	}
	delete(d.topics, r.TopicID)
	if base != nil {
		d.deletedTopics[r.TopicID] = base
	} else {
		delete(d.createdNames, name)
	}
	resource := kafka.ConfigResource{Type: kafka.ConfigResourceTopic, Name: name}
	change := d.configs[configKey(resource)]
	if old := d.base.Config(resource); change != nil || old != nil {
		d.configs[configKey(resource)] = &ConfigChange{Resource: resource, Old: old}
	}
	return nil
}

func (d *Delta) replayClearELR(r *ClearELRRecord) error {
	if r.TopicName != "" {
		id, created := d.createdNames[r.TopicName]
		if !created {
			base := d.base.TopicByName(r.TopicName)
			if base == nil || d.deletedTopics[base.ID] != nil {
				return fmt.Errorf("topic %q is unknown", r.TopicName)
			}
			id = base.ID
		}
		return d.clearELR(id)
	}
	for t := range d.base.Topics() {
		if d.deletedTopics[t.ID] == nil && (d.topics[t.ID] != nil || slices.ContainsFunc(t.Partitions, (*Partition).hasELR)) {
			if err := d.clearELR(t.ID); err != nil {
				return err
			}
		}
	}
	for _, id := range d.createdNames {
		if err := d.clearELR(id); err != nil {
			return err
		}
	}
	return nil
}

func (p *Partition) hasELR() bool { return len(p.ELR)+len(p.LastKnownELR) > 0 }

func (d *Delta) clearELR(id kafka.UUID) error {
	t, err := d.changedTopic(id)
	if err != nil {
		return err
	}
	for _, p := range t.topic.Partitions {
		if p.hasELR() {
			cleared := *p
			cleared.ELR, cleared.LastKnownELR = nil, nil
			t.set(&cleared)
		}
	}
	return nil
}

func (d *Delta) replayConfig(r *ConfigRecord) {
	resource := kafka.ConfigResource{Type: r.ResourceType, Name: r.ResourceName}
	key := configKey(resource)
	change := d.configs[key]
	if change == nil {
		old := d.base.Config(resource)
		change = &ConfigChange{Resource: resource, Old: old, New: maps.Clone(old)}
		d.configs[key] = change
	}
	if r.Value == nil {
		delete(change.New, r.Name)
		return
	}
	if change.New == nil {
		change.New = map[string]string{}
	}
	change.New[r.Name] = *r.Value
}

func (d *Delta) replayFeature(r *FeatureLevelRecord) error {
	if r.Name == MetadataVersionFeature && (r.FeatureLevel < MinMetadataVersion || r.FeatureLevel > LatestMetadataVersion) {
		return fmt.Errorf("metadata.version %d is not supported; levels %d to %d are", r.FeatureLevel, MinMetadataVersion, LatestMetadataVersion)
	}
	if r.FeatureLevel < 0 {
		return fmt.Errorf("feature %q has level %d", r.Name, r.FeatureLevel)
	}
	d.features[r.Name] = r.FeatureLevel
	return nil
}
