package sim

import (
	"cmp"
	"fmt"
	"math"

	"github.com/moldau/moldau/internal/txn"
)

// CopyHistory checks consume-transform-produce: of each input partition, what committed
// transactions copied of it is there exactly once and in order, and nothing else.
type CopyHistory struct {
	name string
	// input is what the input partition holds, by offset.
	input map[int64]RecordID
	// copied are the records that readers of committed data have found in the output, in order.
	copied []RecordID
	at     map[RecordID]bool
	// commits are those that were answered without error.
	commits []copyCommit
	// aborted are the marks of the transactions whose end can only be an abort.
	aborted map[int64]bool
}

// copyCommit is the commit of what a producer copied of the input up to an offset.
type copyCommit struct {
	by     txn.Producer
	offset int64
}

// Copy is a record of the output: which input record it copies, and in which transaction.
type Copy struct {
	ID          RecordID
	Transaction int64
}

// NewCopyHistory returns the history of a copy that has not begun.
func NewCopyHistory(name string) *CopyHistory {
	return &CopyHistory{name: name, input: map[int64]RecordID{}, at: map[RecordID]bool{}, aborted: map[int64]bool{}}
}

// Consumed notes what the copying client read.
func (h *CopyHistory) Consumed(seen []Seen) error {
	for _, s := range seen {
		if before, known := h.input[s.Offset]; known && before != s.ID {
			return fmt.Errorf("%s: input offset %d was %s and is %s", h.name, s.Offset, before, s.ID)
		}
		h.input[s.Offset] = s.ID
	}
	return nil
}

// Committed notes that the commit of a transaction in which by copied up to offset was answered.
func (h *CopyHistory) Committed(offset int64, by txn.Producer) {
	h.commits = append(h.commits, copyCommit{by, offset})
}

// Aborted notes that an abort was answered, or that nobody ever asked for the commit.
func (h *CopyHistory) Aborted(transaction int64) { h.aborted[transaction] = true }

// Resumed notes the committed offset from which a client goes on with a producer. One that is fenced by those of later epochs may have asked a
// coordinator that does not know of their commits, being paused: it can do nothing with the answer.
func (h *CopyHistory) Resumed(offset int64, with txn.Producer) error {
	for _, c := range h.commits {
		isLater := cmp.Or(cmp.Compare(c.by.ID, with.ID), cmp.Compare(c.by.Epoch, with.Epoch)) > 0
		if offset < c.offset && !isLater {
			return fmt.Errorf("%s: goes on at %d, but up to %d was committed", h.name, offset, c.offset)
		}
	}
	return nil
}

// Read notes what a reader of committed data found next in the output.
func (h *CopyHistory) Read(copies []Copy) error {
	for _, c := range copies {
		switch next := int64(len(h.copied)); {
		case h.aborted[c.Transaction]:
			return fmt.Errorf("%s: record %s of transaction %d is read as committed, but that was aborted", h.name, c.ID, c.Transaction)
		case h.at[c.ID]:
			return fmt.Errorf("%s: record %s is in the output twice", h.name, c.ID)
		case h.input[next] != c.ID:
			return fmt.Errorf("%s: the output has record %s where %s of input offset %d should be", h.name, c.ID, h.input[next], next)
		}
		h.at[c.ID] = true
		h.copied = append(h.copied, c.ID)
	}
	return nil
}

// Finished checks, when everything has been read, that output and committed offset agree.
func (h *CopyHistory) Finished(committed int64) error {
	if err := h.Resumed(committed, txn.Producer{ID: math.MaxInt64}); err != nil {
		return err
	}
	if got := int64(len(h.copied)); got != committed {
		return fmt.Errorf("%s: %d records are in the output, but input up to offset %d is committed as copied", h.name, got, committed)
	}
	return nil
}
