package replica

import (
	"iter"
	"maps"
	"slices"

	"github.com/moldau/moldau/internal/kafka"
)

// table is replicas by topic and partition: what a request asks for is mostly of few topics, and a
// number is found sooner than a name.
type table map[string]map[int32]*Replica

func (t table) get(tp kafka.TopicPartition) *Replica { return t[tp.Topic][tp.Partition] }

func (t table) put(tp kafka.TopicPartition, r *Replica) {
	of := t[tp.Topic]
	if of == nil {
		of = map[int32]*Replica{}
		t[tp.Topic] = of
	}
	of[tp.Partition] = r
}

func (t table) remove(tp kafka.TopicPartition) {
	delete(t[tp.Topic], tp.Partition)
	if len(t[tp.Topic]) == 0 {
		delete(t, tp.Topic)
	}
}

// inOrder returns all replicas, by topic and partition.
func (t table) inOrder() []*Replica {
	var all []*Replica
	for _, topic := range slices.Sorted(maps.Keys(t)) {
		of := t[topic]
		for _, id := range slices.Sorted(maps.Keys(of)) {
			all = append(all, of[id])
		}
	}
	return all
}

func (t table) all() iter.Seq2[kafka.TopicPartition, *Replica] {
	return func(yield func(kafka.TopicPartition, *Replica) bool) {
		for topic, of := range t {
			for id, r := range of {
				if !yield(kafka.TopicPartition{Topic: topic, Partition: id}, r) {
					return
				}
			}
		}
	}
}
