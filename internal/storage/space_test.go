package storage

import (
	"math"
	"testing"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
)

// guarded opens a log with a reserve.
func guarded(t testing.TB, fsys vfs.FS, dir string, config *LogConfig, reserveBytes int64) (*Manager, *Log) {
	t.Helper()
	o := testOptions(fsys, config)
	o.Dirs, o.ReserveBytes = []string{dir}, reserveBytes
	m, err := OpenManager(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Load(LoadOptions{NowMs: startMs}); err != nil {
		t.Fatal(err)
	}
	l, err := m.GetOrCreate(testTP, config, startMs)
	if err != nil {
		t.Fatal(err)
	}
	return m, l
}

// fill produces until it is refused and returns how many batches went in.
func fill(t testing.TB, l *Log, valueBytes int) int {
	t.Helper()
	for n := 0; n < 1_000_000; n++ {
		s := plain(1)
		s.valueBytes = valueBytes
		if _, err := produce(l, s.build(t, uint64(n)), 0, startMs); err != nil {
			wantCode(t, err, kafka.ErrKafkaStorageError)
			return n
		}
		l.AdvanceHighWatermark(l.LogEndOffset())
	}
	t.Fatal("produce was never refused")
	return 0
}

// checkFullDisk goes through the life of a full disk: clients are refused before it is full,
// everything else goes on, a restart works, and appends resume by themselves.
func checkFullDisk(t *testing.T, fsys vfs.FS, dir string, reserveBytes int64, valueBytes int) {
	t.Helper()
	config := testConfig()
	config.SegmentBytes, config.IndexIntervalBytes = int64(20*valueBytes), 4096
	m, l := guarded(t, fsys, dir, config, reserveBytes)
	if fill(t, l, valueBytes) == 0 {
		t.Fatal("nothing could be appended")
	}
	_, free, err := fsys.Usage(dir)
	if err != nil || free < reserveBytes/2 {
		t.Fatalf("only %d of the reserve of %d bytes are left: %v", free, reserveBytes, err)
	}
	// Reads, flushes, checkpoints and coordinators go on.
	readAll(t, l)
	if err := m.FlushDir(0, startMs+flushIntervalMs); err != nil {
		t.Fatal(err)
	}
	if err := m.CheckpointHighWatermarks(); err != nil {
		t.Fatal(err)
	}
	b := plain(1).build(t, 1)
	if _, err := l.Append(AppendRequest{Records: b, Origin: OriginCoordinator, NowMs: startMs}); err != nil {
		t.Fatalf("a coordinator is refused: %v", err)
	}
	l.AdvanceHighWatermark(l.LogEndOffset())
	end := l.LogEndOffset()
	if err := m.Shutdown(1); err != nil {
		t.Fatal(err)
	}
	m, l = guarded(t, fsys, dir, config, reserveBytes)
	if l.LogEndOffset() != end || len(readAll(t, l)) == 0 {
		t.Fatalf("the log ends at %d after the restart, want %d", l.LogEndOffset(), end)
	}
	if n := fill(t, l, valueBytes); n > 3 {
		t.Fatalf("%d batches were appended to a full disk after the restart", n)
	}
	// Deleting makes room, without file.delete.delay.ms.
	if err := l.AdvanceLogStartOffset(end - 2); err != nil {
		t.Fatal(err)
	}
	if _, err := m.CleanupRetention(startMs); err != nil {
		t.Fatal(err)
	}
	if err := m.RemoveDeleted(startMs); err != nil {
		t.Fatal(err)
	}
	if err := m.CheckSpace(); err != nil {
		t.Fatal(err)
	}
	if fill(t, l, valueBytes) == 0 {
		t.Fatal("appends did not resume")
	}
	if offline := m.OfflineDirs(); len(offline) > 0 {
		t.Fatalf("offline: %v", offline)
	}
	if err := m.Shutdown(1); err != nil {
		t.Fatal(err)
	}
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	mem.SetTotalBytes(400_000)
	checkFullDisk(t, mem, testDir, 40_000, 500)
}

// TestReallyFullDisk lets somebody else fill the volume to the last byte: nothing is lost, the
// log dir stays in use, and what found no room is written later.
func TestReallyFullDisk(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	config := testConfig()
	m, l := guarded(t, mem, testDir, config, 40_000)
	for range 30 {
		mustProduce(t, l, idempotent(1, 0, int32(l.LogEndOffset()), 1), 0)
	}
	acked := readAll(t, l)
	total, free, err := mem.Usage(testDir)
	if err != nil {
		t.Fatal(err)
	}
	mem.SetTotalBytes(total - free)
	if err := m.FlushDir(0, startMs+flushIntervalMs); err == nil {
		t.Fatal("the flush found room on a full disk")
	}
	if _, err := produce(l, idempotent(1, 0, 30, 1).build(t, 1), 0, startMs); err == nil {
		t.Fatal("an append found room on a full disk")
	}
	if err := m.CheckpointHighWatermarks(); err == nil {
		t.Fatal("a checkpoint found room on a full disk")
	}
	if len(m.OfflineDirs()) > 0 || len(readAll(t, l)) != len(acked) {
		t.Fatal("a full disk took the log dir offline")
	}
	clone := mem.KillClone()
	clone.SetTotalBytes(total - free + 4096) // recovery completes the indexes, which needs a little room
	_, killed := guarded(t, clone, testDir, config, 40_000)
	if n := len(readAll(t, killed)); n != len(acked) {
		t.Fatalf("%d batches after a restart on a full disk, want %d", n, len(acked))
	}
	mem.SetTotalBytes(1 << 30)
	if err := m.CheckSpace(); err != nil {
		t.Fatal(err)
	}
	if err := m.FlushDir(0, startMs+10*flushIntervalMs); err != nil {
		t.Fatal(err)
	}
	if l.FlushedOffset() != l.LogEndOffset() {
		t.Fatalf("flushed to %d of %d", l.FlushedOffset(), l.LogEndOffset())
	}
	mustProduce(t, l, idempotent(1, 0, 30, 1), 0)
	_, killed = guarded(t, mem.KillClone(), testDir, config, 40_000)
	if n := len(readAll(t, killed)); n != len(acked)+1 {
		t.Fatalf("%d batches, want %d", n, len(acked)+1)
	}
}

func TestGuardIsOffWithoutReserve(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	_, l := guarded(t, mem, testDir, testConfig(), 0)
	if l.dir.space.left.Load() < math.MaxInt64/2 {
		t.Fatal("appends are counted although there is no reserve")
	}
	if _, err := produce(l, record.Batch(plain(1).build(t, 1)), 0, startMs); err != nil {
		t.Fatal(err)
	}
}
