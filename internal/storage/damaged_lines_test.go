package storage

import (
	"errors"
	"maps"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/storage/checkpoint"
)

// TestLogThatFoundNoRoomIsOpenedLater kills a broker and starts it on a full disk, where one log
// cannot be opened, and then on one that has room. The checkpoint files' lines are all that says
// that the holes in the log come from compaction and not from a crash, and it has not been recovered
// by the start that could not open it, however cleanly that one ends.
func TestLogThatFoundNoRoomIsOpenedLater(t *testing.T) {
	t.Parallel()
	for _, stopped := range []bool{false, true} {
		mem := flipData(t, false)
		want := flipViews(t, mem)["compacted"]
		var full atomic.Bool
		fsys := vfs.NewFault(mem, func(op vfs.Op, name string) error {
			if full.Load() && op.Changes() && strings.Contains(name, "/compacted-0/") {
				return syscall.ENOSPC
			}
			return nil
		})
		full.Store(true)
		m := open(t, fsys, testConfig())
		if m.DamagedLogs() != 1 || len(m.OfflineDirs()) > 0 {
			t.Fatalf("%d logs cannot be opened; offline: %v", m.DamagedLogs(), m.OfflineDirs())
		}
		m.dirs[0].markAllChanged()
		if err := errors.Join(m.CheckpointHighWatermarks(), m.CheckpointLogStartOffsets(), m.FlushDir(0, startMs+2*flushIntervalMs), m.dirs[0].cleanedOffsets.write(m.dirs[0])); err != nil {
			t.Fatal(err)
		}
		if stopped {
			if err := m.Shutdown(5); err != nil {
				t.Fatal(err)
			}
		}
		full.Store(false)
		again := open(t, mem.KillClone(), testConfig())
		if stopped && again.CleanShutdownBrokerEpoch() != -1 {
			t.Errorf("the log was never recovered, and the log dir counts as cleanly shut down")
		}
		l := again.Log(flipTP("compacted").TopicPartition)
		if l == nil {
			t.Fatal("the log cannot be opened, although there is room")
		}
		if got := viewOf(t, l); !maps.Equal(got.records, want.records) || got.start != want.start || got.end != want.end || l.CleanedOffset() == 0 {
			t.Errorf("stopped %v: %d records from %d to %d, want %d from %d to %d; cleaned up to %d",
				stopped, len(got.records), got.start, got.end, len(want.records), want.start, want.end, l.CleanedOffset())
		}
	}
}

// TestFutureLogKeepsItsLines: the checkpoint files of the target say all about a log from before the
// exchange of the folders on, whoever writes them meanwhile; and a start that leaves a complete future
// log alone keeps what they say.
func TestFutureLogKeepsItsLines(t *testing.T) {
	t.Parallel()
	var m *Manager
	var crashed *vfs.Mem
	mem := newTwoDirs(t)
	fsys := vfs.NewFault(mem, func(op vfs.Op, name string) error {
		if op == vfs.OpRename && name == filepath.Join(otherDir, testTP.TopicPartition.String()) {
			m.dirs[1].markAllChanged()
			if err := errors.Join(m.FlushDir(1, startMs+2*flushIntervalMs), m.CheckpointHighWatermarks(), m.CheckpointLogStartOffsets()); err != nil {
				t.Error(err)
			}
			crashed = mem.KillClone()
		}
		return nil
	})
	m, err := openTwoDirs(fsys)
	if err != nil {
		t.Fatal(err)
	}
	want := moveView(t, fillForMove(t, m))
	if err := m.Move(testTP.TopicPartition, otherDir); err != nil {
		t.Fatal(err)
	}
	if _, err := moveIt(m); err != nil || crashed == nil {
		t.Fatal(err, crashed)
	}
	hasLines := func(when string) {
		t.Helper()
		for _, file := range []string{checkpoint.RecoveryPointFileName, checkpoint.HighWatermarkFileName, checkpoint.LogStartOffsetFileName} {
			lines, err := checkpoint.ReadOffsets(crashed, filepath.Join(otherDir, file))
			if _, known := lines[testTP.TopicPartition]; err != nil || !known {
				t.Errorf("%s, %s says nothing about the log: %v %v", when, file, lines, err)
			}
		}
	}
	hasLines("between the two renames")

	o := testOptions(crashed, testConfig())
	o.Dirs = []string{testDir, otherDir, "/failed"}
	o.DirectoryIDs = map[string]kafka.UUID{testDir: {1}, otherDir: {2}}
	o.Failed = map[string]error{"/failed": errors.New("not mounted")}
	if m, err = OpenManager(o); err != nil {
		t.Fatal(err)
	}
	if err := m.Load(LoadOptions{NowMs: startMs}); err != nil {
		t.Fatal(err)
	}
	if l, err := m.Place(testTP, Placement{Directory: kafka.UUID{1}}, testConfig(), startMs); kafka.CodeOf(err) != kafka.ErrKafkaStorageError {
		t.Errorf("an empty log takes the place of one that waits for a log dir: %v, %v", l, err)
	}
	if _, err := m.GetOrCreate(tidp("else", 0, 3), testConfig(), startMs); err != nil {
		t.Fatal(err)
	}
	m.dirs[1].markAllChanged()
	if err := errors.Join(m.FlushDir(1, startMs+2*flushIntervalMs), m.CheckpointHighWatermarks(), m.CheckpointLogStartOffsets(), m.RemoveDeleted(startMs)); err != nil {
		t.Fatal(err)
	}
	hasLines("after a start without one log dir")
	if m, err = openTwoDirs(crashed.KillClone()); err != nil {
		t.Fatal(err)
	}
	l := m.Log(testTP.TopicPartition)
	if l == nil || l.Dir() != otherDir {
		t.Fatal("the move was not completed")
	}
	if got := moveView(t, l); got.Start != want.Start || got.End != want.End || len(got.Batches) != len(want.Batches) {
		t.Errorf("%d batches from %d to %d", len(got.Batches), got.Start, got.End)
	}
}
