package storage

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/segment"
)

// written is a record as the model knows it.
type written struct {
	offset, timestampMs, atMs int64
	key, value                []byte
	producerID                int64 // of a transaction, else kafka.NoProducerID
	aborted, open             bool
	writer                    int64 // producerID, or that of an idempotent producer
	epoch                     int16
	sequence                  int32
}

// cleanRun drives a compacted log with random operations and knows what readers must see.
type cleanRun struct {
	t        *testing.T
	seed     uint64
	random   *rand.Rand
	mem      *vfs.Mem
	config   *LogConfig
	m        *Manager
	l        *Log
	nowMs    int64
	all      []*written
	markers  []ended
	open     map[int64]bool
	epochs   map[int64]int16
	sequence map[int64]int32
	lastEnd  map[int64]int64 // producer to the last offset of its last data batch in its epoch
	start    int64           // the largest log start offset so far
	// leastDeleteRetentionMs is the shortest that was ever in use.
	leastDeleteRetentionMs int64
	consumers              []*consumer
	trace                  []string
}

func newCleanRun(t *testing.T, seed uint64) *cleanRun {
	r := &cleanRun{t: t, seed: seed, random: rand.New(rand.NewPCG(seed, 3)), mem: newMem(t), nowMs: startMs,

		open: map[int64]bool{}, epochs: map[int64]int16{}, sequence: map[int64]int32{}, lastEnd: map[int64]int64{}}
	c := testConfig()
	c.Compact, c.Delete, c.MinCleanableRatio, c.DeleteRetentionMs = true, false, 0, 5_000
	c.SegmentBytes = int64(600 + r.random.IntN(2000))
	if r.random.IntN(3) == 0 {
		c.MinCompactionLagMs = 2_000
	}
	r.config, r.leastDeleteRetentionMs = c, c.DeleteRetentionMs
	r.m, r.l = openLogOn(t, r.mem, c)
	return r
}

func (r *cleanRun) fail(format string, args ...any) {
	r.t.Helper()
	r.t.Fatalf("seed %d: %s\nlast operations: %v", r.seed, fmt.Sprintf(format, args...), r.trace[max(0, len(r.trace)-30):])
}

func (r *cleanRun) note(format string, args ...any) {
	r.trace = append(r.trace, fmt.Sprintf(format, args...))
}

func (r *cleanRun) write() {
	r.t.Helper()
	r.nowMs += int64(r.random.IntN(300))
	o := record.NoProducer(record.Codec(0))
	if r.random.IntN(3) == 0 {
		o.Codec = record.Codec(r.random.IntN(5))
	}
	n := 1 + r.random.IntN(4)
	kind := r.random.IntN(4)
	writer := kafka.NoProducerID
	switch kind {
	case 0: // idempotent
		writer = int64(1 + r.random.IntN(2))
	case 1: // transactional
		writer = int64(10 + r.random.IntN(3))
	}
	if writer >= 0 {
		o.ProducerID, o.ProducerEpoch, o.BaseSequence, o.Transactional = writer, r.epochs[writer], r.sequence[writer], kind == 1
	}
	b := record.NewBuilder(o)
	base := r.l.LogEndOffset()
	for i := range n {
		w := &written{offset: base + int64(i), timestampMs: r.nowMs - int64(r.random.IntN(2000)), atMs: r.nowMs, producerID: kafka.NoProducerID,
			writer: writer, epoch: o.ProducerEpoch, sequence: o.BaseSequence + int32(i)}
		if o.Transactional {
			w.producerID = writer
		}
		if r.random.IntN(20) != 0 {
			w.key = fmt.Appendf(nil, "k%d", r.random.IntN(12))
		}
		if r.random.IntN(5) != 0 {
			w.value = binary.BigEndian.AppendUint64(make([]byte, r.random.IntN(40)), uint64(w.offset))
		}
		b.Append(w.timestampMs, w.key, w.value, []record.Header{{Key: []byte("h"), Value: []byte{byte(i)}}})
		r.all = append(r.all, w)
		r.wrote(w)
	}
	r.append(b)
	r.note("write %d at %d kind %d", n, base, kind)
}

