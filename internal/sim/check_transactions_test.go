package sim

import (
	"testing"

	"github.com/moldau/moldau/internal/txn"
)

// copied has read input records 0 to 4, and committed 0 to 2 as copied in transaction 1.
func copied(t *testing.T) *CopyHistory {
	t.Helper()
	h := NewCopyHistory("output-0")
	var seen []Seen
	for i, id := range ids(0, 1, 2, 3, 4) {
		seen = append(seen, Seen{Offset: int64(i), ID: id})
	}
	if err := h.Consumed(seen); err != nil {
		t.Fatal(err)
	}
	h.Committed(3, txn.Producer{ID: 7, Epoch: 2})
	if err := h.Read(copies(1, 0, 1, 2)); err != nil {
		t.Fatal(err)
	}
	return h
}

func copies(transaction int64, numbers ...int) (list []Copy) {
	for _, id := range ids(numbers...) {
		list = append(list, Copy{id, transaction})
	}
	return list
}

func TestCopyHistory(t *testing.T) {
	t.Parallel()
	if err := copied(t).Finished(3); err != nil {
		t.Error(err)
	}
	h := copied(t)
	if err := h.Read(copies(2, 3, 4)); err != nil { // its commit was not answered
		t.Error(err)
	}
	if err := h.Finished(5); err != nil {
		t.Error(err)
	}
	for _, p := range []txn.Producer{{ID: 7, Epoch: 2}, {ID: 7, Epoch: 3}, {ID: 8}} {
		broken(t, "a commit lost", copied(t).Resumed(2, p), "goes on at 2, but up to 3 was committed")
	}
	if err := copied(t).Resumed(2, txn.Producer{ID: 7, Epoch: 1}); err != nil {
		t.Errorf("who is fenced cannot do harm: %v", err)
	}
	broken(t, "a record twice", copied(t).Read(copies(2, 2)), "twice")
	broken(t, "a record left out", copied(t).Read(copies(2, 4)), "should be")
	h = copied(t)
	h.Aborted(2)
	broken(t, "an aborted record", h.Read(copies(2, 3)), "aborted")
	broken(t, "offsets without records", copied(t).Finished(5), "3 records are in the output")
	h = copied(t)
	if err := h.Read(copies(2, 3)); err != nil {
		t.Fatal(err)
	}
	broken(t, "records without offsets", h.Finished(3), "4 records are in the output")
	broken(t, "another input", copied(t).Consumed([]Seen{{Offset: 1, ID: RecordID{0, 9}}}), "was 0/1 and is 0/9")
}

func TestTableHistory(t *testing.T) {
	t.Parallel()
	history := func() *TableHistory {
		h := NewTableHistory()
		h.Sent(1, 10, false)
		h.Acked(1, 10)
		h.Sent(1, 11, false)
		h.Sent(2, 12, true)
		h.Acked(2, 12)
		return h
	}
	for _, good := range [][]TableRecord{
		{{0, 1, 10}, {1, 2, 0}}, {{0, 1, 10}}, {{0, 1, 10}, {3, 1, 11}, {4, 2, 0}},
	} {
		if err := history().Audit(good); err != nil {
			t.Errorf("%v: %v", good, err)
		}
	}
	broken(t, "a value lost", history().Audit(nil), "key 1 is gone")
	broken(t, "an older value", history().Audit([]TableRecord{{0, 1, 9}}), "but 10 was acknowledged")
	broken(t, "values going back", history().Audit([]TableRecord{{0, 1, 11}, {1, 1, 10}}), "after 11")
	broken(t, "a value of nobody", history().Audit([]TableRecord{{0, 1, 15}}), "nobody sent")
	broken(t, "offsets going back", history().Audit([]TableRecord{{4, 1, 10}, {3, 1, 11}}), "offset 3 after 4")
	broken(t, "deleted and back", history().Audit([]TableRecord{{0, 1, 10}, {1, 2, 5}}), "key 2")
	h := history()
	h.PowerLost()
	if err := h.Audit(nil); err != nil {
		t.Error(err)
	}
}
