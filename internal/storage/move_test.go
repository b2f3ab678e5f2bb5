package storage

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
)

const otherDir = "/other"

func newTwoDirs(t testing.TB) *vfs.Mem {
	t.Helper()
	mem := newMem(t)
	if err := errors.Join(mem.MkdirAll(otherDir), mem.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
	return mem
}

func openTwoDirs(fsys vfs.FS) (*Manager, error) {
	o := testOptions(fsys, testConfig())
	o.Dirs = []string{testDir, otherDir}
	o.DirectoryIDs = map[string]kafka.UUID{testDir: {1}, otherDir: {2}}
	m, err := OpenManager(o)
	if err == nil {
		err = m.Load(LoadOptions{NowMs: startMs})
	}
	return m, err
}

// logView is everything of a log that a move must keep.
type logView struct {
	Start, End, Watermark, Stable, Cleaned int64
	Epochs                                 string
	Producers                              string
	Batches                                [][]byte
	Aborted                                string
}

func moveView(t testing.TB, l *Log) logView {
	t.Helper()
	v := logView{Start: l.LogStartOffset(), End: l.LogEndOffset(), Watermark: l.HighWatermark(), Stable: l.LastStableOffset(), Cleaned: l.CleanedOffset()}
	v.Epochs = fmt.Sprint(l.epochs.Load().All())
	v.Producers = fmt.Sprintf("%+v", l.Producers())
	for _, b := range readAll(t, l) {
		v.Batches = append(v.Batches, bytes.Clone(b))
	}
	r, err := l.Read(ReadRequest{Offset: l.LogStartOffset(), MaxBytes: 1 << 20, MinOneBatch: true, UpTo: l.LogEndOffset(), Aborted: true})
	if err != nil {
		t.Fatal(err)
	}
	aborted, err := abortedIn(l.segments.Load(), l.LogStartOffset(), l.LogEndOffset())
	if err != nil || len(r.Aborted) > len(aborted) {
		t.Fatal(err, r.Aborted, aborted)
	}
	for _, a := range aborted {
		v.Aborted += fmt.Sprintf("%d from %d to %d; ", a.ProducerID, a.FirstOffset, a.LastOffset)
	}
	return v
}

// fillForMove makes a log with everything: segments, epochs, producers, transactions that were
// aborted, committed and are open, and a start within a segment.
func fillForMove(t testing.TB, m *Manager) *Log {
	t.Helper()
	l, err := m.Place(testTP, Placement{Directory: kafka.UUID{1}, New: true}, testConfig(), startMs)
	if err != nil {
		t.Fatal(err)
	}
	must := func(r AppendResult, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		mustProduce(t, l, plain(2), int32(i/5))
	}
	mustProduce(t, l, idempotent(3, 0, 0, 2), 4)
	must(writeInTransaction(t, l, 7, 0, 0, 2))
	must(appendMarker(t, l, 7, 0, 0, false, 1))
	for range 10 {
		mustProduce(t, l, plain(3), 4)
	}
	must(writeInTransaction(t, l, 8, 0, 0, 2))
	must(appendMarker(t, l, 8, 0, 0, true, 1))
	must(writeInTransaction(t, l, 9, 0, 0, 2)) // open
	mustProduce(t, l, plain(1), 5)
	l.AdvanceHighWatermark(l.LogEndOffset())
	if err := errors.Join(l.AdvanceLogStartOffset(3), l.Flush()); err != nil {
		t.Fatal(err)
	}
	for i := range m.DirCount() {
		if err := m.FlushDir(i, startMs+60_000); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(m.CheckpointHighWatermarks(), m.CheckpointLogStartOffsets()); err != nil {
		t.Fatal(err)
	}
	return l
}

// moveIt drives a move to its end.
func moveIt(m *Manager) (*Log, error) {
	v := m.NextMove()
	if v == nil {
		return nil, errors.New("no move is wanted")
	}
	if !v.Pause() {
		return nil, errors.New("the log is being compacted")
	}
	for {
		n, err := v.Copy(startMs)
		if err != nil {
			v.Abort(err)
			return nil, err
		}
		if n == 0 {
			break
		}
	}
	l, err := v.Finish(startMs)
	if err != nil {
		v.Abort(err)
	}
	return l, err
}

func foldersIn(t testing.TB, fsys vfs.FS, dir, suffix string) (names []string) {
	t.Helper()
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && strings.HasSuffix(e.Name(), suffix) {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestMoveToAnotherLogDir(t *testing.T) {
	t.Parallel()
	mem := newTwoDirs(t)
	m, err := openTwoDirs(mem)
	if err != nil {
		t.Fatal(err)
	}
	old := fillForMove(t, m)
	before := moveView(t, old)
	if before.Stable == before.End || before.Aborted == "" || old.SegmentCount() < 3 {
		t.Fatalf("the log is too simple: %+v", before)
	}
	if err := m.Move(testTP.TopicPartition, otherDir); err != nil {
		t.Fatal(err)
	}
	describe := func(dir int) []LogDescription {
		return m.DescribeDirs(func(kafka.TopicPartition) bool { return true })[dir].Logs
	}
	if d := describe(1); len(d) != 1 || !d[0].IsFuture || d[0].OffsetLag != before.End-before.Start {
		t.Errorf("described as %+v", d)
	}
	moved, err := moveIt(m)
	if err != nil {
		t.Fatal(err)
	}
	if after := moveView(t, moved); !reflect.DeepEqual(before, after) {
		t.Errorf("before %+v\nafter  %+v", before, after)
	}
	if m.Log(testTP.TopicPartition) != moved || moved.Dir() != otherDir || moved.FlushedOffset() != before.End || len(m.Logs()) != 1 {
		t.Errorf("in %s, flushed to %d, %d logs", moved.Dir(), moved.FlushedOffset(), len(m.Logs()))
	}
	if _, err := old.Read(ReadRequest{Offset: 3, MaxBytes: 100, UpTo: 10}); !errors.Is(err, ErrMoved) {
		t.Errorf("the old log answers %v", err)
	}
	if d := describe(1); len(d) != 1 || d[0].IsFuture || len(describe(0)) != 0 {
		t.Errorf("described as %+v and %+v", describe(0), d)
	}
	if live, deleted := foldersIn(t, mem, testDir, "-0"), foldersIn(t, mem, testDir, "-delete"); len(live) != 0 || len(deleted) != 1 {
		t.Errorf("left behind: %v %v", live, deleted)
	}
	// Producers go on where they were: a batch sent again is a duplicate, the next one follows.
	if r := mustProduce(t, moved, idempotent(3, 0, 0, 2), 5); !r.Duplicate {
		t.Errorf("not known any more: %+v", r)
	}
	mustProduce(t, moved, idempotent(3, 0, 2, 1), 5)
	if _, err := appendMarker(t, moved, 9, 0, 0, false, 1); err != nil {
		t.Error(err)
	}
	moved.AdvanceHighWatermark(moved.LogEndOffset())
	want := moveView(t, moved)
	m, err = openTwoDirs(mem.KillClone())
	if err != nil {
		t.Fatal(err)
	}
	got := moveView(t, m.Log(testTP.TopicPartition))
	got.Watermark, got.Stable, want.Watermark, want.Stable = 0, 0, 0, 0 // checkpointed every 5 s
	if !reflect.DeepEqual(want, got) {
		t.Errorf("after kill -9: %+v\nwant %+v", got, want)
	}
}

// TestMoveIsCancelledAndRedirected ends moves in every way but by their success.
func TestMoveIsCancelledAndRedirected(t *testing.T) {
	t.Parallel()
	mem := newTwoDirs(t)
	m, err := openTwoDirs(mem)
	if err != nil {
		t.Fatal(err)
	}
	l := fillForMove(t, m)
	begin := func() *Move {
		t.Helper()
		if err := m.Move(testTP.TopicPartition, otherDir); err != nil {
			t.Fatal(err)
		}
		v := m.NextMove()
		if !v.Pause() {
			t.Fatal("not paused")
		}
		if _, err := v.Copy(startMs); err != nil {
			t.Fatal(err)
		}
		if got := foldersIn(t, mem, otherDir, "-future"); len(got) != 1 {
			t.Fatalf("future folders %v", got)
		}
		return v
	}
	over := func(what string, v *Move) {
		t.Helper()
		if _, err := v.Copy(startMs); err == nil {
			t.Errorf("%s: it can be copied on", what)
		}
		if _, err := v.Finish(startMs); err == nil {
			t.Errorf("%s: it can be finished", what)
		}
		if m.NextMove() != nil || len(foldersIn(t, mem, otherDir, "-future")) != 0 {
			t.Errorf("%s: it is not over", what)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.clean.running {
			t.Errorf("%s: compaction is still kept away", what)
		}
	}
	if err := m.Move(testTP.TopicPartition, otherDir); err != nil {
		t.Fatal(err)
	}
	v := m.NextMove()
	if err := m.Move(testTP.TopicPartition, testDir); err != nil {
		t.Fatal(err)
	}
	over("before it began", v)
	v = begin()
	if err := m.Move(testTP.TopicPartition, otherDir); err != nil || m.NextMove() != v {
		t.Errorf("asked again: %v", err)
	}
	if err := m.Move(testTP.TopicPartition, testDir); err != nil {
		t.Fatal(err)
	}
	over("back", v)
	wantCode(t, m.Move(testTP.TopicPartition, "/nowhere"), kafka.ErrLogDirNotFound)
	wantCode(t, m.Move(kafka.TopicPartition{Topic: "later"}, otherDir), kafka.ErrReplicaNotAvailable)
	later, err := m.GetOrCreate(kafka.TopicIDPartition{TopicID: kafka.UUID{5}, TopicPartition: kafka.TopicPartition{Topic: "later"}}, testConfig(), startMs)
	if err != nil || later.Dir() != otherDir {
		t.Errorf("created in %s, %v", later.Dir(), err)
	}
	v = begin()
	if err := m.Delete(testTP.TopicPartition, startMs); err != nil {
		t.Fatal(err)
	}
	over("deleted", v)
	if err := m.RemoveDeleted(startMs + 3_600_000); err != nil || len(foldersIn(t, mem, otherDir, "-delete")) != 0 {
		t.Errorf("left: %v, %v", foldersIn(t, mem, otherDir, "-delete"), err)
	}
}

// TestMoveMeetsAppendsAndRetention has the log change between any two chunks.
func TestMoveMeetsAppendsAndRetention(t *testing.T) {
	t.Parallel()
	m, err := openTwoDirs(newTwoDirs(t))
	if err != nil {
		t.Fatal(err)
	}
	l := fillForMove(t, m)
	if err := m.Move(testTP.TopicPartition, otherDir); err != nil {
		t.Fatal(err)
	}
	v := m.NextMove()
	v.Pause()
	for i := range 12 {
		if _, err := v.Copy(startMs); err != nil {
			t.Fatal(err)
		}
		mustProduce(t, l, plain(3), 6)
		l.AdvanceHighWatermark(l.LogEndOffset())
		if i%3 == 2 {
			if err := l.AdvanceLogStartOffset(min(int64(i*9), l.HighWatermark())); err != nil {
				t.Fatal(err)
			}
			if _, err := l.DeleteOldSegments(startMs); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := l.AdvanceLogStartOffset(l.LogEndOffset()); err != nil { // past everything that was copied
		t.Fatal(err)
	}
	if _, err := l.DeleteOldSegments(startMs); err != nil {
		t.Fatal(err)
	}
	mustProduce(t, l, plain(2), 6)
	l.AdvanceHighWatermark(l.LogEndOffset())
	before := moveView(t, l)
	moved, err := v.Finish(startMs)
	if err != nil {
		t.Fatal(err)
	}
	if after := moveView(t, moved); !reflect.DeepEqual(before, after) {
		t.Errorf("before %+v\nafter  %+v", before, after)
	}
}

// TestMoveMeetsTruncations cuts a follower's log off, or starts it over, after a part of it was copied, and other
// records come in the place of those: the log that takes its place has them, too.
func TestMoveMeetsTruncations(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		records int
		change  func(l *Log) error
	}{
		"truncated":           {30, func(l *Log) error { return l.TruncateTo(l.LogEndOffset()-20, startMs) }},
		"started over":        {30, func(l *Log) error { return l.StartAt(l.LogEndOffset()+5, startMs) }},
		"empty, from earlier": {0, func(l *Log) error { return l.StartAt(10, startMs) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, err := openTwoDirs(newTwoDirs(t))
			if err != nil {
				t.Fatal(err)
			}
			l, err := m.Place(testTP, Placement{Directory: kafka.UUID{1}, New: true}, testConfig(), startMs)
			if err != nil {
				t.Fatal(err)
			}
			if c.records == 0 {
				if err := l.StartAt(40, startMs); err != nil {
					t.Fatal(err)
				}
			}
			for range c.records {
				mustProduce(t, l, plain(2), 1)
			}
			if err := m.Move(testTP.TopicPartition, otherDir); err != nil {
				t.Fatal(err)
			}
			v := m.NextMove()
			v.Pause()
			for n := 1; n > 0; {
				if n, err = v.Copy(startMs); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.change(l); err != nil {
				t.Fatal(err)
			}
			for range 40 {
				mustProduce(t, l, plain(1), 2)
			}
			before := moveView(t, l)
			moved, err := v.Finish(startMs)
			if err != nil { // it begins again
				v.Abort(err)
				if moved, err = moveIt(m); err != nil {
					t.Fatal(err)
				}
			}
			if after := moveView(t, moved); !reflect.DeepEqual(before, after) {
				t.Errorf("before %+v\nafter  %+v", before, after)
			}
			if moved.Dir() != otherDir || m.NextMove() != nil {
				t.Errorf("in %s, the next move is %v", moved.Dir(), m.NextMove())
			}
		})
	}
}

// TestMoveOfAnEmptyLog has nothing to copy, at the very beginning and after all was deleted.
func TestMoveOfAnEmptyLog(t *testing.T) {
	t.Parallel()
	mem := newTwoDirs(t)
	m, err := openTwoDirs(mem)
	if err != nil {
		t.Fatal(err)
	}
	l, err := m.Place(testTP, Placement{Directory: kafka.UUID{1}, New: true}, testConfig(), startMs)
	for _, dir := range []string{otherDir, testDir} {
		if err != nil {
			t.Fatal(err)
		}
		before := moveView(t, l)
		if err := m.Move(testTP.TopicPartition, dir); err != nil {
			t.Fatal(err)
		}
		if l, err = moveIt(m); err != nil {
			t.Fatal(err)
		}
		if after := moveView(t, l); !reflect.DeepEqual(before, after) {
			t.Errorf("before %+v\nafter  %+v", before, after)
		}
		for range 30 {
			mustProduce(t, l, plain(2), 1)
		}
		l.AdvanceHighWatermark(l.LogEndOffset())
		if err := l.AdvanceLogStartOffset(l.LogEndOffset()); err != nil {
			t.Fatal(err)
		}
		_, err = l.DeleteOldSegments(startMs)
	}
	reopened, err := openTwoDirs(mem.KillClone())
	if err != nil {
		t.Fatal(err)
	}
	if got := reopened.Log(testTP.TopicPartition); got.LogEndOffset() != l.LogEndOffset() {
		t.Errorf("ends at %d instead of %d", got.LogEndOffset(), l.LogEndOffset())
	}
}

// TestMoveCrashesAnywhere kills the process, or cuts the power, before every change that a move
// makes on disk. The log is there with all that was flushed, once, and can be moved again.
func TestMoveCrashesAnywhere(t *testing.T) {
	t.Parallel()
	random := env.NewSeededRandom(4)
	var crashed []*vfs.Mem
	mem, recording := newTwoDirs(t), false
	m, err := openTwoDirs(vfs.NewFault(mem, func(op vfs.Op, _ string) error {
		if recording && op.Changes() {
			crashed = append(crashed, mem.KillClone(), mem.CrashClone(random))
		}
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := moveView(t, fillForMove(t, m))
	recording = true
	if err := m.Move(testTP.TopicPartition, otherDir); err != nil {
		t.Fatal(err)
	}
	if _, err := moveIt(m); err != nil {
		t.Fatal(err)
	}
	crashed = append(crashed, mem.KillClone(), mem.CrashClone(random))
	where := map[string]int{}
	for i, disk := range crashed {
		m, err := openTwoDirs(disk)
		if err != nil {
			t.Fatalf("crash %d: %v", i, err)
		}
		l := m.Log(testTP.TopicPartition)
		if l == nil {
			t.Fatalf("crash %d: no log; %v %v", i, foldersIn(t, disk, testDir, ""), foldersIn(t, disk, otherDir, ""))
		}
		where[l.Dir()]++
		if got := moveView(t, l); !reflect.DeepEqual(want, got) {
			t.Fatalf("crash %d: in %s %+v\nwant %+v", i, l.Dir(), got, want)
		}
		if l.Dir() == testDir {
			if err := m.Move(testTP.TopicPartition, otherDir); err != nil {
				t.Fatal(err)
			}
			if l, err = moveIt(m); err != nil {
				t.Fatalf("crash %d: moved again: %v", i, err)
			}
		}
		mustProduce(t, l, plain(1), 6)
		if err := errors.Join(m.Shutdown(1)); err != nil {
			t.Fatalf("crash %d: %v", i, err)
		}
		if m, err = openTwoDirs(disk); err != nil {
			t.Fatalf("crash %d: %v", i, err)
		}
		if got := m.Log(testTP.TopicPartition); got.LogEndOffset() != want.End+1 || m.NextMove() != nil || len(foldersIn(t, disk, otherDir, "-future")) > 0 {
			t.Fatalf("crash %d: ends at %d, move %v, %v", i, got.LogEndOffset(), m.NextMove(), foldersIn(t, disk, otherDir, ""))
		}
	}
	if where[testDir] == 0 || where[otherDir] == 0 {
		t.Errorf("crashes: %v", where)
	}
	t.Logf("%d crashes: %v", len(crashed), where)
}

// TestMoveFailsAnywhere has each change on disk fail in turn, on either disk, and stay failing for
// that disk. The data is there after a restart on repaired disks; what was acknowledged after the
// failure, too.
func TestMoveFailsAnywhere(t *testing.T) {
	t.Parallel()
	failures := 0
	for n := 1; ; n++ {
		mem, count, recording, broken := newTwoDirs(t), 0, false, ""
		m, err := openTwoDirs(vfs.NewFault(mem, func(op vfs.Op, name string) error {
			if !recording || !op.Changes() {
				return nil
			}
			if count++; count == n {
				broken = testDir
				if strings.HasPrefix(name, otherDir) {
					broken = otherDir
				}
			}
			if broken != "" && strings.HasPrefix(name, broken) {
				return fmt.Errorf("%s %s: %w", op, name, syscall.EIO)
			}
			return nil
		}))
		if err != nil {
			t.Fatal(err)
		}
		l := fillForMove(t, m)
		want := moveView(t, l)
		recording = true
		moved := l
		if err = m.Move(testTP.TopicPartition, otherDir); err == nil {
			moved, err = moveIt(m)
		}
		if broken == "" {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		failures++
		if err == nil {
			l = moved
		}
		extra, appendErr := produce(l, plain(1).build(t, 0), 6, startMs)
		if appendErr == nil {
			want.End = extra.LastOffset + 1
		} else if broken == otherDir && err != nil {
			t.Errorf("failure %d, of the target: the log cannot be written: %v", n, appendErr)
		}
		disk := mem.KillClone()
		m, err = openTwoDirs(disk)
		if err != nil {
			t.Fatalf("failure %d: %v", n, err)
		}
		got := m.Log(testTP.TopicPartition)
		if got == nil {
			t.Fatalf("failure %d: no log; %v %v", n, foldersIn(t, disk, testDir, ""), foldersIn(t, disk, otherDir, ""))
		}
		if view := moveView(t, got); view.End != want.End || !slices.EqualFunc(want.Batches, view.Batches[:len(want.Batches)], bytes.Equal) || view.Producers != want.Producers {
			t.Fatalf("failure %d: %+v\nwant %+v", n, view, want)
		}
	}
	t.Logf("%d failures", failures)
}

// TestTwoLogsOfOnePartitionAreRefused has a folder copied into another log dir by hand.
func TestTwoLogsOfOnePartitionAreRefused(t *testing.T) {
	t.Parallel()
	mem := newTwoDirs(t)
	m, err := openTwoDirs(mem)
	if err != nil {
		t.Fatal(err)
	}
	fillForMove(t, m)
	copied := filepath.Join(otherDir, testTP.TopicPartition.String())
	if err := mem.MkdirAll(copied); err != nil {
		t.Fatal(err)
	}
	entries, err := mem.ReadDir(testFolder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		data, err := vfs.ReadFile(mem, filepath.Join(testFolder, e.Name()), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if err := vfs.WriteFileAtomic(mem, filepath.Join(copied, e.Name()), data); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := openTwoDirs(mem.KillClone()); err == nil || !strings.Contains(err.Error(), "is in /data and in /other") {
		t.Errorf("opened: %v", err)
	}
}
