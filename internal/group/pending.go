package group

import (
	"slices"

	"github.com/moldau/moldau/internal/kafka"
)

// pendingOffsets are offsets in open transactions: by producer, for the marker that ends one, and
// by group and partition, for readers that want to know whether an offset is about to change.
type pendingOffsets struct {
	byProducer map[int64]map[offsetKey]committedOffset
	byGroup    map[string]map[kafka.TopicPartition][]int64 // the producers with an offset for it
}

func newPendingOffsets() pendingOffsets {
	return pendingOffsets{byProducer: map[int64]map[offsetKey]committedOffset{}, byGroup: map[string]map[kafka.TopicPartition][]int64{}}
}

func (k offsetKey) topicPartition() kafka.TopicPartition {
	return kafka.TopicPartition{Topic: k.topic, Partition: k.partition}
}

func (p *pendingOffsets) put(producerID int64, k offsetKey, value committedOffset) {
	offsets := p.byProducer[producerID]
	if offsets == nil {
		offsets = map[offsetKey]committedOffset{}
		p.byProducer[producerID] = offsets
	}
	if _, again := offsets[k]; !again {
		of := p.byGroup[k.group]
		if of == nil {
			of = map[kafka.TopicPartition][]int64{}
			p.byGroup[k.group] = of
		}
		of[k.topicPartition()] = append(of[k.topicPartition()], producerID)
	}
	offsets[k] = value
}

// take removes a producer's offsets and returns them.
func (p *pendingOffsets) take(producerID int64) map[offsetKey]committedOffset {
	offsets := p.byProducer[producerID]
	delete(p.byProducer, producerID)
	for k := range offsets { // the order does not matter: each has its own place
		of := p.byGroup[k.group]
		left := slices.DeleteFunc(of[k.topicPartition()], func(id int64) bool { return id == producerID })
		if of[k.topicPartition()] = left; len(left) == 0 {
			p.dropPartition(k)
		}
	}
	return offsets
}

// remove removes every producer's offset of a partition.
func (p *pendingOffsets) remove(k offsetKey) {
	for _, id := range p.byGroup[k.group][k.topicPartition()] {
		offsets := p.byProducer[id]
		if delete(offsets, k); len(offsets) == 0 {
			delete(p.byProducer, id)
		}
	}
	p.dropPartition(k)
}

func (p *pendingOffsets) dropPartition(k offsetKey) {
	of := p.byGroup[k.group]
	if delete(of, k.topicPartition()); len(of) == 0 {
		delete(p.byGroup, k.group)
	}
}

func (p *pendingOffsets) has(k offsetKey) bool { return p.byGroup[k.group][k.topicPartition()] != nil }

func (p *pendingOffsets) hasGroup(id string) bool { return p.byGroup[id] != nil }
