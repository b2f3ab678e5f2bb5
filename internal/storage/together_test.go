package storage

import (
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
)

// createMany opens fsys and creates logs that an idempotent producer has written three batches to.
func createMany(t *testing.T, fsys vfs.FS, count int) (*Manager, []*Log) {
	t.Helper()
	m := open(t, fsys, testConfig())
	var logs []*Log
	for i := range count {
		l, err := m.GetOrCreate(tidp("t", int32(i), 1), testConfig(), startMs)
		if err != nil {
			t.Fatal(err)
		}
		for sequence := range int32(3) {
			mustProduce(t, l, idempotent(7, 0, sequence, 1), sequence/2)
		}
		logs = append(logs, l)
	}
	return m, logs
}

// TestManyLogsAreSyncedTogether: ten fsyncs for each of thousands of logs take minutes, in every
// pass and at the end.
func TestManyLogsAreSyncedTogether(t *testing.T) {
	t.Parallel()
	var syncs atomic.Int64
	fsys := vfs.NewFault(newMem(t), func(op vfs.Op, _ string) error {
		switch op {
		case vfs.OpSync, vfs.OpSyncDir, vfs.OpSyncVolume:
			syncs.Add(1)
		}
		return nil
	})
	const count = 3 * togetherFrom
	m, logs := createMany(t, fsys, count)
	syncs.Store(0)
	if err := m.FlushDir(0, startMs+flushIntervalMs); err != nil {
		t.Fatal(err)
	}
	if n := syncs.Load(); n > 4 { // the volume twice, the checkpoint file
		t.Errorf("%d syncs for %d logs", n, count)
	}
	for _, l := range logs {
		if l.FlushedOffset() != 3 || l.recoveryPoint.Load() != 3 {
			t.Fatalf("%s is flushed up to %d, its recovery point is %d", l.TopicPartition(), l.FlushedOffset(), l.recoveryPoint.Load())
		}
		mustProduce(t, l, plain(1), 3)
	}
	syncs.Store(0)
	if err := m.Shutdown(1); err != nil {
		t.Fatal(err)
	}
	if n := syncs.Load(); n > 14 {
		t.Errorf("%d syncs for the end of %d logs", n, count)
	}
}

// TestGroupLeavesOutWhatWaits: to sync a volume may take seconds, and a topic with flush.messages
// would wait for that every five.
func TestGroupLeavesOutWhatWaits(t *testing.T) {
	t.Parallel()
	var waits *Log
	syncing := 0
	fsys := vfs.NewFault(newMem(t), func(op vfs.Op, _ string) error {
		if op == vfs.OpSyncVolume {
			syncing++
			if !waits.flushMu.TryLock() {
				t.Error("a group commit would wait for the volume")
			} else {
				waits.flushMu.Unlock()
			}
		}
		return nil
	})
	m, logs := createMany(t, fsys, 2*togetherFrom)
	waits = logs[3]
	waits.UpdateConfig(flushingConfig())
	if err := m.FlushDir(0, startMs+flushIntervalMs); err != nil || syncing == 0 {
		t.Fatalf("the volume was synced %d times, %v", syncing, err)
	}
	for _, l := range logs {
		if l.recoveryPoint.Load() != 3 {
			t.Errorf("the recovery point of %s is %d", l.TopicPartition(), l.recoveryPoint.Load())
		}
	}
}

// TestPowerLossAfterAGroup cuts the power after a group's flush: all of it is there, and the
// producers' state with it.
func TestPowerLossAfterAGroup(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		mem := newMem(t)
		m, logs := createMany(t, mem, togetherFrom)
		if err := m.FlushDir(0, startMs+flushIntervalMs); err != nil {
			t.Fatal(err)
		}
		for _, l := range logs {
			mustProduce(t, l, plain(2), 3)
		}
		if seed%2 == 1 {
			if err := m.Shutdown(1); err != nil {
				t.Fatal(err)
			}
		}
		reopened := open(t, mem.CrashClone(env.NewSeededRandom(seed)), testConfig())
		for _, old := range logs {
			l := reopened.Log(old.TopicPartition())
			if l == nil {
				t.Fatalf("seed %d: %s is gone", seed, old.TopicPartition())
			}
			if end := l.LogEndOffset(); end < 3 || seed%2 == 1 && end != 5 {
				t.Fatalf("seed %d: %s ends at %d", seed, l.TopicPartition(), end)
			}
			again, err := produce(l, idempotent(7, 0, 2, 1).build(t, 1), 3, startMs)
			if err != nil || !again.Duplicate {
				t.Fatalf("seed %d: the last batch again: %+v, %v", seed, again, err)
			}
		}
	}
}

// TestGroupOnAFullDisk lets one log of a group find no room for its producer snapshot.
func TestGroupOnAFullDisk(t *testing.T) {
	t.Parallel()
	var full atomic.Bool
	fsys := vfs.NewFault(newMem(t), func(op vfs.Op, name string) error {
		if full.Load() && op == vfs.OpCreate && strings.Contains(name, "t-3/") && strings.Contains(name, ".snapshot") {
			return syscall.ENOSPC
		}
		return nil
	})
	m, logs := createMany(t, fsys, togetherFrom)
	full.Store(true)
	if err := m.FlushDir(0, startMs+flushIntervalMs); kafka.CodeOf(err) != kafka.ErrKafkaStorageError {
		t.Fatalf("the pass says %v", err)
	}
	for i, l := range logs {
		if want := int64(3); i != 3 && l.recoveryPoint.Load() != want {
			t.Errorf("%s has recovery point %d, want %d", l.TopicPartition(), l.recoveryPoint.Load(), want)
		}
	}
	if l := logs[3]; l.recoveryPoint.Load() != 0 || l.usable() != nil {
		t.Fatalf("recovery point %d without the snapshot; usable: %v", l.recoveryPoint.Load(), l.usable())
	}
	full.Store(false)
	if err := m.FlushDir(0, startMs+2*flushIntervalMs); err != nil || logs[3].recoveryPoint.Load() != 3 {
		t.Errorf("with room again: recovery point %d, %v", logs[3].recoveryPoint.Load(), err)
	}
}

