package vfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"testing"

	"github.com/moldau/moldau/internal/env"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		check(t, err)
		return v
	}
}

func TestFileSystemsAgree(t *testing.T) {
	t.Parallel()
	never := func(Op, string) error { return nil }
	for name, fsys := range map[string]FS{"os": OS{}, "mem": NewMem(), "fault": NewFault(NewMem(), never)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testFS(t, fsys, filepath.Join(t.TempDir(), "root"))
		})
	}
}

func testFS(t *testing.T, fsys FS, root string) {
	file, dir := must[File](t), filepath.Join(root, "a", "b")
	path := func(name string) string { return filepath.Join(dir, name) }
	check(t, fsys.MkdirAll(dir))
	check(t, fsys.MkdirAll(dir))
	if _, err := fsys.Open(path("x"), true); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open of a missing file: %v", err)
	}
	f := file(fsys.Create(path("x")))
	must[int](t)(f.WriteAt([]byte("hello"), 3))
	buf := make([]byte, 10)
	if n, err := f.ReadAt(buf, 0); n != 8 || err != io.EOF || string(buf[:n]) != "\x00\x00\x00hello" {
		t.Errorf("read %q, %v", buf[:n], err)
	}
	check(t, f.Truncate(5))
	check(t, f.Truncate(7))
	if n, _ := f.ReadAt(buf, 0); string(buf[:n]) != "\x00\x00\x00he\x00\x00" {
		t.Errorf("after truncation: %q", buf[:n])
	}
	if size, err := f.Size(); size != 7 || err != nil {
		t.Errorf("size %d, %v", size, err)
	}
	check(t, f.Sync())
	check(t, fsys.SyncDir(dir))
	reader := file(fsys.Open(path("x"), false))
	if _, err := reader.WriteAt([]byte("y"), 0); err == nil {
		t.Error("a file opened for reading was written")
	}
	check(t, fsys.Rename(path("x"), path("y")))
	check(t, fsys.Remove(path("y")))
	if n, _ := reader.ReadAt(buf[:1], 3); n != 1 || buf[0] != 'h' {
		t.Error("an open file is unreadable after its removal")
	}
	check(t, reader.Close())
	check(t, f.Close())
	check(t, WriteFileAtomic(fsys, path("z"), []byte("1")))
	check(t, WriteFileAtomic(fsys, path("z"), []byte("22")))
	if data, err := ReadFile(fsys, path("z"), 2); string(data) != "22" || err != nil {
		t.Errorf("read %q, %v", data, err)
	}
	if _, err := ReadFile(fsys, path("z"), 1); err == nil {
		t.Error("a file larger than the limit was read")
	}
	lock := must[io.Closer](t)(fsys.Lock(path(".lock")))
	if _, err := fsys.Lock(path(".lock")); !errors.Is(err, ErrLocked) {
		t.Errorf("second lock: %v", err)
	}
	check(t, lock.Close())
	check(t, must[io.Closer](t)(fsys.Lock(path(".lock"))).Close())
	if entries := must[[]fs.DirEntry](t)(fsys.ReadDir(dir)); len(entries) != 2 || entries[0].Name() != ".lock" || entries[1].Name() != "z" {
		t.Errorf("entries %v", entries)
	}
	if err := fsys.Remove(dir); err == nil {
		t.Error("a folder with files was removed")
	}
	check(t, fsys.Rename(dir, filepath.Join(root, "c")))
	if info, err := fsys.Stat(filepath.Join(root, "c", "z")); err != nil || info.Size() != 2 || info.IsDir() {
		t.Errorf("stat: %v, %v", info, err)
	}
	total, free, err := fsys.Usage(root)
	if err != nil || total <= 0 || free <= 0 || free > total {
		t.Errorf("usage %d of %d, %v", free, total, err)
	}
	check(t, fsys.RemoveAll(root))
	check(t, fsys.RemoveAll(root))
	if _, err := fsys.Stat(root); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("stat after removal: %v", err)
	}
}

func TestKillKeepsEverythingAndFreesLocks(t *testing.T) {
	t.Parallel()
	m := NewMem()
	f := must[File](t)(m.Create("f"))
	must[int](t)(f.WriteAt([]byte("unsynced"), 0))
	must[io.Closer](t)(m.Lock(".lock"))
	after := m.KillClone()
	must[int](t)(f.WriteAt([]byte("changed!"), 0))
	if data, err := ReadFile(after, "f", 100); string(data) != "unsynced" || err != nil {
		t.Errorf("after the kill: %q, %v", data, err)
	}
	must[io.Closer](t)(after.Lock(".lock"))
}

