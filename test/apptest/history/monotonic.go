package history

import (
	"slices"
	"time"
)

// step compares the offset of a client's read with that of the read before: the next visible one must follow.
func (x *index) step(key Key, from, to int64) (backwards bool, skipped []int64) {
	if to <= from {
		return true, nil
	}
	return false, x.between(key, from, to)
}

// pollsAdvance follows every consumer through its polls. Within an operation and from one to the next a key's
// offsets go on without a step back and without leaving anything out, as long as the consumer keeps the key:
// a rebalance ends that, and so does an assignment without the key. A consumer that assigns itself goes on from
// where it was; one of a group goes back to what was committed when its transaction fails.
func (x *index) pollsAdvance(r *Result) {
	last := map[int]map[Key]int64{}
	for _, o := range x.operations {
		position := last[o.Process]
		if position == nil {
			position = map[Key]int64{}
			last[o.Process] = position
		}
		if o.Kind == Assign || o.Kind == Subscribe {
			for key := range position {
				if o.Outcome != Fail && !slices.Contains(o.Keys, key) {
					delete(position, key)
				}
			}
			continue
		}
		for _, key := range o.Rebalanced {
			delete(position, key)
		}
		within := map[Key]int64{}
		o.reads(func(m *Message, _ time.Duration) {
			if !slices.Contains(o.Rebalanced, m.Key) {
				if from, ok := within[m.Key]; ok {
					x.report(r, o, m, from, InternalNonMonotonicPoll, InternalPollSkip)
				} else if from, ok := position[m.Key]; ok {
					x.report(r, o, m, from, NonMonotonicPoll, PollSkip)
				}
			}
			within[m.Key] = m.Offset
		})
		for key, offset := range within {
			switch {
			case o.Group == "" || !o.Transactional || o.Outcome == OK:
				position[key] = offset
			case o.Outcome == Info:
				delete(position, key) // the group's offset has moved, or it has not
			}
		}
	}
}

func (x *index) report(r *Result, o *Operation, m *Message, from int64, back, skip Anomaly) {
	backwards, skipped := x.step(m.Key, from, m.Offset)
	if backwards {
		r.add(back, "key %d: offset %d after %d in %v", m.Key, m.Offset, from, o)
	} else if len(skipped) > 0 {
		r.add(skip, "key %d: from offset %d to %d without %d others (first %d) in %v", m.Key, from, m.Offset, len(skipped), skipped[0], o)
	}
}

// sendsAdvance follows every producer through its sends: what it sends later to a key gets a higher offset.
func (x *index) sendsAdvance(r *Result) {
	type sent struct {
		process int
		key     Key
	}
	last := map[sent]int64{}
	for _, o := range x.operations {
		within := map[Key]int64{}
		o.sends(func(m *Message, acked bool) {
			offset, ok := x.offsetOf(o, m, acked)
			if !ok {
				return
			}
			if from, ok := within[m.Key]; ok {
				backwards, skipped := x.step(m.Key, from, offset)
				if backwards {
					r.add(InternalNonMonotonicSend, "key %d: offset %d after %d in %v", m.Key, offset, from, o)
				} else if len(skipped) > 0 {
					r.add(InternalSendSkip, "key %d: from offset %d to %d in %v", m.Key, from, offset, o)
				}
			} else if from, ok := last[sent{o.Process, m.Key}]; ok && offset <= from {
				r.add(NonMonotonicSend, "key %d: offset %d after %d in %v", m.Key, offset, from, o)
			}
			within[m.Key] = offset
		})
		for key, offset := range within {
			last[sent{o.Process, key}] = offset
		}
	}
}

// offsetOf returns where a message that was sent is: as the broker answered, or else as others have read it. A
// producer that is not idempotent may have sent it more than once, and who knows which one they read.
func (x *index) offsetOf(o *Operation, m *Message, acked bool) (int64, bool) {
	if m.Offset != Unknown {
		return m.Offset, x.committed(o, m, acked)
	}
	if places := x.places[place{m.Key, m.Value}]; len(places) == 1 && !o.Repeats {
		return places[0], true
	}
	return 0, false
}
