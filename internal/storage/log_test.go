package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/segment"
)

const testFolder = testDir + "/events-0/"

func names(t testing.TB, fsys vfs.FS, folder string) string {
	t.Helper()
	entries, err := fsys.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

func patch(t testing.TB, fsys vfs.FS, path string, position int64, change func(b []byte)) {
	t.Helper()
	f, err := fsys.Open(path, true)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 8)
	if _, err := f.ReadAt(b, position); err != nil {
		t.Fatal(err)
	}
	change(b)
	if _, err := f.WriteAt(b, position); err != nil {
		t.Fatal(err)
	}
}

func put(t testing.TB, fsys vfs.FS, path string, data []byte) {
	t.Helper()
	if err := vfs.WriteFileAtomic(fsys, path, data); err != nil {
		t.Fatal(err)
	}
}

func TestReadBounds(t *testing.T) {
	t.Parallel()
	_, l := openLogOn(t, newMem(t), testConfig())
	for range 4 {
		mustProduce(t, l, plain(5), 0)
	}
	if err := l.AdvanceLogStartOffset(7); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		offset    int64
		maxBytes  int
		minOne    bool
		upTo      int64
		want      kafka.ErrorCode
		from, end int64 // offsets of what is returned
	}{
		{6, 1 << 20, true, math.MaxInt64, kafka.ErrOffsetOutOfRange, 0, 0},
		{21, 1 << 20, true, math.MaxInt64, kafka.ErrOffsetOutOfRange, 0, 0},
		{20, 1 << 20, true, math.MaxInt64, kafka.ErrNone, 0, 0},
		{7, 1 << 20, true, math.MaxInt64, kafka.ErrNone, 5, 20}, // the whole batch that contains the offset
		{12, 1, true, math.MaxInt64, kafka.ErrNone, 10, 15},
		{12, 1, false, math.MaxInt64, kafka.ErrNone, 0, 0},
		{12, 1 << 20, true, 15, kafka.ErrNone, 10, 15},
		{12, 1 << 20, true, 14, kafka.ErrNone, 0, 0},
		{19, 1 << 20, true, 10, kafka.ErrNone, 0, 0},
	} {
		r, err := l.Read(ReadRequest{Offset: c.offset, MaxBytes: c.maxBytes, MinOneBatch: c.minOne, UpTo: c.upTo})
		wantCode(t, err, c.want)
		if r.LogStartOffset != 7 || r.LogEndOffset != 20 {
			t.Fatalf("bounds %d to %d", r.LogStartOffset, r.LogEndOffset)
		}
		if c.end == 0 {
			if len(r.Records) > 0 {
				t.Fatalf("%+v: %d bytes", c, len(r.Records))
			}
			continue
		}
		first, _, err := record.Next(r.Records)
		if err != nil || first.BaseOffset() != c.from {
			t.Fatalf("%+v: begins at %d, %v", c, first.BaseOffset(), err)
		}
		var last record.Batch
		for rest := r.Records; len(rest) > 0; {
			if last, rest, err = record.Next(rest); err != nil {
				t.Fatal(err)
			}
		}
		if last.NextOffset() != c.end {
			t.Fatalf("%+v: ends at %d", c, last.NextOffset())
		}
	}
}

func TestDamagedBatchIsNeverServed(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	_, l := openLogOn(t, mem, testConfig())
	first := mustProduce(t, l, plain(3), 0)
	size := l.SizeBytes()
	mustProduce(t, l, plain(3), 0)
	path := testFolder + segment.FileName(0, segment.LogSuffix)
	patch(t, mem, path, size+70, func(b []byte) { b[0] ^= 1 })
	if r, err := l.Read(ReadRequest{Offset: first.BaseOffset, MaxBytes: 1 << 20, UpTo: math.MaxInt64}); err != nil || len(r.Records) != int(size) {
		t.Fatalf("what is before the damage: %d bytes, %v", len(r.Records), err)
	}
	_, err := l.Read(ReadRequest{Offset: first.LastOffset + 1, MaxBytes: 1 << 20, UpTo: math.MaxInt64})
	wantCode(t, err, kafka.ErrCorruptMessage)
	damage, ok := errors.AsType[*segment.CorruptionError](err)
	if !ok || damage.Path != path || damage.Position != size {
		t.Fatalf("error %v", err)
	}
}

