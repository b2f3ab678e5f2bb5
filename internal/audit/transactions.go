package audit

import (
	"encoding/binary"
	"maps"
	"path/filepath"
	"slices"

	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/segment"
)

// transactions follows the transactions of a log, batch by batch, and says what its transaction
// indexes must have.
type transactions struct {
	// exact is false for a log that was compacted, or began before its first batch: what began a
	// transaction may be gone.
	exact   bool
	next    int64           // offset after the last batch
	open    map[int64]int64 // producer to the first offset of its transaction
	aborted map[int64]abortedEntry
}

// abortedEntry is what an index entry must say, by the offset of the marker.
type abortedEntry struct {
	producerID, first, stable int64
	known                     bool // the log has where the transaction began
	listed                    bool
}

func newTransactions(exact bool) *transactions {
	return &transactions{exact: exact, open: map[int64]int64{}, aborted: map[int64]abortedEntry{}}
}

func (t *transactions) see(b record.Batch) {
	if t.exact && (b.BaseOffset() != t.next || b.Count() != b.LastOffsetDelta()+1) {
		t.exact = false
		for offset, e := range t.aborted {
			e.known = false
			t.aborted[offset] = e
		}
	}
	t.next = b.NextOffset()
	if !b.IsTransactional() {
		return
	}
	if !b.IsControl() {
		if _, ok := t.open[b.ProducerID()]; !ok {
			t.open[b.ProducerID()] = b.BaseOffset()
		}
		return
	}
	for r, err := range b.Records(int64(len(b))) {
		if err != nil {
			return // recordsOf has reported it
		}
		kind, err := record.ParseControlKey(r.Key)
		if err != nil || kind != record.ControlAbort && kind != record.ControlCommit {
			return
		}
		first, known := t.open[b.ProducerID()]
		delete(t.open, b.ProducerID())
		if kind == record.ControlCommit || !known && t.exact {
			return // a marker without a transaction ends nothing
		}
		stable := b.NextOffset()
		for _, other := range t.open {
			stable = min(stable, other)
		}
		t.aborted[b.BaseOffset()] = abortedEntry{producerID: b.ProducerID(), first: first, stable: stable, known: known && t.exact}
		return
	}
}

// compare holds a segment's transaction index against the markers of its batches, which end at end.
// After an unclean stop the next start writes what is missing from the recovery point on.
func (t *transactions) compare(a *auditor, folder string, base, end int64, known logOffsets) {
	path := filepath.Join(folder, segment.FileName(base, segment.TxnIndexSuffix))
	data := a.index(path, txnEntryBytes)
	last := int64(-1)
	for position := 0; position+txnEntryBytes <= len(data); position += txnEntryBytes {
		e := data[position:]
		at := func(i int) int64 { return int64(binary.BigEndian.Uint64(e[2+8*i:])) }
		version, producerID, from, to, stable := binary.BigEndian.Uint16(e), at(0), at(1), at(2), at(3)
		if version != 0 || from < 0 || to < from || to <= last {
			a.problem(path, int64(position), "entry of version %d, offsets %d to %d after %d: expected version 0 and ascending offsets", version, from, to, last)
			return
		}
		last = to
		want, ok := t.aborted[to]
		switch {
		case !ok && t.exact && (to < end || a.clean):
			a.problem(path, int64(position), "expected no entry for offset %d, where no transaction was aborted, got producer %d from offset %d", to, producerID, from)
		case !ok:
		case want.producerID != producerID || want.known && (want.first != from || want.stable != stable):
			a.problem(path, int64(position), "aborted transaction that ends at offset %d: expected producer %d, offset %d, last stable offset %d, got %d, %d, %d",
				to, want.producerID, want.first, want.stable, producerID, from, stable)
		}
		want.listed = true
		t.aborted[to] = want
	}
	for _, offset := range slices.Sorted(maps.Keys(t.aborted)) {
		want := t.aborted[offset]
		if offset < base || want.listed || !want.known {
			continue
		}
		if a.clean || offset < known.recovery {
			a.problem(path, -1, "expected an entry for the transaction of producer %d from offset %d that was aborted at offset %d, got none", want.producerID, want.first, offset)
		}
	}
	clear(t.aborted)
}
