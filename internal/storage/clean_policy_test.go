package storage

import (
	"fmt"
	"math"
	"path/filepath"
	"testing"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/segment"
)

func cleanAt(nowMs int64) CleanOptions {
	return CleanOptions{NowMs: nowMs, MapBytes: 1 << 16, MapLoadFactor: 0.9, BufferBytes: 512, Throttle: func(int) error { return nil }}
}

// keyed writes a record of a key at a time.
func keyed(t testing.TB, l *Log, key string, timestampMs int64, valueBytes int) {
	t.Helper()
	b := record.NewBuilder(record.NoProducer(record.CodecNone))
	b.Append(timestampMs, []byte(key), make([]byte, valueBytes), nil)
	batch, err := b.Build()
	if err == nil {
		_, err = l.Append(AppendRequest{Records: batch, Origin: OriginInternal, NowMs: timestampMs})
	}
	if err != nil {
		t.Fatal(err)
	}
	l.AdvanceHighWatermark(l.LogEndOffset())
}

// dirtyLog has some closed segments of three keys, written at startMs.
func dirtyLog(t testing.TB, change func(c *LogConfig)) (*vfs.Mem, *Manager, *Log) {
	t.Helper()
	config := testConfig()
	config.Compact, config.Delete, config.MinCleanableRatio, config.FileDeleteDelayMs = true, false, 0, 0
	if change != nil {
		change(config)
	}
	mem := newMem(t)
	m, l := openLogOn(t, mem, config)
	for i := range 60 {
		keyed(t, l, fmt.Sprint("k", i%3), startMs, 100)
	}
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	return mem, m, l
}

func set(l *Log, change func(c *LogConfig)) {
	c := *l.Config()
	change(&c)
	l.UpdateConfig(&c)
}

func mustClean(t testing.TB, m *Manager, nowMs int64) bool {
	t.Helper()
	found, err := m.CleanDirtiest(cleanAt(nowMs))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestPoliciesAreSwitchedLive goes through delete, compact, both and none on a log in use.
func TestPoliciesAreSwitchedLive(t *testing.T) {
	t.Parallel()
	_, m, l := dirtyLog(t, func(c *LogConfig) { c.Compact, c.RetentionBytes = false, 0 })
	cleanup := func() int64 {
		t.Helper()
		if _, err := m.CleanupRetention(startMs); err != nil {
			t.Fatal(err)
		}
		return l.LogStartOffset()
	}
	// Neither: nothing goes but what DeleteRecords hides.
	segments := l.SegmentCount()
	if mustClean(t, m, startMs) || cleanup() != 0 || l.SegmentCount() != segments {
		t.Fatal("an empty cleanup.policy removes something")
	}
	if err := l.AdvanceLogStartOffset(l.segments.Load().all[1].BaseOffset()); err != nil {
		t.Fatal(err)
	}
	if start := cleanup(); start != l.segments.Load().all[0].BaseOffset() || l.SegmentCount() != segments-1 {
		t.Fatalf("DeleteRecords left %d segments from %d on", l.SegmentCount(), start)
	}
	// Compact: the newest of each key, no retention.
	start := l.LogStartOffset()
	set(l, func(c *LogConfig) { c.Compact = true })
	if !mustClean(t, m, startMs) || cleanup() != start || l.CleanedOffset() == 0 {
		t.Fatal("cleanup.policy=compact does not compact only")
	}
	// Delete again: nothing is compacted, segments go.
	set(l, func(c *LogConfig) { c.Compact, c.Delete, c.RetentionBytes = false, true, 1000 })
	for i := range 60 {
		keyed(t, l, fmt.Sprint("k", i%3), startMs, 100)
	}
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	if mustClean(t, m, startMs) {
		t.Fatal("cleanup.policy=delete compacts")
	}
	if cleanup() <= start {
		t.Fatal("cleanup.policy=delete deletes nothing")
	}
	// Both: the part that retention has left is compacted, from its start on.
	for i := range 60 {
		keyed(t, l, fmt.Sprint("k", i%3), startMs, 100)
	}
	set(l, func(c *LogConfig) { c.Compact, c.RetentionBytes = true, 3000 })
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	start = cleanup()
	if !mustClean(t, m, startMs) || l.CleanedOffset() <= start {
		t.Fatal("cleanup.policy=compact,delete does not compact")
	}
	set(l, func(c *LogConfig) { c.RetentionBytes, c.RetentionMs = -1, 1000 })
	if n, err := m.CleanupRetention(startMs + 2000); err != nil || n == 0 {
		t.Fatalf("retention by time took %d segments of a compacted log, %v", n, err)
	}
}

func TestCompactionWaitsAsConfigured(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change  func(c *LogConfig)
		atMs    int64
		cleaned bool
	}{
		"ratio reached":                  {func(c *LogConfig) { c.MinCleanableRatio = 0.9 }, startMs, true},
		"ratio of 1 is never exceeded":   {func(c *LogConfig) { c.MinCleanableRatio = 1 }, startMs, false},
		"but max.compaction.lag.ms is":   {func(c *LogConfig) { c.MinCleanableRatio, c.MaxCompactionLagMs = 1, 1000 }, startMs + 1001, true},
		"max.compaction.lag.ms not over": {func(c *LogConfig) { c.MinCleanableRatio, c.MaxCompactionLagMs = 1, 1000 }, startMs + 1000, false},
		"within min.compaction.lag.ms":   {func(c *LogConfig) { c.MinCompactionLagMs = 1000 }, startMs + 999, false},
		"after min.compaction.lag.ms":    {func(c *LogConfig) { c.MinCompactionLagMs = 1000 }, startMs + 1000, true},
		"min lag comes before max lag": {func(c *LogConfig) {
			c.MinCleanableRatio, c.MinCompactionLagMs, c.MaxCompactionLagMs = 1, 5000, 5000
		}, startMs + 4999, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, m, l := dirtyLog(t, c.change)
			if found := mustClean(t, m, c.atMs); found != c.cleaned || (l.CleanedOffset() > 0) != c.cleaned {
				t.Errorf("compacted: %v to %d", found, l.CleanedOffset())
			}
		})
	}
}

