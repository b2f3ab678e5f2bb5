package cleaner

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/segment"
)

// transactions follows which transactions are under way while the log is read from some offset
// on, and so tells the batches of aborted ones and the markers that are not needed any more.
type transactions struct {
	aborted []segment.AbortedTransaction // by first offset; those before next have begun
	next    int
	ongoing map[int64]*abortedTxn // by producer
	// committed are producers with batches of a transaction that is not aborted; true if readers may
	// see one of them.
	committed   map[int64]bool
	startOffset int64
}

type abortedTxn struct {
	segment.AbortedTransaction
	seen bool // a batch of it
}

func newTransactions(aborted []segment.AbortedTransaction, startOffset int64) *transactions {
	sorted := slices.Clone(aborted)
	slices.SortStableFunc(sorted, func(a, b segment.AbortedTransaction) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
	return &transactions{aborted: sorted, ongoing: map[int64]*abortedTxn{}, committed: map[int64]bool{}, startOffset: startOffset}
}

func (t *transactions) beginUpTo(offset int64) {
	for ; t.next < len(t.aborted) && t.aborted[t.next].FirstOffset <= offset; t.next++ {
		if a := t.aborted[t.next]; t.ongoing[a.ProducerID] == nil {
			t.ongoing[a.ProducerID] = &abortedTxn{AbortedTransaction: a}
		}
	}
}

// batch reports whether a batch that is not a control batch belongs to an aborted transaction.
func (t *transactions) batch(b record.Batch) bool {
	t.beginUpTo(b.LastOffset())
	if !b.IsTransactional() {
		return false
	}
	if a := t.ongoing[b.ProducerID()]; a != nil {
		a.seen = true
		return true
	}
	// The index may not know of what lies below the log start offset.
	t.committed[b.ProducerID()] = t.committed[b.ProducerID()] || b.LastOffset() >= t.startOffset
	return false
}

// control takes a control batch and reports whether nothing of its transaction is left, so that
// the batch may go. kept is the aborted transaction that needs its index entry still. An index
// that the log contradicts is reported with segment.ErrTxnIndex.
func (t *transactions) control(b record.Batch) (done bool, kept *segment.AbortedTransaction, err error) {
	t.beginUpTo(b.LastOffset())
	for r, err := range b.Records(record.UncompressedLimit(len(b))) {
		if err != nil {
			return false, nil, err
		}
		kind, err := record.ParseControlKey(r.Key)
		switch {
		case err != nil:
			return false, nil, err
		case kind == record.ControlAbort:
			return t.abort(b)
		case kind == record.ControlCommit:
			return t.commit(b)
		}
		return false, nil, nil // of another kind
	}
	return true, nil, nil // emptied by an earlier round
}

func (t *transactions) abort(b record.Batch) (done bool, kept *segment.AbortedTransaction, err error) {
	a := t.ongoing[b.ProducerID()]
	if t.committed[b.ProducerID()] {
		return false, nil, contradiction(b, "is aborted, which the index does not say of all its batches")
	}
	_, below := t.committed[b.ProducerID()]
	delete(t.committed, b.ProducerID())
	if a == nil {
		return !below, nil, nil
	}
	if a.LastOffset != b.BaseOffset() {
		return false, nil, contradiction(b, fmt.Sprintf("is aborted here, the index says at %d", a.LastOffset))
	}
	delete(t.ongoing, b.ProducerID())
	if a.seen {
		return false, &a.AbortedTransaction, nil
	}
	return true, nil, nil
}

func (t *transactions) commit(b record.Batch) (done bool, kept *segment.AbortedTransaction, err error) {
	if a := t.ongoing[b.ProducerID()]; a != nil {
		return false, nil, contradiction(b, fmt.Sprintf("is committed, the index says aborted from %d to %d", a.FirstOffset, a.LastOffset))
	}
	_, seen := t.committed[b.ProducerID()]
	delete(t.committed, b.ProducerID())
	return !seen, nil, nil
}

// contradiction says that the index is wrong about the transaction that a marker ends.
func contradiction(marker record.Batch, what string) error {
	return fmt.Errorf("%w: the transaction of producer %d that ends at offset %d %s", segment.ErrTxnIndex, marker.ProducerID(), marker.BaseOffset(), what)
}

// open reports whether the marker of a transaction with batches is still to come.
func (t *transactions) open() bool { return len(t.ongoing) > 0 || len(t.committed) > 0 }