func TestRetentionBySizeTimeAndStart(t *testing.T) {
	t.Parallel()
	const hour = 3_600_000
	fill := func(t *testing.T, config *LogConfig) *Log {
		config.SegmentBytes = 300
		_, l := openLogOn(t, newMem(t), config)
		for i := range int64(10) {
			s := plain(2)
			s.timestampMs = startMs - 10*hour + i*hour
			mustProduce(t, l, s, 0)
		}
		if l.SegmentCount() != 5 {
			t.Fatalf("%d segments", l.SegmentCount())
		}
		return l
	}
	cases := []struct {
		name   string
		config func(c *LogConfig)
		start  int64
		hw     int64
		want   int // segments left
		begins int64
	}{
		{"nothing", func(*LogConfig) {}, 0, 20, 5, 0},
		{"size keeps at least so much", func(c *LogConfig) { c.RetentionBytes = 700 }, 0, 20, 3, 8},
		{"size zero rolls", func(c *LogConfig) { c.RetentionBytes = 0 }, 0, 20, 1, 20},
		{"time", func(c *LogConfig) { c.RetentionMs = 5 * hour }, 0, 20, 3, 8},
		{"all expired", func(c *LogConfig) { c.RetentionMs = 1 }, 0, 20, 1, 20},
		{"never above the high watermark", func(c *LogConfig) { c.RetentionMs = 1 }, 0, 9, 3, 8},
		{"log start offset", func(*LogConfig) {}, 9, 20, 3, 9},
		{"log start offset, also if only compacted", func(c *LogConfig) { c.Delete, c.Compact, c.RetentionMs = false, true, 1 }, 9, 20, 3, 9},
		{"empty policy keeps", func(c *LogConfig) { c.Delete, c.RetentionMs, c.RetentionBytes = false, 1, 0 }, 0, 20, 5, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			config := testConfig()
			c.config(config)
			l := fill(t, config)
			l.highWatermark.Store(c.hw)
			if err := l.AdvanceLogStartOffset(c.start); err != nil {
				t.Fatal(err)
			}
			n, err := l.DeleteOldSegments(startMs)
			if err != nil {
				t.Fatal(err)
			}
			if l.SegmentCount() != c.want || l.LogStartOffset() != c.begins {
				t.Fatalf("%d segments deleted, %d left, log starts at %d", n, l.SegmentCount(), l.LogStartOffset())
			}
			if r := mustProduce(t, l, plain(1), 0); r.BaseOffset != 20 {
				t.Fatalf("next offset %d", r.BaseOffset)
			}
		})
	}
}

func TestDeletedFilesWaitForTheirDelay(t *testing.T) {
	t.Parallel()
	config := testConfig()
	config.SegmentBytes, config.RetentionBytes = 300, 0
	mem := newMem(t)
	m, l := openLogOn(t, mem, config)
	for range 4 {
		mustProduce(t, l, plain(2), 0)
	}
	deletedBytes := func() int64 {
		return m.DescribeDirs(func(kafka.TopicPartition) bool { return false })[0].DeletedBytes
	}
	before := l.SizeBytes()
	if n, err := m.CleanupRetention(startMs); err != nil || n != 2 {
		t.Fatalf("%d, %v", n, err)
	}
	if got := deletedBytes(); got == 0 || got != before-l.SizeBytes() {
		t.Errorf("%d bytes wait, %d have been deleted", got, before-l.SizeBytes())
	}
	if err := m.RemoveDeleted(startMs + config.FileDeleteDelayMs - 1); err != nil {
		t.Fatal(err)
	}
	if all := names(t, mem, testFolder); !strings.Contains(all, "00000000000000000004.log.deleted") {
		t.Fatal(all)
	}
	if err := m.RemoveDeleted(startMs + config.FileDeleteDelayMs); err != nil {
		t.Fatal(err)
	}
	if all := names(t, mem, testFolder); strings.Contains(all, ".deleted") {
		t.Fatal(all)
	}
	if got := deletedBytes(); got != 0 {
		t.Errorf("%d bytes wait after their removal", got)
	}
	left := l.SizeBytes()
	if err := m.Delete(l.TopicPartition(), startMs); err != nil {
		t.Fatal(err)
	}
	if got := deletedBytes(); got != left {
		t.Errorf("%d bytes wait, the log had %d", got, left)
	}
	if err := m.RemoveDeleted(startMs + config.FileDeleteDelayMs); err != nil || deletedBytes() != 0 {
		t.Errorf("%d bytes wait after the log's removal: %v", deletedBytes(), err)
	}
}

func TestRecoveryReadsOnlyPastTheRecoveryPoint(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	config := testConfig()
	m, l := openLogOn(t, mem, config)
	for range 40 {
		mustProduce(t, l, plain(5), 0)
	}
	if err := m.FlushDir(0, startMs+flushIntervalMs); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		mustProduce(t, l, plain(5), 0)
	}
	// Damage below the recovery point: whoever reads that part would notice and cut the log.
	patch(t, mem, testFolder+segment.FileName(0, segment.LogSuffix), 100, func(b []byte) { b[0] ^= 1 })
	_, l = openLogOn(t, mem.KillClone(), config)
	if l.LogEndOffset() != 43*5 || l.LogStartOffset() != 0 {
		t.Fatalf("log %d to %d", l.LogStartOffset(), l.LogEndOffset())
	}
}

