package storage

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/storage/checkpoint"
	"github.com/moldau/moldau/internal/storage/segment"
)

func tidp(topic string, partition int32, id byte) kafka.TopicIDPartition {
	return kafka.TopicIDPartition{TopicID: kafka.UUID{15: id}, TopicPartition: kafka.TopicPartition{Topic: topic, Partition: partition}}
}

func TestManagerCreatesListsAndDeletes(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	m := open(t, mem, testConfig())
	for _, tp := range []kafka.TopicIDPartition{tidp("b", 1, 1), tidp("a-x.y", 0, 2), tidp("b", 0, 1), tidp("b", 10, 1)} {
		l, err := m.GetOrCreate(tp, testConfig(), startMs)
		if err != nil || l.TopicID() != tp.TopicID || l.Dir() != testDir {
			t.Fatal(l, err)
		}
		if again, err := m.GetOrCreate(tp, testConfig(), startMs); err != nil || again != l {
			t.Fatal("created twice", err)
		}
	}
	_, err := m.GetOrCreate(tidp("b", 1, 9), testConfig(), startMs)
	wantCode(t, err, kafka.ErrInconsistentTopicID)
	check := func(m *Manager, want string) {
		t.Helper()
		var all []string
		for _, l := range m.Logs() {
			all = append(all, l.TopicPartition().String())
		}
		if got := strings.Join(all, " "); got != want {
			t.Fatalf("logs %q, want %q", got, want)
		}
	}
	check(m, "a-x.y-0 b-0 b-1 b-10")
	deleted := m.Log(kafka.TopicPartition{Topic: "b", Partition: 1})
	if err := m.Delete(deleted.TopicPartition(), startMs); err != nil {
		t.Fatal(err)
	}
	check(m, "a-x.y-0 b-0 b-10")
	_, err = produce(deleted, plain(1).build(t, 0), 0, startMs)
	wantCode(t, err, kafka.ErrUnknownTopicOrPartition)
	_, err = deleted.Read(ReadRequest{})
	wantCode(t, err, kafka.ErrUnknownTopicOrPartition)
	if err := m.Delete(deleted.TopicPartition(), startMs); err != nil {
		t.Fatal("deleting what is gone:", err)
	}
	// Killed now, the folder is gone for good at the next start.
	killed := mem.KillClone()
	again := open(t, killed, testConfig())
	check(again, "a-x.y-0 b-0 b-10")
	if err := again.RemoveDeleted(startMs); err != nil {
		t.Fatal(err)
	}
	if all := names(t, killed, testDir); strings.Contains(all, "-delete") {
		t.Fatal(all)
	}
	if err := m.RemoveDeleted(startMs + testConfig().FileDeleteDelayMs - 1); err != nil {
		t.Fatal(err)
	}
	if all := names(t, mem, testDir); !strings.Contains(all, "-delete") {
		t.Fatal(all)
	}
	// The name is free at once, for another topic id.
	if _, err := m.GetOrCreate(tidp("b", 1, 9), testConfig(), startMs); err != nil {
		t.Fatal(err)
	}
}

func TestReadsOfADeletedLogEnd(t *testing.T) {
	t.Parallel()
	m, l := openLogOn(t, newMem(t), testConfig())
	mustProduce(t, l, plain(1), 0)
	if !l.segments.Load().last().Acquire() {
		t.Fatal("not acquired")
	}
	if err := m.Delete(l.TopicPartition(), startMs); err != nil {
		t.Fatal(err)
	}
	l.segments.Load().last().Release()
	if err := m.RemoveDeleted(startMs + 1<<40); err != nil {
		t.Fatal(err)
	}
}

func TestStraysAreSetAside(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	m, l := openLogOn(t, mem, testConfig())
	mustProduce(t, l, plain(1), 0)
	keep, err := m.GetOrCreate(tidp("keep", 0, 1), testConfig(), startMs)
	if err != nil {
		t.Fatal(err)
	}
	strays, err := m.HandleStrays(func(tp kafka.TopicIDPartition) bool { return tp.Topic == "keep" })
	if err != nil || len(strays) != 1 || strays[0] != testTP {
		t.Fatalf("%v, %v", strays, err)
	}
	if m.Log(testTP.TopicPartition) != nil || m.Log(keep.TopicPartition()) != keep {
		t.Fatal("wrong log set aside")
	}
	if again := open(t, mem.KillClone(), testConfig()); len(again.Logs()) != 1 {
		t.Fatalf("%d logs after a restart", len(again.Logs()))
	}
	if all := names(t, mem, testDir); !strings.Contains(all, "-stray") {
		t.Fatal(all)
	}
}

