package storage

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/producerstate"
)

// model is what a log should be: every batch since the beginning, in order.
type model struct {
	batches   []record.Batch
	producers map[int64][]record.Batch // the last five of the current epoch
}

func (m *model) end() int64 {
	if len(m.batches) == 0 {
		return 0
	}
	return m.batches[len(m.batches)-1].NextOffset()
}

// truncate drops the batches at end and above; producers are what the rest says.
func (m *model) truncate(end int64) {
	for len(m.batches) > 0 && m.batches[len(m.batches)-1].LastOffset() >= end {
		m.batches = m.batches[:len(m.batches)-1]
	}
	all := m.batches
	m.batches, m.producers = nil, map[int64][]record.Batch{}
	for _, b := range all {
		m.add(b)
	}
}

func (m *model) add(b record.Batch) {
	m.batches = append(m.batches, b)
	if !b.HasProducerID() {
		return
	}
	window := m.producers[b.ProducerID()]
	if len(window) > 0 && window[0].ProducerEpoch() != b.ProducerEpoch() {
		window = nil
	}
	window = append(window, b)
	m.producers[b.ProducerID()] = window[max(0, len(window)-5):]
}

// modelRun drives a log and its model with the same random operations.
type modelRun struct {
	t      *testing.T
	seed   uint64
	random *rand.Rand
	mem    *vfs.Mem
	config *LogConfig
	m      *Manager
	l      *Log
	model  model
	nowMs  int64
	epoch  int32
	start  int64 // the largest log start offset so far
	flush  flushPromises
	trace  []string
}

func (r *modelRun) fail(format string, args ...any) {
	r.t.Helper()
	r.t.Fatalf("seed %d: %s\nsegments of %d bytes, index interval %d, index %d bytes; last operations:\n%v", r.seed, fmt.Sprintf(format, args...),
		r.config.SegmentBytes, r.config.IndexIntervalBytes, r.config.IndexMaxBytes, r.trace[max(0, len(r.trace)-25):])
}

func (r *modelRun) note(format string, args ...any) {
	r.trace = append(r.trace, fmt.Sprintf(format, args...)+"\n")
}

func TestModel(t *testing.T) {
	t.Parallel()
	eachSeed(60, func(seed uint64) { runModel(t, seed, 150) })
}

func runModel(t *testing.T, seed uint64, steps int) {
	r := &modelRun{t: t, seed: seed, random: rand.New(rand.NewPCG(seed, 7)), mem: newMem(t), nowMs: startMs}
	r.model.producers = map[int64][]record.Batch{}
	r.config = testConfig()
	r.config.SegmentBytes = int64(300 + r.random.IntN(4000))
	r.config.IndexIntervalBytes = 1 + r.random.IntN(500)
	r.config.IndexMaxBytes = 24 + r.random.IntN(300)
	r.drawFlush()
	r.m, r.l = openLogOn(t, r.mem, r.config)
	operations := []struct {
		weight int
		run    func()
	}{
		{30, r.appendPlain}, {25, r.appendIdempotent}, {8, r.repeat}, {4, r.gap}, {10, r.read}, {4, r.timestamps}, {3, r.truncate},
		{4, r.flushAll}, {3, r.advanceStart}, {2, r.retention}, {3, r.newEpoch}, {3, r.restartClean}, {3, r.restartKilled}, {3, r.restartCrashed},
		{8, r.commit}, {2, r.changeFlush},
	}
	total := 0
	for _, o := range operations {
		total += o.weight
	}
	for range steps {
		pick := r.random.IntN(total)
		for _, o := range operations {
			if pick -= o.weight; pick < 0 {
				o.run()
				break
			}
		}
		r.check()
	}
	r.restartKilled()
	r.checkContent()
}

func (r *modelRun) check() {
	r.t.Helper()
	if r.l.LogEndOffset() != r.model.end() {
		r.fail("the log ends at %d, the model at %d", r.l.LogEndOffset(), r.model.end())
	}
	start, lso, hw, end := r.l.LogStartOffset(), r.l.LastStableOffset(), r.l.HighWatermark(), r.l.LogEndOffset()
	r.start = max(r.start, start)
	if start > lso || lso > hw || hw > end || r.l.FlushedOffset() > end {
		r.fail("offsets out of order: start %d, stable %d, high watermark %d, end %d, flushed %d", start, lso, hw, end, r.l.FlushedOffset())
	}
	r.checkFlush()
}