func (r *cleanRun) append(b *record.Builder) {
	r.t.Helper()
	batch, err := b.Build()
	if err == nil {
		_, err = r.l.Append(AppendRequest{Records: batch, Origin: OriginInternal, NowMs: r.nowMs})
	}
	if err != nil {
		r.fail("append: %v", err)
	}
	if r.random.IntN(4) > 0 {
		r.l.AdvanceHighWatermark(r.l.LogEndOffset())
	}
}

// wrote notes what a record means for its producer.
func (r *cleanRun) wrote(w *written) {
	if w.writer < 0 {
		return
	}
	r.epochs[w.writer], r.sequence[w.writer], r.lastEnd[w.writer] = w.epoch, w.sequence+1, w.offset
	if w.producerID >= 0 {
		w.open, w.aborted, r.open[w.producerID] = true, false, true
	}
}

func (r *cleanRun) endTransaction(id int64) {
	r.t.Helper()
	if !r.open[id] && r.random.IntN(3) != 0 {
		return // a marker without data only sometimes
	}
	kind := record.ControlCommit
	if r.random.IntN(2) == 0 {
		kind = record.ControlAbort
	}
	m := ended{offset: r.l.LogEndOffset(), atMs: r.nowMs, producerID: id, epoch: r.epochs[id], abort: kind == record.ControlAbort}
	if r.random.IntN(2) == 0 {
		m.epoch++ // transactions of version 2
	}
	o := record.NoProducer(record.CodecNone)
	o.ProducerID, o.ProducerEpoch, o.Transactional = id, m.epoch, true
	batch, err := record.BuildControl(o, r.nowMs, kind, record.EndTxnMarker{CoordinatorEpoch: 1}.Encode())
	if err != nil {
		r.fail("%v", err)
	}
	if _, err := r.l.Append(AppendRequest{Records: batch, Origin: OriginInternal, NowMs: r.nowMs}); err != nil {
		r.fail("%v", err)
	}
	if r.random.IntN(4) > 0 {
		r.l.AdvanceHighWatermark(r.l.LogEndOffset())
	}
	r.note("end %d kind %d epoch %d", id, kind, m.epoch)
	r.markers = append(r.markers, m)
	r.ended(m)
}

// ended is a marker as the model knows it.
type ended struct {
	offset, atMs, producerID int64
	epoch                    int16
	abort                    bool
}

func (r *cleanRun) ended(m ended) {
	delete(r.open, m.producerID)
	for _, w := range r.all {
		if w.producerID == m.producerID && w.open && w.offset < m.offset {
			w.open, w.aborted = false, m.abort
		}
	}
	if m.epoch > r.epochs[m.producerID] {
		r.epochs[m.producerID], r.sequence[m.producerID] = m.epoch, 0
		delete(r.lastEnd, m.producerID)
	}
}

func (r *cleanRun) options() CleanOptions {
	return CleanOptions{NowMs: r.nowMs, MapBytes: int64(r.random.IntN(3000)), MapLoadFactor: 0.9, BufferBytes: 1 + r.random.IntN(2000), Throttle: func(int) error { return nil }}
}

func (r *cleanRun) cleanLog() {
	r.t.Helper()
	if r.random.IntN(3) != 0 {
		if err := r.l.Flush(); err != nil {
			r.fail("%v", err)
		}
	}
	before, from := r.read(r.l), r.l.CleanedOffset()
	found, err := r.m.CleanDirtiest(r.options())
	if err != nil {
		r.fail("clean: %v", err)
	}
	r.note("clean %v to %d", found, r.l.CleanedOffset())
	if found && !r.config.Compact {
		r.fail("a log was compacted whose cleanup.policy does not say so")
	}
	r.checkRemoved(before, from)
}

func (r *cleanRun) restart(mem *vfs.Mem) {
	r.t.Helper()
	r.mem = mem
	r.m, r.l = openLogOn(r.t, mem, r.config)
}

// restartKilled loses nothing but what only memory knows.
func (r *cleanRun) restartKilled() {
	r.note("kill")
	r.restart(r.mem.KillClone())
	r.l.AdvanceHighWatermark(r.l.LogEndOffset())
}

