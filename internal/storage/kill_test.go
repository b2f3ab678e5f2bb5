package storage

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/storage/segment"
)

// TestFailedRollLeavesNoHole lets the creation of each file of a segment fail once. The log
// goes on without rolling; an empty segment left behind in the middle of it made recovery cut
// off everything after it.
func TestFailedRollLeavesNoHole(t *testing.T) {
	t.Parallel()
	for _, suffix := range []string{".log", ".index", ".timeindex"} {
		mem, failing := newMem(t), false
		fsys := vfs.NewFault(mem, func(op vfs.Op, name string) error {
			if failing && op == vfs.OpCreate && strings.HasSuffix(name, suffix) {
				return vfs.ErrInjected
			}
			return nil
		})
		_, l := openLogOn(t, fsys, testConfig())
		for l.SizeBytes() < 1800 {
			mustProduce(t, l, plain(1), 0)
		}
		failing = true
		if _, err := produce(l, plain(6).build(t, 1), 0, startMs); kafka.CodeOf(err) != kafka.ErrKafkaStorageError {
			t.Fatalf("%s: %v", suffix, err)
		}
		failing = false
		mustProduce(t, l, plain(1), 0) // fits where the larger batch did not
		for l.SegmentCount() < 3 {
			mustProduce(t, l, plain(3), 0)
		}
		_, reopened := openLogOn(t, mem.KillClone(), testConfig())
		if reopened.LogEndOffset() != l.LogEndOffset() {
			t.Errorf("%s: the log ends at %d, after kill -9 at %d", suffix, l.LogEndOffset(), reopened.LogEndOffset())
		}
	}
}

// TestRecreatedLogStartsAnew deletes a log whose recovery point and start are far on and creates
// another one of its name: the checkpoint files still named the old one's.
func TestRecreatedLogStartsAnew(t *testing.T) {
	t.Parallel()
	recreated := testTP
	recreated.TopicID = kafka.UUID{9}
	for _, restart := range []bool{false, true} {
		mem := newMem(t)
		m, l := openLogOn(t, mem, testConfig())
		for l.SegmentCount() < 3 {
			mustProduce(t, l, plain(3), 0)
		}
		if err := l.AdvanceLogStartOffset(l.LogEndOffset()); err != nil {
			t.Fatal(err)
		}
		if err := m.FlushDir(0, startMs+flushIntervalMs); err != nil {
			t.Fatal(err)
		}
		if err := m.CheckpointLogStartOffsets(); err != nil {
			t.Fatal(err)
		}
		if err := m.Delete(testTP.TopicPartition, startMs); err != nil {
			t.Fatal(err)
		}
		if restart {
			mem = mem.KillClone()
			m = open(t, mem, testConfig())
		}
		l, err := m.GetOrCreate(recreated, testConfig(), startMs)
		if err != nil {
			t.Fatal(err)
		}
		mustProduce(t, l, plain(3), 0)
		_, reopened, err := tryOpenAs(mem.KillClone(), recreated)
		if err != nil {
			t.Fatal(err)
		}
		if start, end, flushed := reopened.LogStartOffset(), reopened.LogEndOffset(), reopened.FlushedOffset(); start != 0 || end != 3 || flushed != 0 {
			t.Errorf("after restart %v: from %d to %d, flushed %d; want 0 to 3, nothing flushed", restart, start, end, flushed)
		}
		for seed := range uint64(20) {
			if _, _, err := tryOpenAs(mem.CrashClone(env.NewSeededRandom(seed)), recreated); err != nil {
				t.Fatalf("after restart %v, power loss %d: %v", restart, seed, err)
			}
		}
	}
}

func tryOpenAs(fsys vfs.FS, tp kafka.TopicIDPartition) (*Manager, *Log, error) {
	m, err := OpenManager(testOptions(fsys, testConfig()))
	if err == nil {
		err = m.Load(LoadOptions{NowMs: startMs})
	}
	if err != nil {
		return nil, nil, err
	}
	l := m.Log(tp.TopicPartition)
	if l == nil {
		l, err = m.GetOrCreate(tp, testConfig(), startMs)
	}
	return m, l, err
}