// checkContent compares everything that can be read, the producers and the leader epochs.
func (r *modelRun) checkContent() {
	r.t.Helper()
	r.check()
	var want []record.Batch
	for _, b := range r.model.batches {
		if b.LastOffset() >= r.l.LogStartOffset() {
			want = append(want, b)
		}
	}
	got, err := readAllOf(r.l)
	if err != nil {
		r.fail("%v", err)
	}
	if len(got) != len(want) {
		r.fail("%d batches, want %d", len(got), len(want))
	}
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			r.fail("batch %d at offset %d differs", i, want[i].BaseOffset())
		}
		offset := want[i].LastOffset()
		// Epochs below a log start offset are forgotten, although it may come back lower after a crash.
		if e := r.l.EpochForOffset(offset); offset >= r.start && e != want[i].PartitionLeaderEpoch() {
			r.fail("offset %d has leader epoch %d, want %d", offset, e, want[i].PartitionLeaderEpoch())
		}
	}
	for i := 1; i < len(want); i++ {
		if before, after := want[i-1].PartitionLeaderEpoch(), want[i].PartitionLeaderEpoch(); before != after && want[i].BaseOffset() > r.start {
			if e, end := r.l.EndOffsetForEpoch(before); e != before || end != want[i].BaseOffset() {
				r.fail("epoch %d ends at %d (epoch %d), want %d", before, end, e, want[i].BaseOffset())
			}
		}
	}
	for id, window := range r.model.producers {
		for _, b := range window {
			if b.BaseOffset() < r.start {
				continue // what retention removed may be forgotten
			}
			if d, found := r.l.producers.FindDuplicate(writeOf(b)); !found || d.FirstOffset() != b.BaseOffset() || d.LastOffset != b.LastOffset() {
				r.fail("producer %d: the batch of sequence %d at %d is not known (%v %+v)", id, b.BaseSequence(), b.BaseOffset(), found, d)
			}
		}
	}
}

func (r *modelRun) spec() batchSpec {
	r.nowMs += int64(r.random.IntN(2000))
	s := plain(1 + r.random.IntN(6))
	s.timestampMs = r.nowMs - int64(r.random.IntN(10_000))
	s.valueBytes = 8 + r.random.IntN(60)
	if r.random.IntN(4) == 0 {
		s.codec = record.Codec(r.random.IntN(5))
	}
	return s
}

func (r *modelRun) append(s batchSpec) {
	r.t.Helper()
	r.note("append producer %d epoch %d sequence %d, %d records", s.producerID, s.epoch, s.sequence, s.records)
	b := s.build(r.t, r.random.Uint64())
	if int64(len(b)) > r.config.SegmentBytes {
		if _, err := produce(r.l, b, r.epoch, r.nowMs); kafka.CodeOf(err) != kafka.ErrRecordListTooLarge {
			r.fail("a batch above segment.bytes: %v", err)
		}
		return
	}
	a, err := produce(r.l, b, r.epoch, r.nowMs)
	if err != nil {
		r.fail("append: %v", err)
	}
	if a.BaseOffset != r.model.end() || a.LastOffset != a.BaseOffset+int64(s.records)-1 || a.Duplicate {
		r.fail("appended at %d to %d (duplicate %v), want %d", a.BaseOffset, a.LastOffset, a.Duplicate, r.model.end())
	}
	r.model.add(b)
	r.flush.appended(a.LastOffset, r.nowMs)
	if r.random.IntN(3) > 0 {
		r.l.AdvanceHighWatermark(r.l.CountedOffset())
	}
}

func (r *modelRun) appendPlain() { r.append(r.spec()) }

func (r *modelRun) appendIdempotent() {
	s := r.spec()
	s.producerID, s.epoch, s.sequence = int64(r.random.IntN(4)), 0, int32(r.random.IntN(3))*1000
	if window := r.model.producers[s.producerID]; len(window) > 0 {
		last := window[len(window)-1]
		s.epoch, s.sequence = last.ProducerEpoch(), record.AddSequence(last.LastSequence(), 1)
		if r.random.IntN(10) == 0 {
			s.epoch, s.sequence = s.epoch+1, 0
		}
	} else if r.random.IntN(3) == 0 {
		s.sequence = math.MaxInt32 - int32(r.random.IntN(4))
	}
	if d, known := r.l.producers.FindDuplicate(producerWrite(s)); known {
		r.fail("a new write is known already: %+v", d)
	}
	// A producer that retention made the model forget may still be known to the log.
	if r.l.producers.Check(producerWrite(s), true) != nil {
		return
	}
	r.append(s)
}

func (r *modelRun) someWindow() []record.Batch {
	return r.model.producers[int64(r.random.IntN(4))]
}