func (r *cleanRun) restartClean() {
	r.t.Helper()
	r.note("restart")
	if err := r.m.Shutdown(1); err != nil {
		r.fail("%v", err)
	}
	r.restart(r.mem)
}

// crash loses what was not synced; everything is flushed before.
func (r *cleanRun) crash() {
	r.t.Helper()
	r.note("crash")
	if err := r.m.FlushDir(0, r.nowMs+flushIntervalMs); err != nil {
		r.fail("%v", err)
	}
	if err := r.l.Flush(); err != nil {
		r.fail("%v", err)
	}
	r.restart(r.mem.CrashClone(env.NewSeededRandom(r.seed)))
	r.l.AdvanceHighWatermark(r.l.LogEndOffset())
}

func (r *cleanRun) deleteRecords() {
	r.t.Helper()
	if err := r.l.AdvanceLogStartOffset(int64(r.random.IntN(int(r.l.HighWatermark() + 1)))); err != nil {
		r.fail("%v", err)
	}
	if err := r.m.CheckpointLogStartOffsets(); err != nil {
		r.fail("%v", err)
	}
	if _, err := r.m.CleanupRetention(r.nowMs); err != nil {
		r.fail("%v", err)
	}
	r.start = max(r.start, r.l.LogStartOffset())
	r.note("delete records to %d", r.start)
}

// found is a record that a reader got.
type found struct {
	offset, timestampMs int64
	key, value          []byte
	transactional       bool
	aborted             bool
}

// read returns what a reader gets who asks for everything, aborted transactions marked as the
// broker tells it.
func (r *cleanRun) read(l *Log) (all []found) {
	r.t.Helper()
	for offset := l.LogStartOffset(); offset < l.LogEndOffset(); {
		result, err := l.Read(ReadRequest{Offset: offset, MaxBytes: 1 + r.random.IntN(4000), MinOneBatch: true, UpTo: l.LogEndOffset(), Aborted: true})
		if err != nil {
			r.fail("%v", err)
		}
		if len(result.Records) == 0 {
			r.fail("nothing to read at %d", offset)
		}
		for rest := result.Records; len(rest) > 0; {
			b, next, err := record.Next(rest)
			if err != nil {
				r.fail("%v", err)
			}
			all = append(all, r.recordsOf(b, result.Aborted, l.LogStartOffset())...)
			offset, rest = b.NextOffset(), next
		}
	}
	return all
}

func (r *cleanRun) recordsOf(b record.Batch, aborted []segment.AbortedTransaction, start int64) (all []found) {
	r.t.Helper()
	isAborted := false
	for _, a := range aborted {
		isAborted = isAborted || b.IsTransactional() && a.ProducerID == b.ProducerID() && b.BaseOffset() >= a.FirstOffset && b.LastOffset() <= a.LastOffset
	}
	for rec, err := range b.Records(record.UncompressedLimit(len(b))) {
		if err != nil {
			r.fail("%v", err)
		}
		if offset := b.BaseOffset() + int64(rec.OffsetDelta); !b.IsControl() && offset >= start {
			all = append(all, found{offset, rec.Timestamp, bytes.Clone(rec.Key), bytes.Clone(rec.Value), b.IsTransactional(), isAborted})
		}
	}
	return all
}