func TestCrashLosesOnlyWhatWasNotSynced(t *testing.T) {
	t.Parallel()
	base := bytes.Repeat([]byte("synced.."), 2000)
	m := NewMem()
	f := must[File](t)(m.Create("f"))
	must[int](t)(f.WriteAt(base, 0))
	check(t, f.Sync())
	check(t, m.SyncDir("/"))
	must[int](t)(f.WriteAt([]byte("overwritten"), 5000))
	must[int](t)(f.WriteAt(bytes.Repeat([]byte("appended"), 2000), int64(len(base))))
	must[File](t)(m.Create("new"))
	seen := map[string]bool{}
	for seed := uint64(1); seed <= 200; seed++ {
		after := m.CrashClone(env.NewSeededRandom(seed))
		data := must[[]byte](t)(ReadFile(after, "f", 1<<20))
		if len(data) < len(base) || !bytes.Equal(data[:4608], base[:4608]) || !bytes.Equal(data[5120:16000], base[5120:16000]) {
			t.Fatalf("seed %d: synced data is gone", seed)
		}
		if string(data[5000:5011]) == "overwritten" {
			seen["new content"] = true
		} else if bytes.Equal(data[5000:5011], base[5000:5011]) {
			seen["old content"] = true
		} else {
			t.Fatalf("seed %d: content nobody wrote: %q", seed, data[5000:5011])
		}
		if tail := data[len(base):]; len(tail) > 0 && bytes.Contains(tail, make([]byte, 100)) {
			seen["torn tail"] = true
		}
		_, err := after.Stat("new")
		seen[map[bool]string{true: "entry", false: "no entry"}[err == nil]] = true
	}
	for _, want := range []string{"new content", "old content", "torn tail", "entry", "no entry"} {
		if !seen[want] {
			t.Errorf("200 crashes never showed: %s", want)
		}
	}
}

// TestAtomicWriteSurvivesAnyCrash fails WriteFileAtomic at every call and crashes after it.
func TestAtomicWriteSurvivesAnyCrash(t *testing.T) {
	t.Parallel()
	for _, torn := range []bool{false, true} {
		for n := int64(1); ; n++ {
			m := NewMem()
			check(t, WriteFileAtomic(m, "/f", []byte("old")))
			fail := &FailAt{N: n, Torn: torn}
			err := WriteFileAtomic(NewFault(m, fail.Decide), "/f", []byte("new content"))
			if fail.Failed() != (err != nil) {
				t.Fatalf("fail at %d: error %v", n, err)
			}
			for seed := range uint64(20) {
				data, readErr := ReadFile(m.CrashClone(env.NewSeededRandom(seed)), "/f", 100)
				if readErr != nil || string(data) != "new content" && (err == nil || string(data) != "old") {
					t.Fatalf("fail at %d (torn %v), seed %d: %q, %v; write returned %v", n, torn, seed, data, readErr, err)
				}
			}
			if err == nil {
				break
			}
		}
	}
}

func TestFaultTearsWrites(t *testing.T) {
	t.Parallel()
	m := NewMem()
	fail := &FailAt{N: 2, Torn: true}
	f := must[File](t)(NewFault(m, fail.Decide).Create("f"))
	n, err := f.WriteAt([]byte("12345678"), 0)
	if n != 4 || !errors.Is(err, ErrInjected) {
		t.Errorf("wrote %d bytes, %v", n, err)
	}
	if size, _ := f.Size(); size != 4 {
		t.Errorf("%d bytes on disk", size)
	}
}

func TestMemDiskFull(t *testing.T) {
	t.Parallel()
	m := NewMem()
	m.SetTotalBytes(10)
	f := must[File](t)(m.Create("f"))
	must[int](t)(f.WriteAt(make([]byte, 8), 0))
	if _, err := f.WriteAt(make([]byte, 8), 8); err == nil {
		t.Error("16 bytes fit on a disk of 10")
	}
	if _, free, _ := m.Usage("f"); free != 2 {
		t.Errorf("%d bytes free", free)
	}
}