// TestDamagedLogIsSetAside: the partition with the damaged batch is left alone and counted, the
// others are compacted, and when the damage is gone, it is, too.
func TestDamagedLogIsSetAside(t *testing.T) {
	t.Parallel()
	mem, m, l := dirtyLog(t, nil)
	path := filepath.Join(testDir, "events-0", segment.FileName(0, segment.LogSuffix))
	f, err := mem.Open(path, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("damage"), record.BatchOverhead+20); err != nil {
		t.Fatal(err)
	}
	tp := testTP
	tp.Partition = 1
	other, err := m.GetOrCreate(tp, l.Config(), startMs)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		keyed(t, other, fmt.Sprint("k", i%3), startMs, 100)
	}
	if err := other.Flush(); err != nil {
		t.Fatal(err)
	}
	failures := 0
	for range 10 {
		found, err := m.CleanDirtiest(cleanAt(startMs))
		if err != nil {
			if failures++; kafka.CodeOf(l.readError(err)) != kafka.ErrCorruptMessage {
				t.Fatal(err)
			}
		} else if !found {
			break
		}
	}
	if failures != 1 || other.CleanedOffset() == 0 || l.CleanedOffset() != 0 || m.shared.cleaning.uncleanable.Load() != 1 {
		t.Fatalf("%d failures, cleaned to %d and %d, %d are counted", failures, l.CleanedOffset(), other.CleanedOffset(), m.shared.cleaning.uncleanable.Load())
	}
	if err := l.AdvanceLogStartOffset(l.segments.Load().all[1].BaseOffset()); err != nil {
		t.Fatal(err)
	}
	if _, err := m.CleanupRetention(startMs); err != nil {
		t.Fatal(err)
	}
	if !mustClean(t, m, startMs+cleanRetryMs) || l.CleanedOffset() == 0 || mustClean(t, m, startMs+cleanRetryMs) || m.shared.cleaning.uncleanable.Load() != 0 {
		t.Fatalf("without its damaged segment the log is not compacted: cleaned to %d", l.CleanedOffset())
	}
}

// TestLogStartMovesInTheMiddleOfACompaction: DeleteRecords and retention take segments that are being
// compacted. Nothing of them comes back, and the next round compacts what is left.
func TestLogStartMovesInTheMiddleOfACompaction(t *testing.T) {
	t.Parallel()
	for at := 1; at < 100; at += 7 {
		mem, m, l := dirtyLog(t, func(c *LogConfig) { c.SegmentBytes = 1000 })
		start := l.segments.Load().all[3].BaseOffset() + 1
		calls := 0
		options := cleanAt(startMs)
		options.Throttle = func(int) error {
			if calls++; calls != at {
				return nil
			}
			if err := l.AdvanceLogStartOffset(start); err != nil {
				return err
			}
			if err := m.CheckpointLogStartOffsets(); err != nil {
				return err
			}
			_, err := m.CleanupRetention(startMs)
			return err
		}
		if _, err := m.CleanDirtiest(options); err != nil {
			t.Fatalf("at call %d: %v", at, err)
		}
		if calls < at {
			break
		}
		if l.LogStartOffset() != start || l.segments.Load().all[0].BaseOffset() == 0 && calls == at {
			t.Fatalf("at call %d: the log starts at %d, the first segment at %d", at, l.LogStartOffset(), l.segments.Load().all[0].BaseOffset())
		}
		for mustClean(t, m, startMs+cleanRetryMs) {
		}
		_, again := openLogOn(t, mem.KillClone(), l.Config())
		for _, l := range []*Log{l, again} {
			keys := 0
			for _, b := range readAll(t, l) {
				keys += int(b.Count())
			}
			if l.LogStartOffset() != start || l.LogEndOffset() != 60 || keys < 3 || l.CleanedOffset() == 0 {
				t.Fatalf("at call %d: from %d to %d, %d records, cleaned to %d", at, l.LogStartOffset(), l.LogEndOffset(), keys, l.CleanedOffset())
			}
		}
	}
}

// TestRetentionByTimeCountsWhatCompactionLeft: the largest timestamp of a compacted segment is that of
// a record it still has.
func TestRetentionByTimeCountsWhatCompactionLeft(t *testing.T) {
	t.Parallel()
	_, m, l := dirtyLog(t, func(c *LogConfig) { c.Delete, c.SegmentBytes = true, 100_000 })
	for i := range 3 { // newer, and a segment on
		keyed(t, l, fmt.Sprint("k", i), startMs+10_000, 60_000)
	}
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	for mustClean(t, m, startMs+10_000) {
	}
	set(l, func(c *LogConfig) { c.RetentionMs = 5000 })
	if n, err := m.CleanupRetention(startMs + 12_000); err != nil || l.LogStartOffset() > 60 {
		t.Fatalf("%d segments went, the log starts at %d, %v", n, l.LogStartOffset(), err)
	}
	if at, found, err := l.MaxTimestampOffset(math.MaxInt64); err != nil || !found || at.TimestampMs != startMs+10_000 {
		t.Fatalf("%+v %v %v", at, found, err)
	}
}
