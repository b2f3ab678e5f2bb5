package storage

import (
	"bytes"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/segment"
)

// consumer reads on through whatever happens to the log.
type consumer struct {
	committed bool // isolation.level
	start     int64
	position  int64
	seen      map[string][]*written // by key, oldest first
}

// upTo is how far a consumer may read.
func (r *cleanRun) upTo(committed bool) int64 {
	if committed {
		return r.l.LastStableOffset()
	}
	return r.l.HighWatermark()
}

// fetch is what a client makes of one answer: it filters by the list of aborted transactions, as
// clients do.
func (r *cleanRun) fetch(committed bool, offset int64, maxBytes int) (records []found, next int64, err error) {
	r.t.Helper()
	result, err := r.l.Read(ReadRequest{Offset: offset, MaxBytes: maxBytes, MinOneBatch: true, UpTo: r.upTo(committed), Aborted: committed})
	if err != nil {
		return nil, 0, err
	}
	next = offset
	waiting, skipping := result.Aborted, map[int64]bool{}
	for i := 1; i < len(waiting); i++ {
		if waiting[i].FirstOffset < waiting[i-1].FirstOffset {
			r.fail("aborted transactions are not sorted by first offset: %v", waiting)
		}
	}
	for rest := result.Records; len(rest) > 0; {
		b, after, err := record.Next(rest)
		if err != nil {
			r.fail("%v", err)
		}
		rest, next = after, b.NextOffset()
		for len(waiting) > 0 && waiting[0].FirstOffset <= b.LastOffset() {
			skipping[waiting[0].ProducerID], waiting = true, waiting[1:]
		}
		switch {
		case b.IsControl():
			r.endSkipping(b, skipping)
		case !b.IsTransactional() || !skipping[b.ProducerID()]:
			records = append(records, r.recordsOf(b, []segment.AbortedTransaction(nil), offset)...)
		}
	}
	return records, next, nil
}

func (r *cleanRun) endSkipping(b record.Batch, skipping map[int64]bool) {
	r.t.Helper()
	for rec, err := range b.Records(int64(len(b))) {
		if err != nil {
			r.fail("%v", err)
		}
		if kind, err := record.ParseControlKey(rec.Key); err == nil && kind == record.ControlAbort {
			delete(skipping, b.ProducerID())
		}
	}
}

// consume reads on for one answer, and reports whether there is more.
func (r *cleanRun) consume(c *consumer) (more bool) {
	r.t.Helper()
	if c.position > r.upTo(c.committed) {
		return false // the high watermark falls back only with a restart
	}
	records, next, err := r.fetch(c.committed, c.position, 1+r.random.IntN(3000))
	if kafka.CodeOf(err) == kafka.ErrOffsetOutOfRange && c.position < r.l.LogStartOffset() {
		*c = consumer{committed: c.committed, position: r.l.LogStartOffset(), start: r.l.LogStartOffset()}
		return true
	}
	if err != nil {
		r.fail("consumer at %d: %v", c.position, err)
	}
	if next == c.position && next < r.upTo(c.committed) && r.somethingBelow(next, r.upTo(c.committed)) {
		r.fail("consumer at %d gets nothing, up to %d may be read", next, r.upTo(c.committed))
	}
	if c.seen == nil {
		c.seen = map[string][]*written{}
	}
	for _, f := range records {
		w := r.writtenAt(f.offset)
		if w == nil || !bytes.Equal(f.key, w.key) || !bytes.Equal(f.value, w.value) || f.offset < c.position {
			r.fail("consumer at %d got %+v at %d, want %+v", c.position, f, f.offset, w)
		}
		if c.committed && (w.aborted || w.open) {
			r.fail("a consumer of committed records got the one at %d: aborted %v, open %v", f.offset, w.aborted, w.open)
		}
		c.seen[string(w.key)] = append(c.seen[string(w.key)], w)
	}
	c.position = next
	return len(records) > 0 || next < r.upTo(c.committed) && r.somethingBelow(next, r.upTo(c.committed))
}

// somethingBelow reports whether there is a batch from offset on that ends below upTo.
func (r *cleanRun) somethingBelow(offset, upTo int64) bool {
	r.t.Helper()
	batches, err := readAllOf(r.l)
	if err != nil {
		r.fail("%v", err)
	}
	for _, b := range batches {
		if b.LastOffset() >= offset {
			return b.LastOffset() < upTo
		}
	}
	return false
}

func (r *cleanRun) writtenAt(offset int64) *written {
	for _, w := range r.all {
		if w.offset == offset {
			return w
		}
	}
	return nil
}

// catchUp reads to the end: the consumer then knows the newest value of every key, whatever
// compaction has removed since it began. A tombstone it may have missed if its time has come.
func (r *cleanRun) catchUp(c *consumer) {
	r.t.Helper()
	for r.consume(c) {
	}
	newest := map[string]*written{}
	for _, w := range r.all {
		if w.key != nil && !w.aborted && !w.open && w.offset >= max(c.start, r.l.LogStartOffset()) && w.offset < c.position {
			newest[string(w.key)] = w
		}
	}
	for key, w := range newest {
		var last *written
		for _, s := range c.seen[key] {
			if !s.aborted && !s.open {
				last = s
			}
		}
		if (last == nil || last.offset < w.offset) && (w.value != nil || r.nowMs-w.atMs < r.leastDeleteRetentionMs) {
			r.fail("a consumer (committed %v) that is at %d has missed the newest record of %s at %d", c.committed, c.position, key, w.offset)
		}
	}
}

// checkFromEveryOffset begins to read at every offset.
func (r *cleanRun) checkFromEveryOffset() {
	r.t.Helper()
	for _, committed := range []bool{false, true} {
		var want []found
		for _, f := range r.read(r.l) {
			if w := r.writtenAt(f.offset); f.offset < r.upTo(committed) && (!committed || !w.aborted && !w.open) {
				want = append(want, f)
			}
		}
		for offset := r.l.LogStartOffset(); offset <= r.upTo(committed); offset++ {
			for len(want) > 0 && want[0].offset < offset {
				want = want[1:]
			}
			got, _, err := r.fetch(committed, offset, 1+r.random.IntN(2000))
			if err != nil {
				r.fail("read at %d: %v", offset, err)
			}
			for i, f := range got {
				if i >= len(want) || f.offset != want[i].offset || !bytes.Equal(f.value, want[i].value) {
					r.fail("a reader (committed %v) from %d on gets %d as record %d, want %+v", committed, offset, f.offset, i, want[min(i, len(want)):min(i+1, len(want))])
				}
			}
		}
	}
}
