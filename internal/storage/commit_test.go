package storage

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
)

func flushingConfig() *LogConfig {
	c := testConfig()
	c.FlushMessages = 1
	return c
}

func mustCommit(t testing.TB, m *Manager) {
	t.Helper()
	if _, err := m.CommitDir(0, startMs, nil); err != nil {
		t.Fatal(err)
	}
}

// TestGroupCommitSyncsTheRecordsOnly: what recovery can make anew waits for the background flush.
// The first commit makes the folder and the topic id durable, too.
func TestGroupCommitSyncsTheRecordsOnly(t *testing.T) {
	t.Parallel()
	var syncs []string
	fsys := vfs.NewFault(newMem(t), func(op vfs.Op, name string) error {
		if op == vfs.OpSync || op == vfs.OpSyncDir {
			syncs = append(syncs, name[len(testDir):])
		}
		return nil
	})
	m, l := openLogOn(t, fsys, flushingConfig())
	syncs = nil
	for i, want := range []string{
		"[/events-0/00000000000000000000.log /events-0 /events-0/partition.metadata /events-0 ]",
		"[/events-0/00000000000000000000.log]",
	} {
		mustProduce(t, l, idempotent(7, 0, int32(2*i), 2), 0)
		mustCommit(t, m)
		if got := fmt.Sprint(syncs); got != want || l.FlushedOffset() != int64(2*i+2) {
			t.Errorf("commit %d syncs %s, want %s; flushed %d", i, got, want, l.FlushedOffset())
		}
		syncs = nil
	}
	for l.SegmentCount() == 1 {
		mustProduce(t, l, plain(3), 0)
	}
	mustCommit(t, m)
	if got, want := fmt.Sprint(syncs), fmt.Sprintf("[/events-0/00000000000000000000.log /events-0/%020d.log /events-0]", l.segments.Load().last().BaseOffset()); got != want {
		t.Errorf("after a roll: %s, want %s", got, want)
	}
	if l.recoveryPoint.Load() != 0 {
		t.Errorf("the recovery point is %d, although indexes and producers are not flushed up to there", l.recoveryPoint.Load())
	}
}

// TestGroupCommitOfADeletedLog: who waits finds out, and the log dir stays in use.
func TestGroupCommitOfADeletedLog(t *testing.T) {
	t.Parallel()
	m, l := openLogOn(t, newMem(t), flushingConfig())
	told := 0
	l.OnCounted(func(int64, bool) { told++ })
	if _, err := produce(l, plain(1).build(t, 0), 0, startMs); err != nil {
		t.Fatal(err)
	}
	if err := m.Delete(testTP.TopicPartition, startMs); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, m)
	if told == 0 || kafka.CodeOf(l.Usable()) != kafka.ErrUnknownTopicOrPartition || len(m.OfflineDirs()) != 0 {
		t.Errorf("told %d times, usable: %v, offline: %v", told, l.Usable(), m.OfflineDirs())
	}
}

// TestGroupCommitOnAFullDisk: the records found room, so their commit needs none, although indexes,
// snapshots and checkpoints find none any more.
func TestGroupCommitOnAFullDisk(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	m, l := openLogOn(t, mem, flushingConfig())
	for i := range int32(12) {
		mustProduce(t, l, idempotent(7, 0, 3*i, 3), 0)
	}
	total, free, err := mem.Usage(testDir)
	if err != nil {
		t.Fatal(err)
	}
	mem.SetTotalBytes(total - free)
	if err := m.FlushDir(0, startMs+flushIntervalMs); err == nil {
		t.Fatal("the background flush found room: the test tests nothing")
	}
	mustCommit(t, m)
	if l.CountedOffset() != 36 || len(m.OfflineDirs()) != 0 {
		t.Fatalf("counted %d of 36, offline: %v", l.CountedOffset(), m.OfflineDirs())
	}
	mem.SetTotalBytes(total)
	_, after := openLogOn(t, mem.CrashClone(env.NewSeededRandom(1)), flushingConfig())
	if after.LogEndOffset() != 36 || after.ProducerCount() != 1 {
		t.Errorf("after power loss the log ends at %d with %d producers", after.LogEndOffset(), after.ProducerCount())
	}
}

