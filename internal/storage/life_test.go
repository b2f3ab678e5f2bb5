package storage

import (
	"math"
	"testing"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/record"
)

// TestModelOfALogsLife lets a log live: writes of all kinds, transactions, compaction and retention
// under configs that change, DeleteRecords, kills and power loss, and compares with the model what
// every reader is told, before and after: readers that begin at any offset, and consumers that have
// begun long before and go on through it all.
func TestModelOfALogsLife(t *testing.T) {
	t.Parallel()
	cleaned := false
	live := func(seed uint64) {
		r := newCleanRun(t, seed)
		r.consumers = []*consumer{{}, {committed: true}, {}, {committed: true}}
		for range 150 {
			r.step()
			r.check(r.l)
			r.checkProducerState()
		}
		for _, c := range r.consumers {
			r.catchUp(c)
		}
		r.checkFromEveryOffset()
		cleaned = cleaned || r.l.CleanedOffset() > 0
	}
	eachSeed(30, live)
	for _, seed := range []uint64{1029, 1032, 1352, 1957, 3231, 6063, 10606, 54264} { // they found faults
		live(seed)
	}
	if !cleaned {
		t.Fatal("nothing was ever compacted")
	}
}

func (r *cleanRun) step() {
	r.t.Helper()
	switch pick := r.random.IntN(1000); {
	case pick < 520:
		r.write()
	case pick < 650:
		r.endTransaction(int64(10 + r.random.IntN(3)))
	case pick < 760:
		r.cleanLog()
	case pick < 850:
		r.consume(r.consumers[r.random.IntN(len(r.consumers))])
	case pick < 870:
		r.catchUp(r.consumers[r.random.IntN(len(r.consumers))])
	case pick < 900:
		r.nowMs += int64(r.random.IntN(8000))
	case pick < 920:
		r.restartKilled()
	case pick < 935:
		r.restartClean()
	case pick < 945:
		r.crash()
	case pick < 955:
		r.crashUnflushed()
	case pick < 963:
		r.deleteRecords()
	case pick < 973:
		r.retention()
	case pick < 983:
		r.changeConfig()
	case pick < 990:
		r.checkFromEveryOffset()
	default:
		if err := r.m.RemoveDeleted(math.MaxInt64); err != nil {
			r.fail("%v", err)
		}
	}
}

// changeConfig sets what kafka-configs.sh may set while the log is in use.
func (r *cleanRun) changeConfig() {
	c := *r.config
	pick := func(values ...int64) int64 { return values[r.random.IntN(len(values))] }
	c.Compact, c.Delete = r.random.IntN(3) > 0, r.random.IntN(3) == 0
	c.SegmentBytes = int64(600 + r.random.IntN(2000))
	c.IndexIntervalBytes, c.IndexMaxBytes = 1+r.random.IntN(500), 24+r.random.IntN(300)
	c.MinCleanableRatio = float64(pick(0, 0, 20, 60)) / 100
	c.MinCompactionLagMs, c.MaxCompactionLagMs = pick(0, 0, 2000), pick(math.MaxInt64, math.MaxInt64, 3000)
	c.DeleteRetentionMs = pick(2000, 5000, 9000)
	c.RetentionMs, c.RetentionBytes = pick(-1, 10_000, 30_000), pick(-1, 0, 3000, 8000)
	c.Recompress, c.Codec = r.random.IntN(4) == 0, record.Codec(r.random.IntN(5))
	r.leastDeleteRetentionMs = min(r.leastDeleteRetentionMs, c.DeleteRetentionMs)
	r.config = &c
	r.l.UpdateConfig(r.config)
	r.note("config compact %v delete %v ratio %v lag %d to %d retention %d ms %d bytes", c.Compact, c.Delete, c.MinCleanableRatio,
		c.MinCompactionLagMs, c.MaxCompactionLagMs, c.RetentionMs, c.RetentionBytes)
}

// retention must not take what the config keeps, whatever compaction has left of the segments.
func (r *cleanRun) retention() {
	r.t.Helper()
	before, size, start, config := r.read(r.l), r.l.SizeBytes(), r.l.LogStartOffset(), r.config
	if _, err := r.m.CleanupRetention(r.nowMs); err != nil {
		r.fail("%v", err)
	}
	now := r.l.LogStartOffset()
	r.note("retention to %d", now)
	r.start = max(r.start, now)
	if now > r.l.HighWatermark() || now != start && !config.Delete {
		r.fail("retention moved the log start from %d to %d", start, now)
	}
	if config.RetentionBytes >= 0 && size > config.RetentionBytes {
		return
	}
	for _, f := range before {
		if f.offset < now && (config.RetentionMs < 0 || f.timestampMs >= r.nowMs-config.RetentionMs) {
			r.fail("retention took the record at %d of %d ms ago", f.offset, r.nowMs-f.timestampMs)
		}
	}
}

