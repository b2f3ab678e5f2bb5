package metadata

import (
	"maps"
	"slices"

	"github.com/moldau/moldau/internal/kafka"
)

// WriteTo emits the records of a snapshot: replayed into an empty image they give this one.
// The feature levels come first, because the metadata.version says how to read the rest.
// It stops at emit's first error and returns it.
func (i *Image) WriteTo(emit func(Record) error) error {
	w := recordWriter{emit: emit}
	if level := i.FeatureLevel(MetadataVersionFeature); level != 0 {
		w.put(&FeatureLevelRecord{Name: MetadataVersionFeature, FeatureLevel: level})
	}
	for name, level := range i.Features() {
		if name != MetadataVersionFeature {
			w.put(&FeatureLevelRecord{Name: name, FeatureLevel: level})
		}
	}
	for b := range i.Brokers() {
		w.put(b.record())
	}
	for c := range i.Controllers() {
		w.put(&RegisterControllerRecord{ControllerID: c.ID, IncarnationID: c.IncarnationID,
			ZkMigrationReady: c.ZkMigrationReady, Endpoints: c.Endpoints, Features: c.Features})
	}
	for t := range i.Topics() {
		w.put(&TopicRecord{Name: t.Name, TopicID: t.ID})
		for _, p := range t.Partitions {
			w.put(p.Record(t.ID))
		}
	}
	for resource := range i.ConfigResources() {
		values := i.Config(resource)
		for _, name := range slices.Sorted(maps.Keys(values)) {
			value := values[name]
			w.put(&ConfigRecord{ResourceType: resource.Type, ResourceName: resource.Name, Name: name, Value: &value})
		}
	}
	for q := range i.ClientQuotas() {
		q.records(w.put)
	}
	if i.nextProducerID != 0 {
		w.put(&ProducerIDsRecord{BrokerID: -1, BrokerEpoch: -1, NextProducerID: i.nextProducerID})
	}
	return w.err
}

type recordWriter struct {
	emit func(Record) error
	err  error
}

func (w *recordWriter) put(r Record) {
	if w.err == nil {
		w.err = w.emit(r)
	}
}

func (b *Broker) record() *RegisterBrokerRecord {
	return &RegisterBrokerRecord{
		BrokerID:             b.ID,
		IsMigratingZkBroker:  b.IsMigratingZkBroker,
		IncarnationID:        b.IncarnationID,
		BrokerEpoch:          b.Epoch,
		Endpoints:            b.Endpoints,
		Features:             b.Features,
		Rack:                 b.Rack,
		Fenced:               b.Fenced,
		InControlledShutdown: b.InControlledShutdown,
		LogDirs:              b.LogDirs,
		CordonedLogDirs:      b.CordonedLogDirs,
	}
}

// Record returns the record that states the partition in full.
func (p *Partition) Record(topicID kafka.UUID) *PartitionRecord {
	r := &PartitionRecord{
		PartitionID:         p.ID,
		TopicID:             topicID,
		Replicas:            p.Replicas,
		ISR:                 p.ISR,
		RemovingReplicas:    p.RemovingReplicas,
		AddingReplicas:      p.AddingReplicas,
		Leader:              p.Leader,
		LeaderRecoveryState: p.LeaderRecoveryState,
		LeaderEpoch:         p.LeaderEpoch,
		PartitionEpoch:      p.PartitionEpoch,
		Directories:         p.Directories,
	}
	r.Balancing = p.Balancing
	if len(p.ELR) > 0 { // tagged fields: absent costs nothing
		r.EligibleLeaderReplicas = p.ELR
	}
	if len(p.LastKnownELR) > 0 {
		r.LastKnownELR = p.LastKnownELR
	}
	return r
}
