package storage

import (
	"bytes"
	"slices"
	"testing"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/record"
)

// TestFailAtN runs one workload again and again; in run N the Nth call that changes the disk
// fails, whole or torn. Whatever Append acknowledged must be there, in the process that goes
// on and after a kill -9, until a truncation asked for its removal. With flush.messages=1 it must
// be there after power loss.
func TestFailAtN(t *testing.T) {
	t.Parallel()
	for _, torn := range []bool{false, true} {
		for _, way := range []faultyRun{{}, {together: true}, {flushing: true}} {
			failAtN(t, torn, way)
		}
	}
}

func failAtN(t *testing.T, torn bool, way faultyRun) {
	for n := int64(1); ; n++ {
		fail := &vfs.FailAt{N: n, Torn: torn}
		mem := newMem(t)
		w := &faultyRun{t: t, n: n, torn: torn, together: way.together, flushing: way.flushing, mem: mem}
		w.run(vfs.NewFault(mem, fail.Decide))
		if !fail.Failed() {
			if n < 20 {
				t.Fatalf("only %d calls change the disk", n)
			}
			return
		}
	}
}

type faultyRun struct {
	t    *testing.T
	n    int64
	torn bool
	// together flushes as thousands of logs are flushed.
	together bool
	// flushing: the topic has flush.messages=1, and the run ends with power loss.
	flushing bool
	mem      *vfs.Mem
	m        *Manager
	acked    []record.Batch
	unknown  []record.Batch // appended, and their flush failed: they may be there
	// cut is where an unacknowledged truncation may or may not have cut.
	cut int64
}

func (w *faultyRun) run(fsys vfs.FS) {
	config := testConfig()
	config.SegmentBytes = 400
	w.cut = 1 << 40
	if w.flushing {
		config.FlushMessages = 1
	}
	m, l, err := tryOpen(fsys, config)
	if w.m = m; err == nil {
		if w.together {
			m.shared.togetherFrom = 1
		}
		for i := range int32(8) {
			w.produce(l, idempotent(1, 0, i, 1), i/3)
			if i == 4 {
				_ = m.FlushDir(0, startMs+flushIntervalMs)
			}
		}
		w.check(l, "before the truncation")
		if end := l.LogEndOffset(); end > 3 {
			w.cut = end - 2
			if l.TruncateTo(w.cut, startMs) == nil {
				w.drop(w.cut)
				w.cut = 1 << 40
				w.check(l, "after the truncation")
				w.produce(l, plain(2), 5)
			}
		}
		w.check(l, "before retention")
		l.UpdateConfig(func() *LogConfig { c := *config; c.RetentionBytes = 500; return &c }())
		_, _ = m.CleanupRetention(startMs)
		_ = m.RemoveDeleted(startMs + config.FileDeleteDelayMs)
		_, _ = m.CheckpointHighWatermarks(), m.CheckpointLogStartOffsets()
		w.check(l, "after retention")
		_ = m.Shutdown(1)
	}
	after := w.mem.KillClone()
	if w.flushing {
		after = w.mem.CrashClone(env.NewSeededRandom(uint64(w.n)))
	}
	w.m, l, err = tryOpen(after, config)
	if err != nil {
		w.t.Fatalf("call %d failed (torn %v): the log cannot be opened: %v", w.n, w.torn, err)
	}
	w.check(l, "after the restart")
	w.drop(l.LogEndOffset())
	w.cut = 1 << 40
	w.produce(l, plain(1), 9)
	w.check(l, "after the restart")
}

func (w *faultyRun) produce(l *Log, s batchSpec, epoch int32) {
	b := s.build(w.t, uint64(len(w.acked)))
	r, err := produce(l, b, epoch, startMs)
	_, _ = w.m.CommitDir(0, startMs, nil)
	if err == nil && !r.Duplicate && l.CountedOffset() > r.LastOffset {
		w.acked = append(w.acked, b)
		l.AdvanceHighWatermark(l.CountedOffset())
	} else if err == nil && !r.Duplicate {
		w.unknown = append(w.unknown, b)
	}
}

func (w *faultyRun) drop(end int64) {
	for len(w.acked) > 0 && w.acked[len(w.acked)-1].LastOffset() >= end {
		w.acked = w.acked[:len(w.acked)-1]
	}
}

// check compares the log with what was acknowledged. A batch that failed may be there too, at
// the end: the client does not know.
func (w *faultyRun) check(l *Log, when string) {
	w.t.Helper()
	if l.usable() != nil {
		return // the dir went offline; the restart is checked
	}
	got, err := readAllOf(l)
	if err != nil {
		w.t.Fatalf("call %d failed (torn %v): %s: %v", w.n, w.torn, when, err)
	}
	start := l.LogStartOffset()
	for _, want := range w.acked {
		if want.LastOffset() < start {
			continue
		}
		if want.LastOffset() >= w.cut && l.LogEndOffset() <= want.LastOffset() {
			break // the truncation had happened
		}
		for len(got) > 0 && slices.ContainsFunc(w.unknown, func(b record.Batch) bool { return bytes.Equal(b, got[0]) }) {
			got = got[1:]
		}
		if len(got) == 0 || !bytes.Equal(got[0], want) {
			w.t.Fatalf("call %d failed (torn %v): %s: the acknowledged batch at %d is not there", w.n, w.torn, when, want.BaseOffset())
		}
		got = got[1:]
	}
}