// TestGroupWithoutADisk: a failed sync of the volume takes the log dir offline, also where the disk
// is full, as what was not written is not written by the next one either; and no recovery
// point says more than was synced.
func TestGroupWithoutADisk(t *testing.T) {
	t.Parallel()
	for i := range int64(4) {
		failing, cause := i%2, []error{vfs.ErrInjected, syscall.ENOSPC}[i/2]
		mem := newMem(t)
		var syncs atomic.Int64
		fsys := vfs.NewFault(mem, func(op vfs.Op, _ string) error {
			if op == vfs.OpSyncVolume && syncs.Add(1) == failing+1 {
				return cause
			}
			return nil
		})
		m, logs := createMany(t, fsys, togetherFrom)
		if err := m.FlushDir(0, startMs+flushIntervalMs); !errors.Is(err, cause) || len(m.OfflineDirs()) != 1 {
			t.Fatalf("sync %d failed: %v, offline: %v", failing+1, err, m.OfflineDirs())
		}
		for _, l := range logs {
			if l.recoveryPoint.Load() != 0 || l.usable() == nil {
				t.Fatalf("sync %d failed: recovery point %d, usable: %v", failing+1, l.recoveryPoint.Load(), l.usable())
			}
		}
		for seed := range uint64(5) {
			open(t, mem.CrashClone(env.NewSeededRandom(seed)), testConfig())
		}
	}
}

// TestDeletionsAreSyncedTogether: a topic with thousands of partitions is deleted with one sync. Power
// loss before it brings logs back, never into the place of a topic that was created since.
func TestDeletionsAreSyncedTogether(t *testing.T) {
	t.Parallel()
	var syncs atomic.Int64
	mem := newMem(t)
	fsys := vfs.NewFault(mem, func(op vfs.Op, _ string) error {
		if op == vfs.OpSyncDir {
			syncs.Add(1)
		}
		return nil
	})
	m, logs := createMany(t, fsys, 8)
	if err := m.FlushDir(0, startMs+flushIntervalMs); err != nil {
		t.Fatal(err)
	}
	syncs.Store(0)
	for _, l := range logs {
		if err := m.Delete(l.TopicPartition(), startMs); err != nil {
			t.Fatal(err)
		}
	}
	if n := syncs.Load(); n != 0 {
		t.Errorf("%d syncs of folders for %d deletions", n, len(logs))
	}
	recreated := tidp("t", 0, 2)
	if _, err := m.GetOrCreate(recreated, testConfig(), startMs); err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(20) {
		lost := open(t, mem.CrashClone(env.NewSeededRandom(seed)), testConfig())
		if _, err := lost.HandleStrays(func(tp kafka.TopicIDPartition) bool { return tp.TopicID == recreated.TopicID }); err != nil {
			t.Fatal(err)
		}
		if l, err := lost.GetOrCreate(recreated, testConfig(), startMs); err != nil || l.LogEndOffset() != 0 {
			t.Fatalf("seed %d: the new topic's log: %v", seed, err)
		}
	}
	if err := m.RemoveDeleted(startMs); err != nil {
		t.Fatal(err)
	}
	after := open(t, mem.CrashClone(env.NewSeededRandom(1)), testConfig())
	for _, l := range logs[1:] {
		if after.Log(l.TopicPartition()) != nil {
			t.Errorf("%s is back", l.TopicPartition())
		}
	}
}

// TestPassesAreBounded keeps a stop from waiting until all of them are flushed.
func TestPassesAreBounded(t *testing.T) {
	t.Parallel()
	const more = 7
	m := open(t, newMem(t), testConfig())
	for i := range flushesAtOnce + more {
		l, err := m.GetOrCreate(tidp("t", int32(i), 1), testConfig(), startMs)
		if err != nil {
			t.Fatal(err)
		}
		mustProduce(t, l, plain(1), 0)
	}
	for _, want := range []int{more, 0} {
		if err := m.FlushDir(0, startMs+flushIntervalMs); err != nil {
			t.Fatal(err)
		}
		if left := len(m.dirs[0].dirty); left != want {
			t.Errorf("%d logs are left, want %d", left, want)
		}
	}
}

// TestGroupLeavesDeletedLogsAlone: a topic may be deleted while its logs wait for their flush.
func TestGroupLeavesDeletedLogsAlone(t *testing.T) {
	t.Parallel()
	m, logs := createMany(t, newMem(t), togetherFrom+1)
	if err := m.Delete(logs[2].TopicPartition(), startMs); err != nil {
		t.Fatal(err)
	}
	if err := m.dirs[0].flushTogether(logs, false); err != nil {
		t.Fatal(err)
	}
	if logs[2].recoveryPoint.Load() != 0 || logs[3].recoveryPoint.Load() != 3 {
		t.Errorf("recovery points %d and %d", logs[2].recoveryPoint.Load(), logs[3].recoveryPoint.Load())
	}
}
