package history

import (
	"fmt"
	"slices"
	"time"
)

// Anomaly names something that a log must not do.
type Anomaly string

// The anomalies. Those of Allowed are counted and are none in a log of Kafka's kind.
const (
	LostWrite                Anomaly = "lost write"
	Unseen                   Anomaly = "unseen after the drain"
	Vanished                 Anomaly = "read once, and gone in the end"
	InconsistentOffsets      Anomaly = "inconsistent offsets"
	Duplicate                Anomaly = "duplicate"
	AbortedRead              Anomaly = "aborted read (G1a)"
	IntermediateRead         Anomaly = "intermediate read (G1b)"
	CircularFlow             Anomaly = "circular information flow (G1c)"
	ReadFromFuture           Anomaly = "circular information flow with real time (G1c-realtime)"
	PrecommittedRead         Anomaly = "precommitted read"
	UnwrittenRead            Anomaly = "read of what nobody sent"
	NonMonotonicPoll         Anomaly = "non-monotonic poll"
	PollSkip                 Anomaly = "poll skip"
	InternalNonMonotonicPoll Anomaly = "internal non-monotonic poll"
	InternalPollSkip         Anomaly = "internal poll skip"
	NonMonotonicSend         Anomaly = "non-monotonic send"
	InternalNonMonotonicSend Anomaly = "internal non-monotonic send"
	ConsumedTwice            Anomaly = "consumed twice by one group's transactions"
	WriteCycle               Anomaly = "write cycle (G0)"
	InternalSendSkip         Anomaly = "internal send skip"
)

// Forbidden are the anomalies that a history must be free of.
var Forbidden = []Anomaly{LostWrite, Unseen, Vanished, InconsistentOffsets, Duplicate, AbortedRead, IntermediateRead, CircularFlow, ReadFromFuture, PrecommittedRead, UnwrittenRead,
	NonMonotonicPoll, PollSkip, InternalNonMonotonicPoll, InternalPollSkip, NonMonotonicSend, InternalNonMonotonicSend, ConsumedTwice}

// Allowed are normal in Kafka: records of several transactions lie between each other in a partition, so writes
// are not isolated. Jepsen counts and allows them too.
var Allowed = []Anomaly{WriteCycle, InternalSendSkip}

// maxExamples bounds what is kept of one anomaly.
const maxExamples = 8

// Finding is an anomaly with how often it is there, and examples.
type Finding struct {
	Count    int
	Examples []string
}

// Result says what is wrong with a history.
type Result struct {
	Findings map[Anomaly]*Finding
}

// Clean reports whether nothing is there that may not be.
func (r *Result) Clean() bool {
	return !slices.ContainsFunc(Forbidden, func(a Anomaly) bool { return r.Count(a) > 0 })
}

// Count is how often an anomaly was found.
func (r *Result) Count(a Anomaly) int {
	if f := r.Findings[a]; f != nil {
		return f.Count
	}
	return 0
}

func (r *Result) add(a Anomaly, format string, args ...any) {
	f := r.Findings[a]
	if f == nil {
		f = &Finding{}
		r.Findings[a] = f
	}
	f.Count++
	if len(f.Examples) < maxExamples {
		f.Examples = append(f.Examples, fmt.Sprintf(format, args...))
	}
}

// Check looks for all anomalies. The operations are in the order of their completion; drained says that consumers
// have read to the end after the last send.
func Check(operations []*Operation, drained bool) *Result {
	r := &Result{Findings: map[Anomaly]*Finding{}}
	x := newIndex(operations)
	x.offsetsAgree(r)
	if drained {
		x.writesAreThere(r)
		x.readsRemain(r)
	}
	x.readsAreCommitted(r)
	x.pollsAdvance(r)
	x.sendsAdvance(r)
	x.consumedOnce(r)
	x.cycles(r)
	return r
}