// check compares every reader's view with the model's.
func (r *cleanRun) check(l *Log) {
	r.t.Helper()
	got := map[int64]found{}
	all := r.read(l)
	for _, f := range all {
		got[f.offset] = f
	}
	newest := map[string]*written{} // of a read_committed reader
	start := l.LogStartOffset()
	for _, w := range r.all {
		f, there := got[w.offset]
		if w.offset < start {
			continue
		}
		if there {
			if !bytes.Equal(f.key, w.key) || !bytes.Equal(f.value, w.value) || (f.value == nil) != (w.value == nil) || f.timestampMs != w.timestampMs {
				r.fail("the record at %d has changed: %+v, want %+v", w.offset, f, *w)
			}
			if f.aborted != w.aborted && !w.open {
				r.fail("the record at %d: aborted %v, want %v", w.offset, f.aborted, w.aborted)
			}
			delete(got, w.offset)
		} else if w.offset >= l.LastStableOffset() || w.offset >= l.CleanedOffset() && !w.aborted && w.key != nil && l == r.l {
			r.fail("the record at %d is gone although it was not compacted", w.offset)
		}
		if w.key != nil && !w.aborted && !w.open {
			newest[string(w.key)] = w
		}
	}
	if len(got) > 0 {
		r.fail("records that nobody wrote: %v", got)
	}
	for key, w := range newest {
		if !r.has(all, w.offset) && (w.value != nil || r.nowMs-w.atMs < r.leastDeleteRetentionMs) {
			for _, x := range r.all {
				if string(x.key) == key {
					t := r.has(all, x.offset)
					r.note("%d pid %d aborted %v open %v there %v;", x.offset, x.producerID, x.aborted, x.open, t)
				}
			}
			r.fail("the newest record of %s at %d is gone (tombstone: %v)", key, w.offset, w.value == nil)
		}
	}
	// A reader who starts at the beginning ends with the same value of every key.
	view := map[string][]byte{}
	for _, f := range all {
		if f.key != nil && !f.aborted && f.offset < l.LastStableOffset() {
			view[string(f.key)] = f.value
		}
	}
	for key, value := range view {
		if w := newest[key]; w != nil && w.offset < l.LastStableOffset() && !bytes.Equal(value, w.value) {
			r.fail("key %s ends with %x, want %x of offset %d", key, value, w.value, w.offset)
		}
	}
	r.checkProducers(l)
	r.checkTimestamps(l, all)
}

func (r *cleanRun) has(all []found, offset int64) bool {
	for _, f := range all {
		if f.offset == offset {
			return true
		}
	}
	return false
}

// checkProducers finds the last sequence of every producer in the log itself.
func (r *cleanRun) checkProducers(l *Log) {
	r.t.Helper()
	last := map[int64]int32{}
	batches, err := readAllOf(l)
	if err != nil {
		r.fail("%v", err)
	}
	for _, b := range batches {
		if b.HasProducerID() && !b.IsControl() {
			last[b.ProducerID()] = b.LastSequence()
		}
	}
	for id, end := range r.lastEnd {
		if end >= l.LogStartOffset() && last[id] != r.sequence[id]-1 {
			r.fail("producer %d: the log's last sequence is %d, want %d", id, last[id], r.sequence[id]-1)
		}
	}
}

func (r *cleanRun) checkTimestamps(l *Log, all []found) {
	r.t.Helper()
	largest := int64(-1)
	for _, f := range all {
		largest = max(largest, f.timestampMs)
	}
	newest, ok, err := l.MaxTimestampOffset(math.MaxInt64)
	if err != nil || len(all) > 0 && (!ok || newest.TimestampMs < largest || newest.TimestampMs > largest && !r.isMarker(newest.Offset)) {
		r.fail("largest timestamp: %+v %v %v, want %d", newest, ok, err, largest)
	}
	target := r.nowMs - int64(r.random.IntN(4000))
	want := int64(-1)
	for _, f := range all {
		if f.timestampMs >= target {
			want = f.offset
			break
		}
	}
	at, ok, err := l.OffsetForTimestamp(target, math.MaxInt64)
	if err != nil || ok != (want >= 0) && !r.isMarker(at.Offset) || ok && at.Offset != want && !r.isMarker(at.Offset) {
		r.fail("offset for timestamp %d: %+v %v %v, want %d", target, at, ok, err, want)
	}
}

// isMarker reports whether offset is not one of a data record: markers have timestamps too.
func (r *cleanRun) isMarker(offset int64) bool {
	for _, w := range r.all {
		if w.offset == offset {
			return false
		}
	}
	return true
}