// TestShutdownFlushesWhatWaits: nobody commits any more, and nothing is lost.
func TestShutdownFlushesWhatWaits(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	m, l := openLogOn(t, mem, flushingConfig())
	if _, err := produce(l, plain(3).build(t, 0), 0, startMs); err != nil {
		t.Fatal(err)
	}
	if err := m.Shutdown(1); err != nil {
		t.Fatal(err)
	}
	if _, err := m.CommitDir(0, startMs, nil); err != nil {
		t.Errorf("a commit after the shutdown: %v", err)
	}
	if _, after := openLogOn(t, mem.CrashClone(env.NewSeededRandom(1)), flushingConfig()); after.LogEndOffset() != 3 || after.CountedOffset() != 3 {
		t.Errorf("ends at %d, counted %d", after.LogEndOffset(), after.CountedOffset())
	}
}

// TestReopenedLogCountsOnceFlushed: what a killed process had written may be in the page cache only.
func TestReopenedLogCountsOnceFlushed(t *testing.T) {
	t.Parallel()
	mem := newMem(t)
	_, l := openLogOn(t, mem, testConfig())
	mustProduce(t, l, plain(3), 0)
	mem = mem.KillClone()
	m, l := openLogOn(t, mem, flushingConfig())
	if l.CountedOffset() != 0 {
		t.Fatalf("counted %d before a flush", l.CountedOffset())
	}
	mustCommit(t, m)
	_, after := openLogOn(t, mem.CrashClone(env.NewSeededRandom(1)), flushingConfig())
	if l.CountedOffset() != 3 || after.LogEndOffset() != 3 {
		t.Fatalf("counted %d, after power loss %d", l.CountedOffset(), after.LogEndOffset())
	}
}

// TestLaterCommits: each log has its own time, and a shorter one comes first.
func TestLaterCommits(t *testing.T) {
	t.Parallel()
	m := open(t, newMem(t), testConfig())
	woken := 0
	m.OnCommitAsked(func(int) { woken++ })
	logs := make([]*Log, 5)
	for i := range logs {
		config := testConfig()
		config.FlushMs = int64(1000 - 100*i)
		l, err := m.GetOrCreate(kafka.TopicIDPartition{TopicID: kafka.UUID{1}, TopicPartition: kafka.TopicPartition{Topic: "t", Partition: int32(i)}}, config, startMs)
		if err != nil {
			t.Fatal(err)
		}
		mustProduce(t, l, plain(1), 0)
		mustProduce(t, l, plain(1), 0)
		logs[i] = l
	}
	if woken != len(logs) {
		t.Errorf("the flusher was woken %d times, want once for each time that is sooner than the others", woken)
	}
	for _, c := range []struct{ atMs, nextMs, flushed int64 }{{599, 600, 0}, {600, 700, 1}, {850, 900, 3}, {5000, 0, 5}} {
		nextMs, err := m.CommitDir(0, startMs+c.atMs, nil)
		if err != nil {
			t.Fatal(err)
		}
		var flushed int64
		for _, l := range logs {
			flushed += l.FlushedOffset() / 2
		}
		if want := startMs + c.nextMs; c.nextMs > 0 && nextMs != want || c.nextMs == 0 && nextMs != never || flushed != c.flushed {
			t.Errorf("at %d: next at %d, %d logs flushed; want %d and %d", c.atMs, nextMs-startMs, flushed, c.nextMs, c.flushed)
		}
	}
}

