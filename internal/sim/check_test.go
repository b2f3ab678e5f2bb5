package sim

import (
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/kafka"
)

var (
	orders0 = kafka.TopicPartition{Topic: "orders", Partition: 0}
	orders1 = kafka.TopicPartition{Topic: "orders", Partition: 1}
)

func ids(numbers ...int) (list []RecordID) {
	for _, n := range numbers {
		list = append(list, RecordID{0, n})
	}
	return list
}

// content is a log from start on that holds one producer's records of these numbers.
func content(start int64, numbers ...int) LogContent {
	c := LogContent{Start: start, End: start + int64(len(numbers))}
	for i, id := range ids(numbers...) {
		c.Records = append(c.Records, Seen{Offset: start + int64(i), ID: id})
	}
	return c
}

// broken says that a checker's objections must name the problem.
func broken(t *testing.T, what string, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v, want %q", what, err, want)
	}
}

// newHistory has seen the records 0 to 3 sent, and 0 to 2 acknowledged at offsets 0 to 2.
func newHistory(t *testing.T) *LogHistory {
	t.Helper()
	h := NewLogHistory("orders-0", func(int) bool { return true })
	h.Sent(ids(0, 1, 2, 3))
	if err := h.Acked(0, ids(0, 1, 2)); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestLogHistoryAcceptsWhatMayHappen(t *testing.T) {
	t.Parallel()
	flushed := content(0, 0, 1)
	flushed.Flushed = 2
	for _, test := range []struct {
		name   string
		ending Ending
		found  LogContent
		lost   int64
	}{
		{"nothing changed", Killed, content(0, 0, 1, 2), 0},
		{"an unanswered record is there", Killed, content(0, 0, 1, 2, 3), 0},
		{"retention", Killed, content(2, 2), 0},
		{"power loss takes a suffix", PowerLost, flushed, 1},
		{"power loss takes all", PowerLost, content(0), 3},
	} {
		if lost, err := newHistory(t).Audit(test.ending, test.found); err != nil || lost != test.lost {
			t.Errorf("%s: lost %d, %v", test.name, lost, err)
		}
	}
	h := newHistory(t)
	if _, err := h.Audit(PowerLost, content(0, 0)); err != nil {
		t.Fatal(err)
	}
	if err := h.Acked(1, ids(1, 2, 3)); err != nil {
		t.Errorf("sent again after power loss: %v", err)
	}
}

func TestLogHistoryFindsBrokenLogs(t *testing.T) {
	t.Parallel()
	unflushed := content(0, 0, 1)
	unflushed.Flushed = 3
	hole := content(0, 0, 1, 2)
	hole.Records = append(hole.Records[:1], hole.Records[2:]...)
	short := content(0, 0, 1, 2)
	short.End = 5
	epochs := content(0, 0, 1, 2)
	epochs.Records[0].Epoch = 2
	for _, test := range []struct {
		name   string
		ending Ending
		found  LogContent
		want   string
	}{
		{"an acknowledged record is gone", Killed, content(0, 0, 1), "were acknowledged"},
		{"another is in its place", Killed, content(0, 0, 3, 2), "held record 0/1 and now holds 0/3"},
		{"a flushed record is gone", PowerLost, unflushed, "was flushed up to 3"},
		{"a hole", PowerLost, hole, "where 1 should be"},
		{"an end without records", Killed, short, "the records end at 3, the log at 5"},
		{"twice", Killed, content(0, 0, 1, 2, 0), "is at offset 0 and at 3"},
		{"made up", Killed, content(0, 0, 1, 2, 9), "was never sent"},
		{"older epoch", Killed, epochs, "leader epoch 0 after 2"},
	} {
		_, err := newHistory(t).Audit(test.ending, test.found)
		broken(t, test.name, err, test.want)
	}
	h := newHistory(t)
	if _, err := h.Audit(Killed, content(2, 2)); err != nil {
		t.Fatal(err)
	}
	_, err := h.Audit(Killed, content(1, 1, 2))
	broken(t, "the log start goes back", err, "went from 2 to 1")
	_, err = h.Audit(Killed, content(2, 2, 1))
	broken(t, "a removed record comes back", err, "is at offset 1 and at 3")

	h = NewLogHistory("orders-0", func(int) bool { return true })
	h.Sent(ids(0, 1))
	_, err = h.Audit(Killed, content(0, 1, 0))
	broken(t, "order", err, "comes after 0/1")
	broken(t, "two acknowledgements", newHistory(t).Acked(1, ids(3)), "held record 0/1")
	broken(t, "a read with a gap", newHistory(t).Read(0, []Seen{{Offset: 1, ID: ids(1)[0]}}), "where 0 should be")
	broken(t, "a read of something else", newHistory(t).Read(1, []Seen{{Offset: 1, ID: ids(2)[0]}}), "held record 0/1")
}

func TestLevelsFindsFallingValues(t *testing.T) {
	t.Parallel()
	l := NewLevels()
	for _, value := range []int64{3, 3, 5} {
		if err := l.Observe("hw", value); err != nil {
			t.Fatal(err)
		}
	}
	broken(t, "falls", l.Observe("hw", 4), "hw went from 5 to 4")
	broken(t, "repeats", l.ObserveNew("hw", 5), "was 5 before")
	l.Forget("hw")
	if err := l.Observe("hw", 1); err != nil {
		t.Error(err)
	}
}

func TestAnswersFindsLostAndRepeatedOnes(t *testing.T) {
	t.Parallel()
	a := NewAnswers()
	a.Arrived(1, "join", 100)
	a.Arrived(2, "sync", 100)
	if err := a.Answered(2); err != nil {
		t.Fatal(err)
	}
	broken(t, "repeated", a.Answered(2), "answered twice")
	if err := a.Overdue(1100, 1000); err != nil {
		t.Error(err)
	}
	broken(t, "lost", a.Overdue(1101, 1000), "request 1 (join) has waited 1001 ms")
	a.ClockJumped(500)
	if err := a.Overdue(1101, 1000); err != nil {
		t.Errorf("after a jump of the clock: %v", err)
	}
	a.ProcessEnded()
	if err := a.Overdue(1_000_000, 1000); err != nil {
		t.Error(err)
	}
}

func TestMetadataHistoryFindsLostChanges(t *testing.T) {
	t.Parallel()
	h := NewMetadataHistory()
	for offset, print := range []uint64{10, 11, 12} {
		if err := h.Published(int64(offset), print); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Published(1, 11); err != nil {
		t.Errorf("published again: %v", err)
	}
	broken(t, "another change", h.Published(2, 99), "not what was committed")
	broken(t, "lost", h.Loaded(1), "offset 2 was committed")
	if err := h.Loaded(2); err != nil {
		t.Error(err)
	}
}

func TestOwnershipHistoryFindsTwoOwners(t *testing.T) {
	t.Parallel()
	h := NewOwnershipHistory()
	assign := func(generation int32, member string, owned ...kafka.TopicPartition) error {
		return h.Assigned("g", generation, member, owned)
	}
	for _, err := range []error{assign(1, "a", orders0), assign(1, "b", orders1), assign(1, "a", orders0), assign(2, "b", orders0)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	broken(t, "two owners", assign(2, "a", orders0, orders1), "orders-0 belongs to b and to a")
	broken(t, "an old generation", assign(1, "a", orders0), "went from 2 to 1")
	h.PowerLost("g")
	if err := assign(1, "c", orders0); err != nil {
		t.Errorf("after power loss: %v", err)
	}
}

func TestCommitHistoryFindsLostCommits(t *testing.T) {
	t.Parallel()
	h := NewCommitHistory()
	for _, offset := range []int64{3, 5, 8} {
		h.Sent("g", orders0, offset)
	}
	h.Acked("g", orders0, 5)
	for _, offset := range []int64{5, 8} { // that of 8 was handled, and its answer lost
		if err := h.Fetched("g", orders0, offset); err != nil {
			t.Error(err)
		}
	}
	broken(t, "an older commit", h.Fetched("g", orders0, 3), "had committed offset 5")
	broken(t, "no commit", h.Fetched("g", orders0, -1), "now has -1")
	broken(t, "made up", h.Fetched("g", orders0, 7), "which nobody committed")
	h.PowerLost("g")
	if err := h.Fetched("g", orders0, 3); err != nil {
		t.Errorf("after power loss: %v", err)
	}
}

func TestStatesDiffer(t *testing.T) {
	t.Parallel()
	same := State{"log orders-0": "0 to 5"}
	for _, other := range []State{{"log orders-0": "0 to 4"}, {}, {"log orders-0": "0 to 5", "log orders-1": "0 to 0"}} {
		if same.Difference(other) == "" {
			t.Errorf("%v and %v are the same", same, other)
		}
	}
	if difference := same.Difference(State{"log orders-0": "0 to 5"}); difference != "" {
		t.Error(difference)
	}
}