// TestCompactionSurvivesACrashAtEveryStep stops the disk before every single call that a
// compaction changes it with, as kill -9 and as power loss, and opens what is left.
func TestCompactionSurvivesACrashAtEveryStep(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		r := newCleanRun(t, 1000+seed)
		r.config.MinCompactionLagMs = 0
		for range 80 {
			r.write()
			if r.random.IntN(4) == 0 {
				r.endTransaction(int64(10 + r.random.IntN(3)))
			}
		}
		if seed%2 == 1 { // over what an earlier round has left
			r.cleanLog()
			r.nowMs += 10_000
			for range 20 {
				r.write()
			}
		}
		for id := int64(10); id < 13; id++ {
			r.endTransaction(id)
		}
		if err := r.l.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := r.m.FlushDir(0, r.nowMs+flushIntervalMs); err != nil {
			t.Fatal(err)
		}
		before := r.mem.KillClone()
		options := r.options()
		if p, err := r.l.planClean(r.nowMs); err != nil || p == nil {
			t.Fatalf("seed %d: nothing to compact: %v", seed, err)
		}
		steps := 0
		for n := int64(1); ; n++ {
			mem := before.KillClone()
			fail := &vfs.FailAt{N: n}
			m, l, err := tryOpen(vfs.NewFault(mem, fail.Decide), r.config)
			if err != nil {
				continue // the disk failed during the start
			}
			l.AdvanceHighWatermark(l.LogEndOffset())
			_, _ = m.CleanDirtiest(options)
			steps++
			for i, state := range []*vfs.Mem{mem.KillClone(), mem.CrashClone(env.NewSeededRandom(uint64(n))), mem.CrashClone(env.NewSeededRandom(uint64(n) + 7777))} {
				r.note("crash %d at call %d", i, n)
				m, l := openLogOn(t, state, r.config)
				l.AdvanceHighWatermark(l.LogEndOffset())
				r.check(l)
				if _, err := m.CleanDirtiest(options); err != nil {
					r.fail("compaction after the crash: %v", err)
				}
				r.check(l)
			}
			if l.usable() == nil && !fail.Failed() {
				break
			}
		}
		if steps < 15 {
			t.Fatalf("only %d calls change the disk", steps)
		}
	}
}

// compactedLog makes a compacted log that nobody else can have written a hole into: the last
// closed batch has no key, so nothing of it stays but its last offset.
func compactedLog(t *testing.T) (*vfs.Mem, *LogConfig, *Log) {
	t.Helper()
	r := newCleanRun(t, 5)
	r.config.MinCompactionLagMs = 0
	for i := range 120 {
		b := record.NewBuilder(record.NoProducer(record.CodecNone))
		key := fmt.Appendf(nil, "k%d", i%3)
		if r.l.SegmentCount() > 3 {
			key = nil // all of the last closed segment
		}
		b.Append(r.nowMs, key, make([]byte, 60), nil)
		r.append(b)
		if r.l.SegmentCount() > 5 {
			break
		}
	}
	if err := r.l.Flush(); err != nil {
		t.Fatal(err)
	}
	if found, err := r.m.CleanDirtiest(r.options()); err != nil || !found {
		t.Fatalf("not compacted: %v", err)
	}
	for range 5 { // small maps need several rounds
		if _, err := r.m.CleanDirtiest(r.options()); err != nil {
			t.Fatal(err)
		}
	}
	return r.mem, r.config, r.l
}

// TestLastBatchOfARoundStays: a reader behind everything that was removed still gets to the end,
// and the log ends where it did.
func TestLastBatchOfARoundStays(t *testing.T) {
	t.Parallel()
	_, _, l := compactedLog(t)
	for _, b := range readAll(t, l) {
		if b.NextOffset() == l.CleanedOffset() && b.Count() == 0 {
			return
		}
	}
	t.Fatalf("no empty batch ends at %d, where the round did", l.CleanedOffset())
}

// TestHolesOfCompactionAreNoLoss recovers a compacted log whose recovery point is not known.
func TestHolesOfCompactionAreNoLoss(t *testing.T) {
	t.Parallel()
	mem, config, l := compactedLog(t)
	want := len(readAll(t, l))
	killed := mem.KillClone()
	if err := vfs.WriteFileAtomic(killed, testDir+"/recovery-point-offset-checkpoint", []byte("damaged")); err != nil {
		t.Fatal(err)
	}
	_, recovered := openLogOn(t, killed, config)
	if got := len(readAll(t, recovered)); got != want || recovered.LogEndOffset() != l.LogEndOffset() {
		t.Fatalf("%d batches up to %d, want %d up to %d", got, recovered.LogEndOffset(), want, l.LogEndOffset())
	}
}