// crashUnflushed loses what was not synced and what may be lost: the log is a prefix afterwards.
func (r *cleanRun) crashUnflushed() {
	r.t.Helper()
	flushed, end := r.l.FlushedOffset(), r.l.LogEndOffset()
	r.restart(r.mem.CrashClone(env.NewSeededRandom(r.random.Uint64())))
	now := r.l.LogEndOffset()
	r.note("power loss: %d of %d are left, %d were flushed", now, end, flushed)
	if now < flushed || now > end {
		r.fail("after power loss the log ends at %d; flushed were %d of %d", now, flushed, end)
	}
	if now < end {
		r.truncated(now)
	}
	r.l.AdvanceHighWatermark(now)
}

// truncated makes the model one of the records below end.
func (r *cleanRun) truncated(end int64) {
	all, markers := r.all, r.markers
	r.all, r.markers = nil, nil
	clear(r.open)
	clear(r.epochs)
	clear(r.sequence)
	clear(r.lastEnd)
	for _, w := range all {
		for len(markers) > 0 && markers[0].offset < min(w.offset, end) {
			r.markers, markers = append(r.markers, markers[0]), markers[1:]
			r.ended(r.markers[len(r.markers)-1])
		}
		if w.offset < end {
			r.all = append(r.all, w)
			r.wrote(w)
		}
	}
	for len(markers) > 0 && markers[0].offset < end {
		r.markers, markers = append(r.markers, markers[0]), markers[1:]
		r.ended(r.markers[len(r.markers)-1])
	}
	for _, c := range r.consumers { // they know records that are lost
		*c = consumer{committed: c.committed, position: r.l.LogStartOffset(), start: r.l.LogStartOffset()}
	}
}

// checkRemoved looks at what a round has removed: only what a later record of the cleaned part
// replaces, tombstones whose time has come, aborted records and such without a key; and nothing that
// min.compaction.lag.ms protects.
func (r *cleanRun) checkRemoved(before []found, from int64) {
	r.t.Helper()
	left := map[int64]bool{}
	for _, f := range r.read(r.l) {
		left[f.offset] = true
	}
	newest := map[string]int64{}
	byOffset := map[int64]*written{}
	for _, w := range r.all {
		byOffset[w.offset] = w
		if w.key != nil && !w.aborted && !w.open && w.offset < r.l.CleanedOffset() {
			newest[string(w.key)] = w.offset
		}
	}
	for _, f := range before {
		if left[f.offset] || f.offset < r.l.LogStartOffset() {
			continue
		}
		w := byOffset[f.offset]
		if f.offset >= from && f.timestampMs > r.nowMs-r.config.MinCompactionLagMs {
			r.fail("the record at %d is gone, which min.compaction.lag.ms protects", f.offset)
		}
		isOldTombstone := w.value == nil && r.nowMs-w.atMs >= r.leastDeleteRetentionMs
		if !w.aborted && w.key != nil && newest[string(w.key)] <= w.offset && !isOldTombstone {
			r.fail("the record of %s at %d is gone and nothing has replaced it", w.key, f.offset)
		}
	}
}

// checkProducerState compares what the log knows of its producers, also after it was opened anew from
// a compacted log.
func (r *cleanRun) checkProducerState() {
	r.t.Helper()
	known := map[int64]bool{}
	for _, e := range r.l.Producers() {
		known[e.ProducerID] = true
		end, there := r.lastEnd[e.ProducerID]
		if !there || end < r.start {
			continue
		}
		if e.Epoch != r.epochs[e.ProducerID] || e.LastSequence() != r.sequence[e.ProducerID]-1 || e.LastOffset() != end {
			r.fail("producer %d: epoch %d, sequence %d at %d; want %d, %d at %d", e.ProducerID, e.Epoch, e.LastSequence(), e.LastOffset(),
				r.epochs[e.ProducerID], r.sequence[e.ProducerID]-1, end)
		}
		first := int64(-1)
		for _, w := range r.all {
			if w.producerID == e.ProducerID && w.open {
				first = w.offset
				break
			}
		}
		if first != e.TxnFirstOffset && (first < 0 || first >= r.start) {
			r.fail("producer %d: the open transaction begins at %d, want %d", e.ProducerID, e.TxnFirstOffset, first)
		}
	}
	for id, end := range r.lastEnd {
		if !known[id] && end >= r.start {
			r.fail("producer %d is forgotten", id)
		}
	}
}