// TestRetentionKeepsProducers lets retention remove batches that no producer snapshot covers
// yet. After kill -9 the producers went on from the state of an older snapshot, and their next
// batches were refused.
func TestRetentionKeepsProducers(t *testing.T) {
	t.Parallel()
	mem, config := newMem(t), testConfig()
	_, l := openLogOn(t, mem, config)
	mustProduce(t, l, idempotent(7, 0, 0, 1), 0)
	if err := l.Flush(); err != nil { // writes a snapshot
		t.Fatal(err)
	}
	sequence := int32(1)
	for ; l.SegmentCount() < 2; sequence++ {
		mustProduce(t, l, idempotent(7, 0, sequence, 1), 0)
	}
	for l.SegmentCount() < 6 {
		mustProduce(t, l, plain(6), 0)
	}
	small := *config
	small.RetentionBytes = config.SegmentBytes
	l.UpdateConfig(&small)
	if n, err := l.DeleteOldSegments(startMs); err != nil || n < 3 {
		t.Fatalf("%d segments went, %v", n, err)
	}
	_, reopened := openLogOn(t, mem.KillClone(), config)
	if _, err := produce(reopened, idempotent(7, 0, sequence, 1).build(t, 1), 0, startMs); err != nil {
		t.Errorf("sequence %d after the restart: %v", sequence, err)
	}
	if again, err := produce(reopened, idempotent(7, 0, sequence-1, 1).build(t, 1), 0, startMs); err != nil || !again.Duplicate {
		t.Errorf("sequence %d again after the restart: %+v, %v", sequence-1, again, err)
	}
}

// TestReopenedLogGetsItsConfig loads a log before anybody knows its topic's configs, as a broker
// does that starts: retention and segment size of the topic must count again from then on.
func TestReopenedLogGetsItsConfig(t *testing.T) {
	t.Parallel()
	mem, config := newMem(t), testConfig()
	openLogOn(t, mem, config)
	m := open(t, mem.KillClone(), DefaultLogConfig())
	l, err := m.GetOrCreate(testTP, config, startMs)
	if err != nil || *l.Config() != *config {
		t.Errorf("config %+v, %v; want %+v", l.Config(), err, config)
	}
}

// TestRemovalsOfAKilledRecovery kills a recovery after it has removed segments and before the
// folder is synced, starts again, shuts down cleanly and cuts the power. What was removed came
// back then, into a log that is not recovered because its shutdown was clean.
func TestRemovalsOfAKilledRecovery(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	m, l := openLogOn(t, mem, testConfig())
	mustProduce(t, l, plain(3), 0)
	if err := m.FlushDir(0, startMs+flushIntervalMs); err != nil {
		t.Fatal(err)
	}
	flushedBytes := l.SizeBytes()
	for l.SegmentCount() < 3 {
		mustProduce(t, l, plain(3), 0)
	}
	folder := l.folder.Path()
	damaged := filepath.Join(folder, segment.FileName(0, segment.LogSuffix))
	f, err := mem.Open(damaged, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("damage"), flushedBytes+100); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), mem.SyncDir(folder), mem.SyncDir(testDir)); err != nil {
		t.Fatal(err)
	}
	dead, removed := false, false
	killed := vfs.NewFault(mem, func(op vfs.Op, name string) error {
		removed = removed || op == vfs.OpRemove
		if dead = dead || removed && op == vfs.OpSync; dead {
			return vfs.ErrInjected
		}
		return nil
	})
	if _, _, err := tryOpen(killed, testConfig()); err == nil {
		t.Fatal("the recovery was not killed")
	}
	mem = mem.KillClone()
	if err := open(t, mem, testConfig()).Shutdown(1); err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(20) {
		if _, _, err := tryOpenAs(mem.CrashClone(env.NewSeededRandom(seed)), testTP); err != nil {
			t.Fatalf("power loss %d: %v", seed, err)
		}
	}
}

// TestRemovedSegmentComesBack loses the removal of a segment, as power loss may after a recovery
// that was killed before it had synced the folder, while the segment before it has grown since.
// Offsets that both hold must not be read twice.
func TestRemovedSegmentComesBack(t *testing.T) {
	t.Parallel()
	config := testConfig()
	_, l := openLogOn(t, newMem(t), config)
	for l.SegmentCount() < 2 {
		mustProduce(t, l, plain(3), 0)
	}
	mem, folder := l.dir.shared.fs.(*vfs.Mem).KillClone(), l.folder.Path()
	base := l.segments.Load().last().BaseOffset()
	ghost, err := vfs.ReadFile(mem, filepath.Join(folder, segment.FileName(base, segment.LogSuffix)), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	// The log without its last segment, which then goes on in the one before.
	if err := mem.Remove(filepath.Join(folder, segment.FileName(base, segment.LogSuffix))); err != nil {
		t.Fatal(err)
	}
	larger := *config
	larger.SegmentBytes *= 4
	_, l = openLogOn(t, mem, &larger)
	mustProduce(t, l, plain(1), 0)
	mem = mem.KillClone()
	if err := vfs.WriteFileAtomic(mem, filepath.Join(folder, segment.FileName(base, segment.LogSuffix)), ghost); err != nil {
		t.Fatal(err)
	}
	_, l = openLogOn(t, mem, config)
	next := int64(0)
	for _, b := range readAll(t, l) {
		if b.BaseOffset() != next {
			t.Errorf("offset %d follows where %d should be", b.BaseOffset(), next)
		}
		next = b.NextOffset()
	}
	if end := l.LogEndOffset(); end != base+1 {
		t.Errorf("the log ends at %d, want %d", end, base+1)
	}
}