// repeat sends a batch of a window again: the answer is the first one, nothing is written.
func (r *modelRun) repeat() {
	window := r.someWindow()
	if len(window) == 0 {
		return
	}
	b := window[r.random.IntN(len(window))]
	if b.BaseOffset() < r.start {
		return
	}
	r.note("repeat sequence %d of producer %d", b.BaseSequence(), b.ProducerID())
	again := append(record.Batch(nil), b...)
	again.SetBaseOffset(0)
	a, err := produce(r.l, again, r.epoch, r.nowMs)
	if err != nil || !a.Duplicate || a.BaseOffset != b.BaseOffset() || a.LastOffset != b.LastOffset() {
		r.fail("repeated batch of sequence %d: %+v, %v; want offset %d", b.BaseSequence(), a, err, b.BaseOffset())
	}
}

func (r *modelRun) gap() {
	window := r.someWindow()
	if len(window) == 0 || window[len(window)-1].BaseOffset() < r.start {
		return
	}
	last := window[len(window)-1]
	r.note("gap of producer %d", last.ProducerID())
	s := idempotent(last.ProducerID(), last.ProducerEpoch(), record.AddSequence(last.LastSequence(), 2), 1)
	if _, err := produce(r.l, s.build(r.t, 0), r.epoch, r.nowMs); kafka.CodeOf(err) != kafka.ErrOutOfOrderSequenceNumber {
		r.fail("a gap was accepted: %v", err)
	}
}

func (r *modelRun) read() {
	start, end := r.l.LogStartOffset(), r.l.LogEndOffset()
	offset, upTo := start+r.random.Int64N(end-start+1), start+r.random.Int64N(end-start+1)
	maxBytes, minOne := r.random.IntN(2000), r.random.IntN(2) == 0
	result, err := r.l.Read(ReadRequest{Offset: offset, MaxBytes: maxBytes, MinOneBatch: minOne, UpTo: upTo})
	if err != nil {
		r.fail("read at %d: %v", offset, err)
	}
	if len(result.Records) > maxBytes && !minOne {
		r.fail("read %d bytes, at most %d were asked for", len(result.Records), maxBytes)
	}
	rest := result.Records
	first := true
	for _, b := range r.model.batches {
		if b.LastOffset() < offset {
			continue
		}
		if first && len(rest) == 0 && b.LastOffset() < upTo && (minOne || len(b) <= maxBytes) {
			r.fail("read at %d up to %d, %d bytes, returned nothing", offset, upTo, maxBytes)
		}
		first = false
		if len(rest) == 0 {
			break
		}
		got, next, err := record.Next(rest)
		if err != nil || !bytes.Equal(got, b) || b.LastOffset() >= upTo {
			r.fail("read at %d up to %d: wrong batch at %d: %v", offset, upTo, b.BaseOffset(), err)
		}
		rest = next
	}
	if len(rest) > 0 {
		r.fail("read at %d: %d bytes too many", offset, len(rest))
	}
}

func (r *modelRun) timestamps() {
	target, upTo := r.nowMs-int64(r.random.IntN(20_000)), r.l.HighWatermark()
	want, largest := noTimestampOffset, noTimestampOffset
	for _, b := range r.model.batches {
		for rec, err := range b.Records(1 << 20) {
			if err != nil {
				r.fail("model: %v", err)
			}
			at := TimestampOffset{b.BaseOffset() + int64(rec.OffsetDelta), rec.Timestamp, b.PartitionLeaderEpoch()}
			if at.Offset < r.l.LogStartOffset() {
				continue
			}
			if want.Offset < 0 && at.TimestampMs >= target {
				want = at
			}
			if at.TimestampMs > largest.TimestampMs {
				largest = at
			}
		}
	}
	r.expectTimestamp("timestamp", want, upTo, func() (TimestampOffset, bool, error) { return r.l.OffsetForTimestamp(target, upTo) })
	r.expectTimestamp("largest timestamp", largest, upTo, func() (TimestampOffset, bool, error) { return r.l.MaxTimestampOffset(upTo) })
}

func (r *modelRun) expectTimestamp(what string, want TimestampOffset, upTo int64, ask func() (TimestampOffset, bool, error)) {
	if want.Offset >= upTo {
		want = noTimestampOffset
	}
	got, found, err := ask()
	if err != nil || got != want || found != (want.Offset >= 0) {
		r.fail("%s below %d: %+v %v %v, want %+v", what, upTo, got, found, err, want)
	}
}

func (r *modelRun) truncate() {
	low := max(r.l.LogStartOffset(), r.l.HighWatermark())
	target := low + r.random.Int64N(r.l.LogEndOffset()-low+1)
	r.note("truncate to %d", target)
	if err := r.l.TruncateTo(target, r.nowMs); err != nil {
		r.fail("truncate to %d: %v", target, err)
	}
	r.model.truncate(target)
	r.flush.truncated(r.model.end())
	r.epoch++
	r.checkContent()
}

