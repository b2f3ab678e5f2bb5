package sim

import "fmt"

// CopyHistory checks consume-transform-produce: of each input partition, what committed
// transactions copied of it is there exactly once and in order, and nothing else.
type CopyHistory struct {
	name string
	// input is what the input partition holds, by offset.
	input map[int64]RecordID
	// copied are the records that readers of committed data have found in the output, in order.
	copied []RecordID
	at     map[RecordID]bool
	// committed is the highest input offset up to which a commit was answered without error.
	committed int64
	// aborted are the marks of the transactions whose end can only be an abort.
	aborted map[int64]bool
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

// Committed notes that the commit of a transaction which copied up to offset was answered.
func (h *CopyHistory) Committed(offset int64) { h.committed = max(h.committed, offset) }

// Aborted notes that an abort was answered, or that nobody ever asked for the commit.
func (h *CopyHistory) Aborted(transaction int64) { h.aborted[transaction] = true }

// Resumed notes the committed offset from which a new instance of the client goes on.
func (h *CopyHistory) Resumed(offset int64) error {
	if offset < h.committed {
		return fmt.Errorf("%s: goes on at %d, but up to %d was committed", h.name, offset, h.committed)
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
	if err := h.Resumed(committed); err != nil {
		return err
	}
	if got := int64(len(h.copied)); got != committed {
		return fmt.Errorf("%s: %d records are in the output, but input up to offset %d is committed as copied", h.name, got, committed)
	}
	return nil
}