// offsetsAgree looks for offsets that hold several values, and values at several offsets.
func (x *index) offsetsAgree(r *Result) {
	for _, key := range sortedKeys(x.offsets) {
		seen := map[int64]bool{}
		for _, offset := range x.offsets[key] {
			values := x.values[slot{key, offset}]
			if len(values) > 1 {
				r.add(InconsistentOffsets, "key %d offset %d holds the values %v", key, offset, values)
			}
			for _, v := range values {
				at := place{key, v}
				if w := x.writer[at]; seen[v] || len(x.places[at]) < 2 || w != nil && w.Repeats {
					continue
				}
				seen[v] = true
				r.add(Duplicate, "key %d value %d is at the offsets %v; sent by %v", key, v, x.places[at], x.writer[at])
			}
		}
	}
}

// writesAreThere looks for messages that must be visible and that nobody has read: they are lost where somebody
// has read what lies behind them, and else unseen. Before a drain neither would say anything: consumers begin where
// they like.
func (x *index) writesAreThere(r *Result) {
	for _, o := range x.operations {
		o.sends(func(m *Message, acked bool) {
			if x.wasRead(m.Key, m.Value) || !x.committed(o, m, acked) {
				return
			}
			last, any := x.maxRead[m.Key]
			if any && m.Offset != Unknown && m.Offset <= last {
				r.add(LostWrite, "key %d offset %d value %d was never read, but offset %d was; sent by %v", m.Key, m.Offset, m.Value, last, o)
			} else {
				r.add(Unseen, "key %d offset %d value %d was never read; sent by %v", m.Key, m.Offset, m.Value, o)
			}
		})
	}
}

// readsRemain looks for what somebody has read and the consumers that read all in the end have not. Jepsen takes a
// message that was read for one that is safe; here the end is known.
func (x *index) readsRemain(r *Result) {
	final := map[place]bool{}
	complete := false
	for _, o := range x.operations {
		if o.Final {
			complete = true
			o.reads(func(m *Message, _ time.Duration) { final[place{m.Key, m.Value}] = true })
		}
	}
	for _, o := range x.operations {
		if !complete {
			break
		}
		o.reads(func(m *Message, _ time.Duration) {
			if at := (place{m.Key, m.Value}); !final[at] {
				final[at] = true
				r.add(Vanished, "key %d offset %d value %d; sent by %v, read by %v", m.Key, m.Offset, m.Value, x.writer[at], o)
			}
		})
	}
}

// readsAreCommitted looks for polls that returned what a failed transaction sent, what a transaction sent before
// it asked to commit, what the operation itself sent, and what nobody sent.
func (x *index) readsAreCommitted(r *Result) {
	for _, o := range x.operations {
		o.reads(func(m *Message, at time.Duration) {
			w := x.writer[place{m.Key, m.Value}]
			switch {
			case w == nil:
				r.add(UnwrittenRead, "key %d offset %d value %d; read by %v", m.Key, m.Offset, m.Value, o)
			case w == o && w.Transactional:
				r.add(PrecommittedRead, "key %d offset %d value %d in %v", m.Key, m.Offset, m.Value, o)
			case w.Outcome == Fail:
				r.add(AbortedRead, "key %d offset %d value %d; sent by %v, read by %v", m.Key, m.Offset, m.Value, w, o)
			case w.Transactional && at != 0 && (w.Committing == 0 || at < w.Committing):
				r.add(IntermediateRead, "key %d offset %d value %d at %.3f s; sent by %v, which asked to commit at %.3f s", m.Key, m.Offset, m.Value, at.Seconds(), w, w.Committing.Seconds())
			}
		})
	}
}

// consumedOnce looks for messages that two committed transactions of one group have consumed: the group's offsets
// commit with the transaction, so only one of them may.
func (x *index) consumedOnce(r *Result) {
	type consumed struct {
		group string
		at    slot
	}
	by := map[consumed]*Operation{}
	for _, o := range x.operations {
		if !o.Transactional || o.Group == "" || o.Outcome != OK {
			continue
		}
		o.reads(func(m *Message, _ time.Duration) {
			at := consumed{o.Group, slot{m.Key, m.Offset}}
			if before := by[at]; before != nil && before != o {
				r.add(ConsumedTwice, "group %s key %d offset %d by %v and %v", o.Group, m.Key, m.Offset, before, o)
			}
			by[at] = o
		})
	}
}