func (r *modelRun) flushAll() {
	r.note("flush")
	r.nowMs += flushIntervalMs
	if err := r.m.FlushDir(0, r.nowMs); err != nil {
		r.fail("flush: %v", err)
	}
	if r.l.FlushedOffset() != r.l.LogEndOffset() {
		r.fail("flushed to %d of %d", r.l.FlushedOffset(), r.l.LogEndOffset())
	}
	if r.random.IntN(2) == 0 {
		if err := r.m.CheckpointHighWatermarks(); err != nil {
			r.fail("checkpoint: %v", err)
		}
		if err := r.m.CheckpointLogStartOffsets(); err != nil {
			r.fail("checkpoint: %v", err)
		}
	}
}

func (r *modelRun) advanceStart() {
	start, hw := r.l.LogStartOffset(), r.l.HighWatermark()
	target := start + r.random.Int64N(hw-start+1)/4
	r.note("log start %d", target)
	if err := r.l.AdvanceLogStartOffset(target); err != nil {
		r.fail("advance the log start to %d: %v", target, err)
	}
}

func (r *modelRun) retention() {
	config := *r.l.Config()
	config.RetentionBytes = int64(r.random.IntN(8)) * r.config.SegmentBytes
	r.l.UpdateConfig(&config)
	n, err := r.l.DeleteOldSegments(r.nowMs)
	if err != nil {
		r.fail("retention: %v", err)
	}
	if r.l.SizeBytes() > config.RetentionBytes+config.SegmentBytes && r.l.HighWatermark() == r.l.LogEndOffset() {
		r.fail("%d bytes are left, retention.bytes is %d", r.l.SizeBytes(), config.RetentionBytes)
	}
	r.note("retention %d bytes: %d segments", config.RetentionBytes, n)
	r.l.UpdateConfig(r.config)
	if err := r.m.RemoveDeleted(r.nowMs); err != nil {
		r.fail("remove deleted: %v", err)
	}
}

func (r *modelRun) newEpoch() {
	r.epoch += int32(1 + r.random.IntN(2))
	if err := r.l.AssignEpochStart(r.epoch, r.l.LogEndOffset()); err != nil {
		r.fail("assign epoch: %v", err)
	}
}

func (r *modelRun) reopen(fsys *vfs.Mem) {
	r.mem = fsys
	var err error
	r.m, r.l, err = tryOpen(fsys, r.config)
	if r.seed%2 == 1 && r.m != nil {
		r.m.shared.togetherFrom = 1 // flushes as thousands of logs are flushed
	}
	if err != nil {
		r.fail("open: %v", err)
	}
}

func (r *modelRun) restartClean() {
	r.note("clean restart")
	start, hw := r.l.LogStartOffset(), r.l.HighWatermark()
	if err := r.m.Shutdown(3); err != nil {
		r.fail("shutdown: %v", err)
	}
	// What a clean shutdown leaves is durable: power loss afterwards changes nothing.
	r.reopen(r.mem.CrashClone(env.NewSeededRandom(r.random.Uint64())))
	if r.m.CleanShutdownBrokerEpoch() != 3 || r.l.LogStartOffset() != start || r.l.HighWatermark() != hw {
		r.fail("after a clean restart: broker epoch %d, start %d (was %d), high watermark %d (was %d)",
			r.m.CleanShutdownBrokerEpoch(), r.l.LogStartOffset(), start, r.l.HighWatermark(), hw)
	}
	r.checkContent()
}

func (r *modelRun) restartKilled() {
	r.note("kill -9")
	r.reopen(r.mem.KillClone())
	r.checkContent()
}

func (r *modelRun) restartCrashed() {
	flushed, end := r.l.FlushedOffset(), r.l.LogEndOffset()
	r.reopen(r.mem.CrashClone(env.NewSeededRandom(r.random.Uint64())))
	r.note("power loss: %d of %d survived, %d flushed", r.l.LogEndOffset(), end, flushed)
	if r.l.LogEndOffset() < flushed || r.l.LogEndOffset() > end || r.l.LogEndOffset() < r.flush.promised {
		r.fail("after power loss the log ends at %d; flushed were %d of %d, promised %d", r.l.LogEndOffset(), flushed, end, r.flush.promised)
	}
	r.model.truncate(r.l.LogEndOffset())
	r.flush.truncated(r.model.end())
	r.checkContent()
}

func producerWrite(s batchSpec) (w producerstate.Write) {
	w.ProducerID, w.Epoch, w.FirstSequence = s.producerID, s.epoch, s.sequence
	w.LastSequence = record.AddSequence(s.sequence, int32(s.records)-1)
	return w
}