func TestTornTailIsCut(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	_, l := openLogOn(t, mem, testConfig())
	mustProduce(t, l, idempotent(1, 0, 0, 2), 0)
	size := l.SizeBytes()
	mustProduce(t, l, idempotent(1, 0, 2, 2), 0)
	f, err := mem.Open(testFolder+segment.FileName(0, segment.LogSuffix), true)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(l.SizeBytes() - 7); err != nil {
		t.Fatal(err)
	}
	m, l := openLogOn(t, mem.KillClone(), testConfig())
	if l.LogEndOffset() != 2 || l.SizeBytes() != size {
		t.Fatalf("log ends at %d with %d bytes", l.LogEndOffset(), l.SizeBytes())
	}
	if got := m.dirs[0].metrics.truncatedBytes.Value(); got != size-7 {
		t.Fatalf("%d bytes counted", got)
	}
	mustProduce(t, l, idempotent(1, 0, 2, 2), 0) // not a duplicate: it was lost
}

func TestDamagedSideFilesAreReplaced(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	m, l := openLogOn(t, mem, testConfig())
	mustProduce(t, l, idempotent(1, 0, 0, 2), 3)
	if err := l.Flush(); err != nil { // leaves a snapshot
		t.Fatal(err)
	}
	mustProduce(t, l, idempotent(1, 0, 2, 2), 5)
	if err := m.Shutdown(1); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		testFolder + "00000000000000000004.snapshot", testFolder + "leader-epoch-checkpoint",
		testDir + "/replication-offset-checkpoint", testDir + "/recovery-point-offset-checkpoint",
	} {
		put(t, mem, name, []byte("garbage"))
	}
	_, l = openLogOn(t, mem.KillClone(), testConfig())
	if l.EpochForOffset(1) != 3 || l.LatestEpoch() != 5 {
		t.Fatalf("epochs %v", l.epochs.Load().All())
	}
	for _, s := range []batchSpec{idempotent(1, 0, 0, 2), idempotent(1, 0, 2, 2)} {
		if r, err := produce(l, s.build(t, 0), 5, startMs); err != nil || !r.Duplicate {
			t.Fatalf("sequence %d: %+v, %v", s.sequence, r, err)
		}
	}
}

func TestWindowOfFiveSurvivesAnyRestart(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	m, l := openLogOn(t, mem, testConfig())
	for i := range int32(6) {
		mustProduce(t, l, idempotent(1, 0, i, 1), 0)
	}
	if err := m.Shutdown(1); err != nil {
		t.Fatal(err)
	}
	_, l = openLogOn(t, mem, testConfig())
	for i := range int32(6) {
		r, err := produce(l, idempotent(1, 0, i, 1).build(t, 0), 0, startMs)
		if i == 0 {
			wantCode(t, err, kafka.ErrOutOfOrderSequenceNumber)
		} else if err != nil || !r.Duplicate || r.BaseOffset != int64(i) {
			t.Fatalf("sequence %d: %+v, %v", i, r, err)
		}
	}
}

