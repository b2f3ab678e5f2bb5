package metadata

import (
	"maps"
	"slices"

	"github.com/tidwall/btree"

	"github.com/moldau/moldau/internal/kafka"
)

// featureGone is the level in a Delta of a feature that the new image does not know any more. Only
// Difference uses it: no record makes an image forget a feature.
const featureGone int16 = -1

// Difference returns the Delta that leads from one image to another one, which came to be in another
// way: as the snapshot that takes the place of the log that old was made of. It names exactly what
// differs, and Apply gives an image that is equal to target. Nothing can be replayed into it.
func Difference(old, target *Image) *Delta {
	d := NewDelta(old)
	d.applied = true
	d.nextProducerID = target.nextProducerID
	merge(old.features, target.features, func(name string, before, after *int16) {
		switch {
		case after == nil:
			d.features[name] = featureGone
		case before == nil || *before != *after:
			d.features[name] = *after
		}
	})
	differentNodes(old.brokers, target.brokers, d.brokers, (*Broker).equal)
	differentNodes(old.controllers, target.controllers, d.controllers, (*Controller).equal)
	merge(old.topicsByID, target.topicsByID, func(_ string, before, after **Topic) { d.differentTopic(pointed(before), pointed(after)) })
	merge(old.configs, target.configs, func(key string, before, after **resourceConfig) {
		was, is := pointed(before), pointed(after)
		switch {
		case is == nil:
			d.configs[key] = &ConfigChange{Resource: was.resource, Old: was.values}
		case was == nil:
			d.configs[key] = &ConfigChange{Resource: is.resource, New: is.values}
		case !maps.Equal(was.values, is.values):
			d.configs[key] = &ConfigChange{Resource: is.resource, Old: was.values, New: is.values}
		}
	})
	merge(old.quotas, target.quotas, func(key string, before, after **ClientQuota) {
		was, is := pointed(before), pointed(after)
		switch {
		case is == nil:
			d.quotas[key] = &ClientQuota{Entity: was.Entity, Limits: map[string]float64{}}
		case was == nil || !maps.Equal(was.Limits, is.Limits):
			d.quotas[key] = is
		}
	})
	return d
}

// merge visits the keys of both maps in order, with what each has under them or nil.
func merge[K string | int32, V any](old, target *btree.Map[K, V], visit func(key K, before, after *V)) {
	a, b := old.Iter(), target.Iter()
	moreA, moreB := a.First(), b.First()
	for moreA || moreB {
		switch {
		case !moreB || moreA && a.Key() < b.Key():
			value := a.Value()
			visit(a.Key(), &value, nil)
			moreA = a.Next()
		case !moreA || b.Key() < a.Key():
			value := b.Value()
			visit(b.Key(), nil, &value)
			moreB = b.Next()
		default:
			before, after := a.Value(), b.Value()
			visit(a.Key(), &before, &after)
			moreA, moreB = a.Next(), b.Next()
		}
	}
}

func pointed[V any](p **V) *V {
	if p == nil {
		return nil
	}
	return *p
}

func differentNodes[N any](old, target *btree.Map[int32, *N], changes map[int32]*N, equal func(a, b *N) bool) {
	merge(old, target, func(id int32, before, after **N) {
		was, is := pointed(before), pointed(after)
		if was == nil || is == nil || !equal(was, is) {
			changes[id] = is
		}
	})
}

func (d *Delta) differentTopic(was, is *Topic) {
	if is != nil && was != nil && was.Name == is.Name {
		changed := map[int32]struct{}{}
		topic := &Topic{Name: is.Name, ID: is.ID, Partitions: slices.Clone(is.Partitions)}
		for i, p := range is.Partitions {
			if before := was.Partition(p.ID); before != nil && before.equal(p) {
				topic.Partitions[i] = before // shared with the old image
			} else {
				changed[p.ID] = struct{}{}
			}
		}
		for _, p := range was.Partitions {
			if is.Partition(p.ID) == nil {
				changed[p.ID] = struct{}{}
			}
		}
		if len(changed) > 0 {
			d.topics[is.ID] = &topicDelta{base: was, topic: topic, changed: changed}
		}
		return
	}
	if was != nil {
		d.deletedTopics[was.ID] = was
	}
	if is != nil {
		created := &topicDelta{topic: is, changed: map[int32]struct{}{}}
		for _, p := range is.Partitions {
			created.changed[p.ID] = struct{}{}
		}
		d.topics[is.ID] = created
		d.createdNames[is.Name] = is.ID
	}
}

func (p *Partition) equal(o *Partition) bool {
	return p == o || p.ID == o.ID && p.Leader == o.Leader && p.LeaderRecoveryState == o.LeaderRecoveryState &&
		p.LeaderEpoch == o.LeaderEpoch && p.PartitionEpoch == o.PartitionEpoch &&
		slices.Equal(p.Replicas, o.Replicas) && slices.Equal(p.Directories, o.Directories) && slices.Equal(p.ISR, o.ISR) &&
		slices.Equal(p.RemovingReplicas, o.RemovingReplicas) && slices.Equal(p.AddingReplicas, o.AddingReplicas) &&
		slices.Equal(p.ELR, o.ELR) && slices.Equal(p.LastKnownELR, o.LastKnownELR) && p.Balancing == o.Balancing
}

func (b *Broker) equal(o *Broker) bool {
	return b == o || b.ID == o.ID && b.Epoch == o.Epoch && b.IncarnationID == o.IncarnationID && b.Fenced == o.Fenced &&
		b.InControlledShutdown == o.InControlledShutdown && b.IsMigratingZkBroker == o.IsMigratingZkBroker && equalText(b.Rack, o.Rack) &&
		slices.Equal(b.Endpoints, o.Endpoints) && slices.Equal(b.Features, o.Features) && slices.Equal(b.LogDirs, o.LogDirs) &&
		equalCordons(b.CordonedLogDirs, o.CordonedLogDirs)
}

// equalCordons tells nil, which is not known, from none.
func equalCordons(a, b []kafka.UUID) bool { return (a == nil) == (b == nil) && slices.Equal(a, b) }

func equalText(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }

func (c *Controller) equal(o *Controller) bool {
	return c == o || c.ID == o.ID && c.IncarnationID == o.IncarnationID && c.ZkMigrationReady == o.ZkMigrationReady &&
		slices.Equal(c.Endpoints, o.Endpoints) && slices.Equal(c.Features, o.Features)
}