// TestCommitsBesideEverything has producers who wait for group commits beside rolls, flushes,
// retention and changes of configs, and takes the power away now and then: of what was acknowledged
// before, everything must be there.
func TestCommitsBesideEverything(t *testing.T) {
	t.Parallel()
	mem, config := newMem(t), flushingConfig()
	config.SegmentBytes, config.RetentionBytes = 1500, 20_000
	m := open(t, mem, config)
	asked := make(chan struct{}, 1)
	m.OnCommitAsked(func(int) {
		select {
		case asked <- struct{}{}:
		default:
		}
	})
	logs := make([]*waitedLog, 3)
	for i := range logs {
		tp := kafka.TopicIDPartition{TopicID: kafka.UUID{1}, TopicPartition: kafka.TopicPartition{Topic: "t", Partition: int32(i)}}
		l, err := m.GetOrCreate(tp, config, startMs)
		if err != nil {
			t.Fatal(err)
		}
		logs[i] = &waitedLog{Log: l}
		logs[i].told.L = &logs[i].mu
		l.OnCounted(func(int64, bool) {
			l.AdvanceHighWatermark(l.CountedOffset())
			logs[i].mu.Lock()
			logs[i].told.Broadcast()
			logs[i].mu.Unlock()
		})
	}
	var stop atomic.Bool
	var producers, others, flusher sync.WaitGroup
	for p := range int64(9) {
		producers.Go(func() {
			l := logs[p%3]
			for i := range int32(150) {
				r, err := produce(l.Log, idempotent(p, 0, i, 1).build(t, 0), 0, startMs)
				if err != nil {
					t.Errorf("producer %d: %v", p, err)
					return
				}
				l.await(r.LastOffset)
			}
		})
	}
	flusher.Go(func() {
		for range asked {
			if _, err := m.CommitDir(0, startMs, nil); err != nil {
				t.Error(err)
			}
		}
	})
	immediate := *config
	immediate.FlushMessages, immediate.FlushMs = never, 0
	others.Go(func() {
		for i := 0; !stop.Load(); i++ {
			_, err := m.CleanupRetention(startMs)
			if err == nil {
				err = m.FlushDir(0, startMs+flushIntervalMs)
			}
			if err == nil {
				err = m.RemoveDeleted(startMs + config.FileDeleteDelayMs)
			}
			if err != nil {
				t.Error(err)
			}
			logs[i%3].UpdateConfig([]*LogConfig{config, &immediate}[i%2])
		}
	})
	crashes := 0
	others.Go(func() {
		for seed := uint64(0); !stop.Load(); seed++ {
			var acked [3]int64
			for i, l := range logs {
				acked[i] = l.acked.Load()
			}
			after := open(t, mem.CrashClone(env.NewSeededRandom(seed)), config)
			crashes++
			for i, l := range logs {
				found := after.Log(l.TopicPartition())
				if acked[i] > 0 && (found == nil || found.LogEndOffset() < acked[i]) {
					t.Errorf("power loss %d: %s has lost some of %d acknowledged records", seed, l.TopicPartition(), acked[i])
				}
			}
		}
	})
	producers.Wait()
	stop.Store(true)
	others.Wait()
	close(asked)
	flusher.Wait()
	if crashes == 0 {
		t.Error("there was no power loss: the test tests nothing")
	}
}

// waitedLog is a log whose producers wait for it.
type waitedLog struct {
	*Log
	mu    sync.Mutex
	told  sync.Cond
	acked atomic.Int64
}

func (l *waitedLog) await(offset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.CountedOffset() <= offset {
		l.told.Wait()
	}
	for acked := l.acked.Load(); acked <= offset && !l.acked.CompareAndSwap(acked, offset+1); acked = l.acked.Load() {
	}
}

// TestDeletedLogsDoNotWaitForTheirTime: with a flush.ms of days, all that were deleted in that time
// stayed in memory.
func TestDeletedLogsDoNotWaitForTheirTime(t *testing.T) {
	t.Parallel()
	config := testConfig()
	config.FlushMs = 86_400_000
	m, l := openLogOn(t, newMem(t), config)
	other, err := m.GetOrCreate(tidp("other", 0, 2), config, startMs)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []*Log{l, other} {
		if _, err := produce(l, plain(1).build(t, 0), 0, startMs); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(m.dirs[0].commits.later); n != 2 {
		t.Fatalf("%d logs are due later", n)
	}
	if err := m.Delete(testTP.TopicPartition, startMs); err != nil {
		t.Fatal(err)
	}
	m.dirs[0].commits.askLater(l, startMs+1) // an append that the deletion has overtaken
	if later := m.dirs[0].commits.later; len(later) != 1 || later[0] != other {
		t.Errorf("%d logs are due later", len(later))
	}
}