func TestInterruptedOperationsAreFinished(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	config := testConfig()
	config.SegmentBytes = 300
	m, l := openLogOn(t, mem, config)
	for range 8 {
		mustProduce(t, l, plain(2), 0) // segments 0, 4, 8, 12
	}
	if err := m.Shutdown(1); err != nil {
		t.Fatal(err)
	}
	// A compaction has made one segment of 0 and 4, and was killed before it swapped them; another
	// one was still writing.
	var merged []byte
	for _, base := range []int64{0, 4} {
		data, err := vfs.ReadFile(mem, testFolder+segment.FileName(base, segment.LogSuffix), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		merged = append(merged, data...)
	}
	put(t, mem, testFolder+"00000000000000000000.log.swap", merged)
	put(t, mem, testFolder+"00000000000000000008.log.cleaned", []byte("half"))
	put(t, mem, testFolder+"00000000000000000008.timeindex.swap", []byte("of the unfinished one"))
	put(t, mem, testFolder+"00000000000000000008.snapshot.tmp", []byte("hal"))
	put(t, mem, testFolder+"00000000000000000004.log.deleted", []byte("x"))
	put(t, mem, testFolder+"00000000000000000099.index", []byte("orphan"))
	_, l = openLogOn(t, mem, config)
	if all := names(t, mem, testFolder); strings.Contains(all, ".swap") || strings.Contains(all, ".cleaned") || strings.Contains(all, ".deleted") || strings.Contains(all, ".tmp") ||
		strings.Contains(all, "00000000000000000099") || strings.Contains(all, "00000000000000000004.") {
		t.Fatal(all)
	}
	if all := readAll(t, l); len(all) != 8 || l.SegmentCount() != 3 {
		t.Fatalf("%d batches in %d segments", len(all), l.SegmentCount())
	}
}

func TestFailedWriteLeavesTheLogUsableAndFailedSyncDoesNot(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	var failOp vfs.Op = -1
	disk := errors.New("the disk is full")
	fault := vfs.NewFault(mem, func(op vfs.Op, name string) error {
		if op == failOp && strings.HasSuffix(name, segment.LogSuffix) {
			return &fs.PathError{Op: "write", Path: name, Err: disk}
		}
		return nil
	})
	m, l := openLogOn(t, fault, testConfig())
	mustProduce(t, l, idempotent(1, 0, 0, 2), 0)
	failOp = vfs.OpWrite
	_, err := produce(l, idempotent(1, 0, 2, 2).build(t, 0), 0, startMs)
	wantCode(t, err, kafka.ErrKafkaStorageError)
	if !errors.Is(err, disk) || l.LogEndOffset() != 2 {
		t.Fatalf("log ends at %d, %v", l.LogEndOffset(), err)
	}
	failOp = -1
	if r := mustProduce(t, l, idempotent(1, 0, 2, 2), 0); r.BaseOffset != 2 || r.Duplicate {
		t.Fatalf("%+v", r)
	}
	failOp = vfs.OpSync
	wantCode(t, l.Flush(), kafka.ErrKafkaStorageError)
	failOp = -1
	_, err = produce(l, plain(1).build(t, 0), 0, startMs)
	wantCode(t, err, kafka.ErrKafkaStorageError)
	if dirs := m.OfflineDirs(); len(dirs) != 1 || dirs[0] != testDir {
		t.Fatalf("offline: %v", dirs)
	}
	_, err = m.GetOrCreate(kafka.TopicIDPartition{TopicPartition: kafka.TopicPartition{Topic: "other"}}, testConfig(), startMs)
	wantCode(t, err, kafka.ErrKafkaStorageError)
	// The disk is replaced, the broker restarted: what was written is there.
	_, l = openLogOn(t, mem.KillClone(), testConfig())
	if l.LogEndOffset() != 4 {
		t.Fatalf("log ends at %d", l.LogEndOffset())
	}
}

func TestHoleBetweenSegmentsEndsTheLog(t *testing.T) {
	t.Parallel()
	config := testConfig()
	config.SegmentBytes = 300
	_, l := openLogOn(t, newMem(t), config)
	for range 6 {
		mustProduce(t, l, plain(2), 0)
	}
	mem := l.dir.shared.fs.(*vfs.Mem)
	f, err := mem.Open(testFolder+segment.FileName(4, segment.LogSuffix), true)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(0); err != nil { // as power loss may leave it: the next segment is whole
		t.Fatal(err)
	}
	_, l = openLogOn(t, mem.CrashClone(env.NewSeededRandom(1)), config)
	if l.LogEndOffset() > 4 {
		t.Fatalf("log ends at %d", l.LogEndOffset())
	}
	readAll(t, l)
}

// TestSnapshotsOfManyProducersAreRare flushes a log of many producers after each small append:
// a snapshot of all of them each time would write far more than the log.
func TestSnapshotsOfManyProducersAreRare(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	config := testConfig()
	config.SegmentBytes, config.IndexMaxBytes = 1<<30, 1<<20
	m, l := openLogOn(t, mem, config)
	const producers = 2000
	for id := range int64(producers) {
		mustProduce(t, l, idempotent(id, 0, 0, 1), 0)
	}
	written := 0
	for sequence := range int32(50) {
		if err := l.Flush(); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(names(t, mem, testFolder), fmt.Sprintf("%020d.snapshot", l.LogEndOffset())) {
			written++
		}
		mustProduce(t, l, idempotent(1, 0, 1+sequence, 1), 0)
	}
	if written != 1 {
		t.Errorf("%d snapshots of %d producers were written for 50 small batches", written, producers)
	}
	for _, clean := range []bool{false, true} {
		if clean {
			if err := m.Shutdown(1); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(names(t, mem, testFolder), fmt.Sprintf("%020d.snapshot", l.LogEndOffset())) {
				t.Error("a clean shutdown left no snapshot at the end")
			}
		}
		_, again := openLogOn(t, mem.KillClone(), config)
		if r, err := produce(again, idempotent(1, 0, 50, 1).build(t, 0), 0, startMs); err != nil || !r.Duplicate || again.ProducerCount() != producers {
			t.Errorf("clean %v: a batch sent again: %+v, %v; %d producers", clean, r, err, again.ProducerCount())
		}
	}
}