func TestOneFailedDirLeavesTheOther(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	if err := mem.MkdirAll("/data2"); err != nil {
		t.Fatal(err)
	}
	broken := false
	fault := vfs.NewFault(mem, func(op vfs.Op, name string) error {
		if broken && strings.HasPrefix(name, "/data2/") && op.Changes() {
			return &fs.PathError{Op: op.String(), Path: name, Err: errors.New("input/output error")}
		}
		return nil
	})
	o := testOptions(fault, testConfig())
	o.Dirs = []string{testDir, "/data2"}
	var offline []string
	o.OnDirOffline = func(dir string, err error) { offline = append(offline, dir) }
	m, err := OpenManager(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Load(LoadOptions{NowMs: startMs}); err != nil {
		t.Fatal(err)
	}
	var logs [2]*Log
	for i := range logs {
		if logs[i], err = m.GetOrCreate(tidp("t", int32(i), 1), testConfig(), startMs); err != nil {
			t.Fatal(err)
		}
		mustProduce(t, logs[i], plain(1), 0)
	}
	if logs[0].Dir() == logs[1].Dir() {
		t.Fatal("both logs in one dir")
	}
	broken = true
	for i := range m.DirCount() {
		_ = m.FlushDir(i, startMs+flushIntervalMs)
	}
	if len(offline) != 1 || offline[0] != "/data2" {
		t.Fatalf("offline: %v", offline)
	}
	mustProduce(t, logs[0], plain(1), 0)
	_, err = produce(logs[1], plain(1).build(t, 0), 0, startMs)
	wantCode(t, err, kafka.ErrKafkaStorageError)
	if m.Shutdown(4) != nil {
		t.Fatal("the good dir did not shut down")
	}
	// Only one dir was shut down cleanly: the broker as a whole was not.
	broken = false
	m, err = OpenManager(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Load(LoadOptions{NowMs: startMs}); err != nil || m.CleanShutdownBrokerEpoch() != -1 || len(m.Logs()) != 2 {
		t.Fatalf("broker epoch %d, %d logs, %v", m.CleanShutdownBrokerEpoch(), len(m.Logs()), err)
	}
}

func TestCheckpointsAreWrittenOnlyWhenSomethingChanged(t *testing.T) {
	t.Parallel()
	writes := 0
	fault := vfs.NewFault(newMem(t), func(op vfs.Op, name string) error {
		if op.Changes() {
			writes++
		}
		return nil
	})
	m, l := openLogOn(t, fault, testConfig())
	mustProduce(t, l, plain(1), 0)
	pass := func() {
		t.Helper()
		if err := errors.Join(m.FlushDir(0, startMs+flushIntervalMs), m.CheckpointHighWatermarks(), m.CheckpointLogStartOffsets()); err != nil {
			t.Fatal(err)
		}
	}
	pass()
	before := writes
	pass()
	if writes != before {
		t.Fatalf("%d writes for nothing", writes-before)
	}
}

// TestLostOrNeverWritten tells damage of what was written once from a write that a kill has interrupted.
func TestLostOrNeverWritten(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		harm func(f vfs.File, size int64) error
		lost bool
	}{
		{"killed", func(vfs.File, int64) error { return nil }, false},
		{"killed in the middle of a write", func(f vfs.File, size int64) error { return f.Truncate(size - 7) }, false},
		{"a bit is another", func(f vfs.File, size int64) error { _, err := f.WriteAt([]byte{0xff}, size-3); return err }, true},
	} {
		mem := newMem(t)
		_, l := openLogOn(t, mem, testConfig())
		mustProduce(t, l, plain(1), 0)
		mem = mem.KillClone()
		f, err := mem.Open(testFolder+segment.FileName(0, segment.LogSuffix), true)
		if err != nil {
			t.Fatal(err)
		}
		size, err := f.Size()
		if err := errors.Join(err, c.harm(f, size), f.Close()); err != nil {
			t.Fatal(err)
		}
		if m := open(t, mem, testConfig()); m.HasLost() != c.lost {
			t.Errorf("%s: lost %v", c.name, m.HasLost())
		}
	}
}

// TestLostFiles: what was on disk and is not there counts as lost, after a kill and after a clean stop; what somebody has deleted does not.
func TestLostFiles(t *testing.T) {
	t.Parallel()
	logFile := testFolder + segment.FileName(0, segment.LogSuffix)
	cut := func(mem *vfs.Mem, left int64) error {
		f, err := mem.Open(logFile, true)
		if err != nil {
			return err
		}
		return errors.Join(f.Truncate(left), f.Close())
	}
	for _, c := range []struct {
		name string
		harm func(t *testing.T, m *Manager, mem *vfs.Mem) error
		lost bool
	}{
		{"nothing", func(*testing.T, *Manager, *vfs.Mem) error { return nil }, false},
		{"the log is empty", func(_ *testing.T, _ *Manager, mem *vfs.Mem) error { return cut(mem, 0) }, true},
		{"the last batch is gone", func(_ *testing.T, _ *Manager, mem *vfs.Mem) error {
			info, err := mem.Stat(logFile)
			if err != nil {
				return err
			}
			return cut(mem, info.Size()/2)
		}, true},
		{"the file is gone", func(_ *testing.T, _ *Manager, mem *vfs.Mem) error { return mem.Remove(logFile) }, true},
		{"the folder is gone", func(t *testing.T, _ *Manager, mem *vfs.Mem) error {
			for _, path := range filesBelow(t, mem, testFolder) {
				if err := mem.Remove(path); err != nil {
					return err
				}
			}
			return mem.Remove(filepath.Clean(testFolder))
		}, true},
		{"the log starts behind its end", func(_ *testing.T, _ *Manager, mem *vfs.Mem) error {
			return checkpoint.WriteOffsets(mem, filepath.Join(testDir, checkpoint.LogStartOffsetFileName), map[kafka.TopicPartition]int64{testTP.TopicPartition: 1000})
		}, true},
	} {
		for _, isClean := range []bool{false, true} {
			mem := newMem(t)
			m, l := openLogOn(t, mem, testConfig())
			mustProduce(t, l, plain(1), 0)
			mustProduce(t, l, plain(1), 0)
			if err := m.Shutdown(7); err != nil {
				t.Fatal(err)
			}
			err := c.harm(t, m, mem)
			if !isClean {
				err = errors.Join(err, mem.Remove(filepath.Join(testDir, checkpoint.CleanShutdownFileName)))
			}
			if err != nil {
				t.Fatal(c.name, err)
			}
			m = open(t, mem, testConfig())
			if m.HasLost() != c.lost || (m.CleanShutdownBrokerEpoch() == 7) != (isClean && !c.lost) {
				t.Errorf("%s, clean stop %v: lost %v, it vouches for epoch %d", c.name, isClean, m.HasLost(), m.CleanShutdownBrokerEpoch())
			}
			if err := m.FlushDir(0, startMs); err != nil {
				t.Fatal(c.name, err)
			}
			if m := open(t, mem.KillClone(), testConfig()); m.HasLost() {
				t.Errorf("%s, clean stop %v: the start after the next finds it lost again", c.name, isClean)
			}
		}
	}
}

// TestDeletedIsNotLost kills a broker at each moment after somebody has deleted a log, whatever its name, whether its data waits for
// file.delete.delay.ms or not: no start says that something is lost.
func TestDeletedIsNotLost(t *testing.T) {
	t.Parallel()
	for _, topic := range []string{"events", strings.Repeat("t", kafka.MaxTopicNameLength)} {
		for _, delayMs := range []int64{60_000, 0} {
			mem, config := newMem(t), testConfig()
			config.FileDeleteDelayMs = delayMs
			tp := kafka.TopicIDPartition{TopicID: kafka.UUID{1}, TopicPartition: kafka.TopicPartition{Topic: topic, Partition: 7}}
			m := open(t, mem, config)
			l, err := m.GetOrCreate(tp, config, startMs)
			if err != nil {
				t.Fatal(err)
			}
			mustProduce(t, l, plain(1), 0)
			if err := errors.Join(l.Flush(), m.FlushDir(0, startMs+3_600_000)); err != nil {
				t.Fatal(err)
			}
			if points, err := checkpoint.ReadOffsets(mem, filepath.Join(testDir, checkpoint.RecoveryPointFileName)); err != nil || points[tp.TopicPartition] != 1 {
				t.Fatal(points, err)
			}
			startOn := func(when string, disk *vfs.Mem) *Manager {
				t.Helper()
				m := open(t, disk, config)
				if m.HasLost() {
					t.Errorf("topic of %d bytes, delay %d ms, %s: what was deleted counts as lost", len(topic), delayMs, when)
				}
				return m
			}
			if err := m.Delete(tp.TopicPartition, startMs); err != nil {
				t.Fatal(err)
			}
			deleted := mem.KillClone()
			if err := m.RemoveDeleted(startMs); err != nil {
				t.Fatal(err)
			}
			startOn("killed after the pass that removes", mem.KillClone())
			if err := startOn("killed at once", deleted).RemoveDeleted(startMs); err != nil {
				t.Fatal(err)
			}
			startOn("killed at once, and again after the removal", deleted.KillClone())
		}
	}
}

func TestKafka10471CrashDuringTheLoadIsUnclean(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	m, l := openLogOn(t, mem, testConfig())
	mustProduce(t, l, plain(1), 0)
	if err := m.Shutdown(7); err != nil {
		t.Fatal(err)
	}
	if m = open(t, mem, testConfig()); m.CleanShutdownBrokerEpoch() != 7 {
		t.Fatalf("broker epoch %d", m.CleanShutdownBrokerEpoch())
	}
	if m = open(t, mem.KillClone(), testConfig()); m.CleanShutdownBrokerEpoch() != -1 {
		t.Fatal("the second start took the clean-shutdown file of the first one's")
	}
}

func TestTruncationRemovesSegmentsEpochsAndProducers(t *testing.T) {
	t.Parallel()
	config := testConfig()
	config.SegmentBytes = 300
	mem := newMem(t)
	_, l := openLogOn(t, mem, config)
	for i := range int32(8) {
		mustProduce(t, l, idempotent(1, 0, i*2, 2), i)
	}
	if err := l.TruncateTo(5, startMs); err != nil { // within the batch of 4 and 5
		t.Fatal(err)
	}
	if l.LogEndOffset() != 4 || l.HighWatermark() != 4 || l.LatestEpoch() != 1 || l.FlushedOffset() > 4 {
		t.Fatalf("ends at %d, high watermark %d, epoch %d, flushed %d", l.LogEndOffset(), l.HighWatermark(), l.LatestEpoch(), l.FlushedOffset())
	}
	if all := names(t, mem, testFolder); strings.Contains(all, segment.FileName(8, segment.LogSuffix)+" ") {
		t.Fatal(all)
	}
	mustProduce(t, l, idempotent(1, 0, 4, 2), 9)
	if epoch, end := l.EndOffsetForEpoch(5); epoch != 1 || end != 4 {
		t.Fatalf("epoch %d ends at %d", epoch, end)
	}
}

// TestRecoveryPointNeverAboveTheLog opens a log that ends below the recovery point on disk. What
// is appended from there on is not flushed, so the file must be corrected before.
func TestRecoveryPointNeverAboveTheLog(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	m, l := openLogOn(t, mem, testConfig())
	mustProduce(t, l, plain(3), 0)
	if err := m.FlushDir(0, startMs+flushIntervalMs); err != nil {
		t.Fatal(err)
	}
	mem = mem.KillClone()
	path := filepath.Join(testDir, checkpoint.RecoveryPointFileName)
	if err := checkpoint.WriteOffsets(mem, path, map[kafka.TopicPartition]int64{testTP.TopicPartition: 1000}); err != nil {
		t.Fatal(err)
	}
	open(t, mem, testConfig())
	if offsets, err := checkpoint.ReadOffsets(mem, path); err != nil || offsets[testTP.TopicPartition] > 3 {
		t.Fatalf("the recovery point on disk is %v (%v), the log ends at 3", offsets, err)
	}
}
