package history

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// story is a hand-made history. Every operation takes a millisecond and follows the one before.
type story struct {
	operations []*Operation
}

func at(milliseconds int) time.Duration { return time.Duration(milliseconds) * time.Millisecond }

func (s *story) add(process int, kind Kind, outcome Outcome, actions ...Action) *Operation {
	began := at(len(s.operations) + 1)
	o := &Operation{Process: process, Kind: kind, Outcome: outcome, Began: began, Ended: began + at(1)/2, Actions: actions}
	for i := range o.Actions {
		o.Actions[i].At = o.Ended
	}
	s.operations = append(s.operations, o)
	return o
}

// txn is a transaction that asked to commit as it began.
func (s *story) txn(process int, outcome Outcome, actions ...Action) *Operation {
	o := s.add(process, Txn, outcome, actions...)
	o.Transactional, o.Committing = true, o.Began
	return o
}

func send(key Key, offset, value int64) Action {
	return Action{Sent: &Message{key, offset, value}, Acked: offset != Unknown}
}

// poll returns messages of one key, as pairs of offset and value.
func poll(key Key, pairs ...int64) (a Action) {
	for i := 0; i < len(pairs); i += 2 {
		a.Read = append(a.Read, Message{key, pairs[i], pairs[i+1]})
	}
	return a
}

