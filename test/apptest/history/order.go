package history

import (
	"maps"
	"slices"
	"time"
)

// place is where a value is.
type place struct {
	key   Key
	value int64
}

// slot is an offset of a partition.
type slot struct {
	key    Key
	offset int64
}

// index is what the checks know of a history.
type index struct {
	operations []*Operation
	writer     map[place]*Operation
	readers    map[place][]*Operation
	// values are those that are known to be visible at an offset: more than one is an anomaly.
	values map[slot][]int64
	// offsets are the visible ones of a key, ascending.
	offsets map[Key][]int64
	// places are all offsets of a visible value.
	places map[place][]int64
	// maxRead is the highest offset of a key that anybody has read.
	maxRead map[Key]int64
}

func newIndex(operations []*Operation) *index {
	x := &index{operations: operations, writer: map[place]*Operation{}, readers: map[place][]*Operation{}, values: map[slot][]int64{}, offsets: map[Key][]int64{},
		places: map[place][]int64{}, maxRead: map[Key]int64{}}
	for _, o := range operations {
		o.sends(func(m *Message, _ bool) { x.writer[place{m.Key, m.Value}] = o })
		o.reads(func(m *Message, _ time.Duration) {
			at := place{m.Key, m.Value}
			if readers := x.readers[at]; len(readers) == 0 || readers[len(readers)-1] != o {
				x.readers[at] = append(readers, o)
			}
			if last, ok := x.maxRead[m.Key]; !ok || m.Offset > last {
				x.maxRead[m.Key] = m.Offset
			}
			x.note(m)
		})
	}
	for _, o := range operations {
		o.sends(func(m *Message, acked bool) {
			if m.Offset != Unknown && x.committed(o, m, acked) {
				x.note(m)
			}
		})
	}
	for at := range x.values {
		x.offsets[at.key] = append(x.offsets[at.key], at.offset)
	}
	for _, offsets := range x.offsets {
		slices.Sort(offsets)
	}
	return x
}

func (x *index) note(m *Message) {
	at := slot{m.Key, m.Offset}
	if slices.Contains(x.values[at], m.Value) {
		return
	}
	x.values[at] = append(x.values[at], m.Value)
	x.places[place{m.Key, m.Value}] = append(x.places[place{m.Key, m.Value}], m.Offset)
}

func (x *index) wasRead(key Key, value int64) bool { return len(x.readers[place{key, value}]) > 0 }

// committed reports whether a message that was sent must be visible: it was acknowledged and its transaction, if
// there is one, has committed. Of a transaction with an unknown end one visible message proves all of them.
func (x *index) committed(o *Operation, m *Message, acked bool) bool {
	if !o.Transactional {
		return acked || x.wasRead(m.Key, m.Value)
	}
	if o.Outcome != Info {
		return o.Outcome == OK
	}
	proven := false
	o.sends(func(m *Message, _ bool) { proven = proven || x.wasRead(m.Key, m.Value) })
	return proven
}

// between returns the offsets of a key that are visible and lie strictly between two others.
func (x *index) between(key Key, from, to int64) []int64 {
	offsets := x.offsets[key]
	first, _ := slices.BinarySearch(offsets, from+1)
	end, _ := slices.BinarySearch(offsets, to)
	return offsets[first:max(first, end)]
}

func sortedKeys[V any](m map[Key]V) []Key { return slices.Sorted(maps.Keys(m)) }
