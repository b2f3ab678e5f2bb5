package history

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Key is a partition of a topic, as a number.
type Key int32

// Unknown is the offset of a send that was not answered.
const Unknown int64 = -1

// Message is a record as a client sent or read it. Values are unique within a key.
type Message struct {
	Key    Key
	Offset int64
	Value  int64
}

// Kind says what an operation does.
type Kind uint8

// The kinds of operations.
const (
	Send      Kind = iota // sends only
	Poll                  // polls only
	Txn                   // both
	Assign                // the consumer's partitions are Keys from now on
	Subscribe             // the consumer's topics hold Keys; its group decides which of them it gets
)

func (k Kind) String() string {
	return [...]string{"send", "poll", "txn", "assign", "subscribe"}[k]
}

// Outcome is how an operation ended.
type Outcome uint8

// The outcomes.
const (
	OK   Outcome = iota // it happened
	Fail                // it did not, and never will
	Info                // nobody knows
)

func (o Outcome) String() string { return [...]string{"ok", "fail", "info"}[o] }

// Action is one send, or one poll with all that it returned, in the order in which it was returned.
type Action struct {
	Sent  *Message
	Acked bool // of a send: a broker acknowledged it, whatever became of the transaction
	Read  []Message
	At    time.Duration // of a poll: when it returned
}

// Operation is what one process did between Began and Ended. Times count from the start of the history.
type Operation struct {
	Process int
	Kind    Kind
	Outcome Outcome
	Began   time.Duration
	Ended   time.Duration
	Actions []Action
	Keys    []Key // of Assign and Subscribe

	// Transactional says that its sends are visible together or not at all; Committing is when the client
	// first asked for that, 0 for never.
	Transactional bool
	Committing    time.Duration
	// Group is the group of a subscribed consumer, empty for one that assigns itself.
	Group string
	// Rebalanced are the keys that the group took from the consumer or gave to it since its operation before.
	Rebalanced []Key
	// Final says that the poll belongs to a consumer that reads a whole partition after everything else.
	Final bool
	// Repeats says that the producer is not idempotent: what it sends may be there twice.
	Repeats bool
}

func (o *Operation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "process %d %s %s %.3f..%.3f s", o.Process, o.Kind, o.Outcome, o.Began.Seconds(), o.Ended.Seconds())
	for i, a := range o.Actions {
		if i == 6 {
			fmt.Fprintf(&b, " and %d more", len(o.Actions)-i)
			break
		}
		if a.Sent != nil {
			fmt.Fprintf(&b, " send(%d@%d=%d)", a.Sent.Key, a.Sent.Offset, a.Sent.Value)
			continue
		}
		fmt.Fprintf(&b, " poll(%s)", ranges(a.Read))
	}
	return b.String()
}

// ranges names the offsets of a poll by key.
func ranges(read []Message) string {
	var parts []string
	for i := 0; i < len(read); {
		j := i
		for j+1 < len(read) && read[j+1].Key == read[i].Key {
			j++
		}
		parts = append(parts, fmt.Sprintf("%d@%d..%d", read[i].Key, read[i].Offset, read[j].Offset))
		i = j + 1
	}
	return strings.Join(parts, " ")
}

// sends calls f with every send, in order.
func (o *Operation) sends(f func(m *Message, acked bool)) {
	for i := range o.Actions {
		if a := &o.Actions[i]; a.Sent != nil {
			f(a.Sent, a.Acked)
		}
	}
}

// reads calls f with every message that was polled, in order.
func (o *Operation) reads(f func(m *Message, at time.Duration)) {
	for i := range o.Actions {
		for j := range o.Actions[i].Read {
			f(&o.Actions[i].Read[j], o.Actions[i].At)
		}
	}
}

// Recorder gathers the operations of processes that run at the same time.
type Recorder struct {
	mu         sync.Mutex
	operations []*Operation
}

// Add records an operation that has completed.
func (r *Recorder) Add(o *Operation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.operations = append(r.operations, o)
}

// Operations returns all in the order of their completion.
func (r *Recorder) Operations() []*Operation {
	r.mu.Lock()
	defer r.mu.Unlock()
	sorted := slices.Clone(r.operations)
	slices.SortStableFunc(sorted, func(a, b *Operation) int { return cmp.Compare(a.Ended, b.Ended) })
	return sorted
}