// TestCheck tells a history with each anomaly and one without it that comes near.
func TestCheck(t *testing.T) {
	t.Parallel()
	const undrained = "undrained: "
	for name, test := range map[string]struct {
		tell func(s *story)
		want map[Anomaly]int
	}{
		"nothing is wrong": {func(s *story) {
			s.add(0, Send, OK, send(1, 0, 10), send(1, 1, 11))
			s.txn(1, OK, poll(1, 0, 10), send(1, 2, 12))
			s.add(2, Assign, OK).Keys = []Key{1}
			s.add(2, Poll, OK, poll(1, 0, 10, 1, 11))
			s.add(2, Poll, OK, poll(1, 2, 12))
		}, nil},

		"an acknowledged write is lost": {func(s *story) {
			s.add(0, Send, OK, send(1, 0, 10), send(1, 1, 11), send(1, 2, 12))
			s.add(1, Poll, OK, poll(1, 0, 10))
			s.add(2, Poll, OK, poll(1, 2, 12))
		}, map[Anomaly]int{LostWrite: 1}},
		"a write that was not acknowledged may be lost": {func(s *story) {
			s.add(0, Send, Info, send(1, Unknown, 10), send(1, 1, 11))
			s.add(1, Poll, OK, poll(1, 1, 11))
		}, nil},
		"one visible record of a transaction proves the others": {func(s *story) {
			s.txn(0, Info, send(1, 0, 10), send(2, 0, 20))
			s.add(3, Send, OK, send(2, 5, 21))
			s.add(1, Poll, OK, poll(1, 0, 10), poll(2, 5, 21))
		}, map[Anomaly]int{LostWrite: 1}},
		"a transaction with an unknown end may have failed": {func(s *story) {
			s.txn(0, Info, send(1, 0, 10), send(2, 0, 20))
			s.add(3, Send, OK, send(2, 5, 21))
			s.add(1, Poll, OK, poll(2, 5, 21))
		}, nil},

		"a write is unseen after the drain": {func(s *story) {
			s.add(0, Send, OK, send(1, 0, 10), send(1, 1, 11))
			s.add(1, Poll, OK, poll(1, 0, 10))
		}, map[Anomaly]int{Unseen: 1}},
		undrained + "nobody has read so far yet": {func(s *story) {
			s.add(0, Send, OK, send(1, 0, 10), send(1, 1, 11))
			s.add(1, Poll, OK, poll(1, 0, 10))
		}, nil},
		"half of a transaction is unseen": {func(s *story) {
			s.txn(0, Info, send(1, 0, 10), send(2, Unknown, 20))
			s.add(1, Poll, OK, poll(1, 0, 10))
		}, map[Anomaly]int{Unseen: 1}},

		"what was read is gone in the end": {func(s *story) {
			s.add(0, Send, OK, send(1, 0, 10), send(1, 1, 11))
			s.add(1, Poll, OK, poll(1, 0, 10, 1, 11))
			s.add(2, Poll, OK, poll(1, 0, 10)).Final = true
		}, map[Anomaly]int{Vanished: 1}},
		"what was read is still there": {func(s *story) {
			s.add(0, Send, OK, send(1, 0, 10))
			s.add(1, Poll, OK, poll(1, 0, 10))
			s.add(2, Poll, OK, poll(1, 0, 10)).Final = true
		}, nil},

		"an offset holds two values": {func(s *story) {
			s.add(0, Send, OK, send(1, 0, 10))
			s.add(1, Send, OK, send(1, 1, 11))
			s.add(2, Poll, OK, poll(1, 0, 10, 1, 11))
			s.add(3, Poll, OK, poll(1, 0, 11))
		}, map[Anomaly]int{InconsistentOffsets: 1, Duplicate: 1}},
		"two brokers acknowledge the same offset": {func(s *story) {
			s.add(0, Send, OK, send(1, 0, 10))
			s.add(1, Send, OK, send(1, 0, 11))
			s.add(2, Poll, OK, poll(1, 0, 10))
		}, map[Anomaly]int{InconsistentOffsets: 1, LostWrite: 1}},

		"a value is there twice": {func(s *story) {
			s.add(0, Send, OK, send(1, 0, 10))
			s.add(1, Poll, OK, poll(1, 0, 10, 3, 10))
		}, map[Anomaly]int{Duplicate: 1}},
		"a producer that is not idempotent may repeat itself": {func(s *story) {
			s.add(0, Send, OK, send(1, 3, 10)).Repeats = true
			s.add(1, Poll, OK, poll(1, 0, 10, 3, 10))
		}, nil},

		"an aborted record is read": {func(s *story) {
			s.txn(0, Fail, send(1, 0, 10))
			s.add(1, Poll, OK, poll(1, 0, 10))
		}, map[Anomaly]int{AbortedRead: 1}},
		"a poll inside a transaction that fails may not see aborted records either": {func(s *story) {
			s.txn(0, Fail, send(1, 0, 10))
			s.txn(1, Fail, poll(1, 0, 10))
		}, map[Anomaly]int{AbortedRead: 1}},

		"a record is read before its transaction asks to commit": {func(s *story) {
			s.add(1, Poll, OK, poll(1, 0, 10))
			o := s.txn(0, OK, send(1, 0, 10), send(1, 1, 11))
			o.Began, o.Committing = 0, at(3)
			s.add(2, Poll, OK, poll(1, 0, 10, 1, 11))
		}, map[Anomaly]int{IntermediateRead: 1}},
		"a record is read of a transaction that never asks to commit": {func(s *story) {
			s.txn(0, Info, send(1, 0, 10)).Committing = 0
			s.add(1, Poll, OK, poll(1, 0, 10))
		}, map[Anomaly]int{IntermediateRead: 1}},

		"a transaction reads what it sends": {func(s *story) {
			s.txn(0, OK, send(1, 0, 10), poll(1, 0, 10))
		}, map[Anomaly]int{PrecommittedRead: 1}},
		"outside of transactions that is fine": {func(s *story) {
			s.add(0, Txn, OK, send(1, 0, 10), poll(1, 0, 10))
		}, nil},

		"something is read that nobody sent": {func(s *story) {
			s.add(0, Poll, OK, poll(1, 0, 10))
		}, map[Anomaly]int{UnwrittenRead: 1}},

		"two transactions read each other's records": {func(s *story) {
			a := s.txn(0, OK, send(1, 0, 10), poll(2, 0, 20))
			b := s.txn(1, OK, send(2, 0, 20), poll(1, 0, 10))
			b.Began, a.Ended, b.Ended = a.Began, at(9), at(9)
			a.Actions[1].At, b.Actions[1].At = at(9), at(9)
		}, map[Anomaly]int{CircularFlow: 1}},
		"a circle of three": {func(s *story) {
			for i := range int64(3) {
				o := s.txn(int(i), OK, send(Key(i), 0, i+1), poll(Key((i+1)%3), 0, (i+1)%3+1))
				o.Began, o.Committing, o.Ended = at(1), at(1), at(9)
				o.Actions[1].At = at(9)
			}
		}, map[Anomaly]int{CircularFlow: 1}},

		"a chain leads into the future": {func(s *story) {
			a := s.add(0, Poll, OK, poll(1, 0, 10)) // ends before the sender of 20 begins
			b := s.add(1, Txn, OK, poll(2, 0, 20), send(1, 0, 10))
			c := s.add(2, Send, OK, send(2, 0, 20))
			b.Began, b.Ended = 0, c.Ended+at(1)
			_ = a
		}, map[Anomaly]int{ReadFromFuture: 1}},

		"transactions write across each other": {func(s *story) {
			s.txn(0, OK, send(1, 0, 10), send(2, 1, 21))
			s.txn(1, OK, send(1, 1, 11), send(2, 0, 20))
			s.add(2, Poll, OK, poll(1, 0, 10, 1, 11), poll(2, 0, 20, 1, 21))
		}, map[Anomaly]int{WriteCycle: 1}},

		"a consumer goes back": {func(s *story) {
			s.add(0, Send, OK, send(1, 0, 10), send(1, 1, 11))
			s.add(1, Poll, OK, poll(1, 0, 10, 1, 11))
			s.add(1, Poll, OK, poll(1, 1, 11))
		}, map[Anomaly]int{NonMonotonicPoll: 1}},
		"a consumer that assigns itself goes back after its transaction failed": {func(s *story) {
			s.add(0, Send, OK, send(1, 0, 10), send(1, 1, 11))
			s.txn(1, Fail, poll(1, 0, 10))
			s.add(1, Poll, OK, poll(1, 0, 10, 1, 11))
		}, map[Anomaly]int{NonMonotonicPoll: 1}},
		"one of a group must do that": {func(s *story) {
			s.add(0, Send, OK, send(1, 0, 10), send(1, 1, 11))
			s.txn(1, OK, poll(1, 0, 10)).Group = "g"
			s.txn(1, Fail, poll(1, 1, 11)).Group = "g"
			s.txn(1, OK, poll(1, 1, 11)).Group = "g"
		}, nil},
		"another assignment ends the order": {func(s *story) {
			s.add(0, Send, OK, send(1, 0, 10), send(1, 1, 11))
			s.add(1, Poll, OK, poll(1, 0, 10, 1, 11))
			s.add(1, Assign, OK).Keys = []Key{2}
			s.add(1, Poll, OK, poll(1, 0, 10))
		}, nil},
		"an assignment that keeps the key does not": {func(s *story) {
			s.add(0, Send, OK, send(1, 0, 10), send(1, 1, 11))
			s.add(1, Poll, OK, poll(1, 0, 10, 1, 11))
			s.add(1, Assign, OK).Keys = []Key{1, 2}
			s.add(1, Poll, OK, poll(1, 0, 10))
		}, map[Anomaly]int{NonMonotonicPoll: 1}},

		"a consumer skips": {func(s *story) {
			s.add(0, Send, OK, send(1, 0, 10), send(1, 1, 11), send(1, 2, 12))
			s.add(1, Poll, OK, poll(1, 0, 10))
			s.add(1, Poll, OK, poll(1, 2, 12))
			s.add(2, Poll, OK, poll(1, 1, 11))
		}, map[Anomaly]int{PollSkip: 1}},
		"offsets of transaction markers and aborted records are no records": {func(s *story) {
			s.add(0, Send, OK, send(1, 0, 10), send(1, 3, 12))
			s.txn(5, Fail, send(1, 1, 11))
			s.add(1, Poll, OK, poll(1, 0, 10))
			s.add(1, Poll, OK, poll(1, 3, 12))
		}, nil},
		"a consumer skips and goes back after a rebalance": {func(s *story) {
			s.add(0, Send, OK, send(1, 0, 10), send(1, 1, 11), send(1, 2, 12))
			s.add(1, Poll, OK, poll(1, 0, 10)).Group = "g"
			o := s.add(1, Poll, OK, poll(1, 2, 12, 1, 11))
			o.Group, o.Rebalanced = "g", []Key{1}
		}, nil},

		"one poll goes back": {func(s *story) {
			s.add(0, Send, OK, send(1, 0, 10), send(1, 1, 11))
			s.add(1, Poll, OK, poll(1, 1, 11, 0, 10))
		}, map[Anomaly]int{InternalNonMonotonicPoll: 1}},
		"one poll repeats": {func(s *story) {
			s.add(0, Send, OK, send(1, 0, 10))
			s.add(1, Poll, OK, poll(1, 0, 10), poll(1, 0, 10))
		}, map[Anomaly]int{InternalNonMonotonicPoll: 1}},
		"one operation skips between its polls": {func(s *story) {
			s.add(0, Send, OK, send(1, 0, 10), send(1, 1, 11), send(1, 2, 12))
			s.add(1, Poll, OK, poll(1, 0, 10), poll(1, 2, 12))
			s.add(2, Poll, OK, poll(1, 1, 11))
		}, map[Anomaly]int{InternalPollSkip: 1}},

		"a producer's later record gets a lower offset": {func(s *story) {
			s.add(0, Send, OK, send(1, 5, 10))
			s.add(0, Send, OK, send(1, 4, 11))
			s.add(1, Poll, OK, poll(1, 4, 11, 5, 10))
		}, map[Anomaly]int{NonMonotonicSend: 1}},
		"and so does one whose offset only a reader knows": {func(s *story) {
			s.add(0, Send, OK, send(1, 5, 10))
			s.add(0, Send, Info, send(1, Unknown, 11))
			s.add(1, Poll, OK, poll(1, 4, 11, 5, 10))
		}, map[Anomaly]int{NonMonotonicSend: 1}},
		"one operation's records change places": {func(s *story) {
			s.add(0, Send, OK, send(1, 5, 10), send(1, 4, 11))
			s.add(1, Poll, OK, poll(1, 4, 11, 5, 10))
		}, map[Anomaly]int{InternalNonMonotonicSend: 1}},
		"others write between one operation's records": {func(s *story) {
			s.add(0, Send, OK, send(1, 0, 10), send(1, 2, 12))
			s.add(1, Send, OK, send(1, 1, 11))
			s.add(2, Poll, OK, poll(1, 0, 10, 1, 11, 2, 12))
		}, map[Anomaly]int{InternalSendSkip: 1, WriteCycle: 1}},

		"a group's transactions consume a record twice": {func(s *story) {
			s.add(0, Send, OK, send(1, 0, 10))
			s.txn(1, OK, poll(1, 0, 10)).Group = "g"
			s.txn(2, OK, poll(1, 0, 10)).Group = "g"
		}, map[Anomaly]int{ConsumedTwice: 1}},
		"a group's transaction that failed has not consumed": {func(s *story) {
			s.add(0, Send, OK, send(1, 0, 10))
			s.txn(1, Fail, poll(1, 0, 10)).Group = "g"
			s.txn(2, OK, poll(1, 0, 10)).Group = "g"
			s.txn(3, OK, poll(1, 0, 10)).Group = "another"
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s story
			test.tell(&s)
			result := Check(s.operations, !strings.HasPrefix(name, undrained))
			if got, want := fmt.Sprint(counts(result)), fmt.Sprint(test.want); got != want {
				t.Errorf("found %s, want %s", got, want)
				for a, f := range result.Findings {
					t.Log(a, f.Examples)
				}
			}
			forbidden := false
			for _, a := range Forbidden {
				forbidden = forbidden || test.want[a] > 0
			}
			if result.Clean() == forbidden {
				t.Errorf("clean: %t", result.Clean())
			}
		})
	}
}

func counts(r *Result) map[Anomaly]int {
	found := map[Anomaly]int{}
	for a := range r.Findings {
		found[a] = r.Count(a)
	}
	return found
}

// TestRecorderSortsByCompletion has operations overlap.
func TestRecorderSortsByCompletion(t *testing.T) {
	t.Parallel()
	var r Recorder
	for _, ended := range []int{3, 1, 2} {
		r.Add(&Operation{Process: ended, Ended: at(ended)})
	}
	for i, o := range r.Operations() {
		if o.Process != i+1 {
			t.Errorf("operation %d is of process %d", i, o.Process)
		}
	}
}