func TestVolumeSyncSurvivesPowerLoss(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		mem := NewMem()
		v, err := NewFault(mem, func(Op, string) error { return nil }).OpenVolume("/")
		check(t, err)
		check(t, mem.MkdirAll("/a/b"))
		f, err := mem.Create("/a/b/old")
		check(t, err)
		_, err = f.WriteAt([]byte("content"), 0)
		check(t, err)
		check(t, mem.Rename("/a/b/old", "/a/b/new"))
		check(t, v.Sync())
		_, err = f.WriteAt([]byte("more"), 7)
		check(t, err)
		crashed := mem.CrashClone(env.NewSeededRandom(seed))
		data, err := ReadFile(crashed, "/a/b/new", 100)
		check(t, err)
		if !bytes.HasPrefix(data, []byte("content")) {
			t.Errorf("seed %d: %q", seed, data)
		}
		check(t, v.Close())
	}
	failing := NewFault(NewMem(), func(op Op, _ string) error {
		if op == OpSyncVolume {
			return ErrInjected
		}
		return nil
	})
	v, err := failing.OpenVolume("/")
	check(t, err)
	if err := v.Sync(); !errors.Is(err, ErrInjected) {
		t.Errorf("the fault is lost: %v", err)
	}
}

func TestOSVolume(t *testing.T) {
	t.Parallel()
	v, err := OS{}.OpenVolume(t.TempDir())
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("this system cannot sync a volume")
	}
	check(t, err)
	check(t, v.Sync())
	check(t, v.Close())
	if err := v.Sync(); err == nil {
		t.Error("a closed volume was synced")
	}
}

func TestDataFilesLeaveDescriptorsForSockets(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		limit uint64
		want  int
	}{{0, 256}, {1024, 256}, {4096, 256}, {8192, 2048}, {20_000, 7952}, {1 << 20, 16_384}, {math.MaxUint64, 16_384}} {
		if got := DataFiles(c.limit); got != c.want {
			t.Errorf("of %d files %d are for data, want %d", c.limit, got, c.want)
		}
	}
	if OpenFilesLimit() == 0 {
		t.Error("the process may open nothing")
	}
}

// TestWatchKnowsWhatIsInFlight counts time by ticks only.
func TestWatchKnowsWhatIsInFlight(t *testing.T) { // not parallel: it counts allocations
	mem := NewMem()
	for _, dir := range []string{"/a", "/a/inner", "/b"} {
		if err := mem.MkdirAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	entered, leave := make(chan struct{}), make(chan struct{})
	w := NewWatch(NewFault(mem, func(op Op, name string) error {
		if op == OpSync || op == OpWrite {
			entered <- struct{}{}
			<-leave
		}
		return nil
	}), []string{"/a", "/a/inner", "/b"})
	all := func(Op) bool { return true }
	age := func(dir string, counted func(Op) bool) int64 {
		_, age := w.Oldest(dir, counted)
		return age
	}
	f, err := w.Create("/a/inner/file")
	if err != nil {
		t.Fatal(err)
	}
	if age("/a/inner", all) != -1 {
		t.Error("a call that has returned is in flight")
	}
	done := make(chan error, 2)
	go func() { done <- f.Sync() }()
	<-entered
	w.Tick()
	w.Tick()
	go func() { _, err := f.WriteAt([]byte("x"), 0); done <- err }()
	<-entered
	w.Tick()
	if op, got := w.Oldest("/a/inner", all); got != 3 || op != OpSync {
		t.Errorf("%s since %d ticks", op, got)
	}
	if op, got := w.Oldest("/a/inner", func(op Op) bool { return !op.MayTakeLong() }); got != 1 || op != OpWrite {
		t.Errorf("%s since %d ticks", op, got)
	}
	if age("/a", all) != -1 || age("/b", all) != -1 || age("/c", all) != -1 {
		t.Error("another folder's calls are counted")
	}
	leave <- struct{}{}
	leave <- struct{}{}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if age("/a/inner", all) != -1 {
		t.Error("calls are still in flight")
	}
	g, err := w.Open("/a/inner/file", false)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1)
	if allocs := testing.AllocsPerRun(100, func() { _, _ = g.ReadAt(buf, 0) }); allocs != 0 {
		t.Errorf("a watched read allocates %v times", allocs)
	}
}
