package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/metrics"
)

// countingFS counts open files and refuses to open more than limit.
type countingFS struct {
	vfs.FS
	open, peak atomic.Int64
	limit      int64
}

type countedFile struct {
	vfs.File
	fs *countingFS
}

func (c *countingFS) Open(name string, writable bool) (vfs.File, error) {
	if n := c.open.Add(1); c.limit > 0 && n > c.limit {
		c.open.Add(-1)
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EMFILE}
	}
	c.peak.Store(max(c.peak.Load(), c.open.Load()))
	f, err := c.FS.Open(name, writable)
	if err != nil {
		c.open.Add(-1)
		return nil, err
	}
	return countedFile{f, c}, nil
}

func (f countedFile) Close() error {
	f.fs.open.Add(-1)
	return f.File.Close()
}

func cacheOf(t *testing.T, files, maxOpen int, limit int64) (*countingFS, *FileCache, *metrics.Registry) {
	t.Helper()
	mem := vfs.NewMem()
	for i := range files {
		check(t, vfs.WriteFileAtomic(mem, fmt.Sprint(i), []byte{byte(i)}))
	}
	counting := &countingFS{FS: mem, limit: limit}
	r := metrics.NewRegistry()
	return counting, NewFileCache(FileCacheOptions{FS: counting, MaxOpen: maxOpen, Metrics: r, LogDir: "d"}), r
}

func acquire(t *testing.T, c *FileCache, name string, writable bool) *Handle {
	t.Helper()
	h, err := c.Acquire(name, writable)
	check(t, err)
	return h
}

func TestFileCacheEvictsTheLeastRecentlyUsed(t *testing.T) {
	t.Parallel()
	counting, c, _ := cacheOf(t, 10, 3, 0)
	for _, name := range []string{"0", "1", "2", "0", "3", "0", "1"} {
		acquire(t, c, name, false).Release()
	}
	// 1 was evicted for 3, 2 for 1; 0 stayed.
	if hits, misses, evictions := c.hits.Value(), c.misses.Value(), c.evictions.Value(); hits != 2 || misses != 5 || evictions != 2 {
		t.Errorf("%d hits, %d misses, %d evictions", hits, misses, evictions)
	}
	if counting.open.Load() != 3 || c.openFiles.Value() != 3 {
		t.Errorf("%d files open, the gauge says %d", counting.open.Load(), c.openFiles.Value())
	}
	c.Close()
	if counting.open.Load() != 0 || c.openFiles.Value() != 0 {
		t.Errorf("%d files open after Close, the gauge says %d", counting.open.Load(), c.openFiles.Value())
	}
}

func TestFileCacheHandsWritersAndReadersTheSameFile(t *testing.T) {
	t.Parallel()
	counting, c, _ := cacheOf(t, 1, 3, 0)
	reader := acquire(t, c, "0", false)
	writer := acquire(t, c, "0", true)
	if _, err := writer.File().WriteAt([]byte("w"), 0); err != nil {
		t.Error(err)
	}
	if second := acquire(t, c, "0", false); second != writer {
		t.Error("a reader does not share the writable file")
	} else {
		second.Release()
	}
	reader.Release()
	writer.Release()
	if counting.open.Load() != 1 {
		t.Errorf("%d files open", counting.open.Load())
	}
}

func TestFileCacheForgets(t *testing.T) {
	t.Parallel()
	counting, c, _ := cacheOf(t, 2, 3, 0)
	h := acquire(t, c, "0", false)
	c.Forget("0")
	if _, err := h.File().Size(); err != nil {
		t.Errorf("a forgotten file in use is closed: %v", err)
	}
	if other := acquire(t, c, "0", false); other == h {
		t.Error("a forgotten file is handed out")
	} else {
		other.Release()
	}
	h.Release()
	c.Forget("0")
	c.Forget("1")
	if counting.open.Load() != 0 || c.openFiles.Value() != 0 {
		t.Errorf("%d files open", counting.open.Load())
	}
}

func TestFileCacheCopesWithDescriptorLimits(t *testing.T) {
	t.Parallel()
	counting, c, _ := cacheOf(t, 20, 100, 4)
	for i := range 20 {
		acquire(t, c, fmt.Sprint(i), false).Release()
	}
	if counting.peak.Load() > 4 {
		t.Errorf("%d files open at once", counting.peak.Load())
	}
	var held []*Handle
	for i := range 4 {
		held = append(held, acquire(t, c, fmt.Sprint(i), false))
	}
	if _, err := c.Acquire("9", false); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("a fifth file: %v", err)
	}
	for _, h := range held {
		h.Release()
	}
	acquire(t, c, "9", false).Release()
}

// TestFileCacheClosesIdleFiles keeps logs that were busy once from costing a descriptor each.
func TestFileCacheClosesIdleFiles(t *testing.T) {
	t.Parallel()
	counting, c, _ := cacheOf(t, 4, 100, 0)
	held := acquire(t, c, "0", false)
	acquire(t, c, "1", false).Release()
	acquire(t, c, "2", false).Release()
	c.CloseIdle()
	if n := counting.open.Load(); n != 3 {
		t.Fatalf("%d files open after the first pass, which cannot know since when they are idle", n)
	}
	acquire(t, c, "2", false).Release()
	c.CloseIdle()
	if n := counting.open.Load(); n != 2 || c.files["0"] == nil || c.files["2"] == nil {
		t.Errorf("%d files open; want the one in use and the one used since", n)
	}
	c.CloseIdle()
	held.Release()
	c.CloseIdle()
	if n := counting.open.Load(); n != 1 {
		t.Errorf("%d files open; the one in use until now was not idle before", n)
	}
	c.CloseIdle()
	if n := counting.open.Load(); n != 0 || n != c.openFiles.Value() {
		t.Errorf("%d files open, the gauge says %d", n, c.openFiles.Value())
	}
}

// TestShortcutEndsWithTheFile closes a file in each way there is: its shortcut must not lead to it any
// more, nor keep its memory.
func TestShortcutEndsWithTheFile(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(c *FileCache){
		"forgotten": func(c *FileCache) { c.Forget("0") },
		"evicted":   func(c *FileCache) { acquire(t, c, "1", false).Release() },
		"idle":      func(c *FileCache) { c.CloseIdle(); c.CloseIdle() },
		"closed":    (*FileCache).Close,
		"replaced":  func(c *FileCache) { acquire(t, c, "0", true).Release() },
	} {
		_, c, _ := cacheOf(t, 4, 1, 0)
		var shortcut atomic.Pointer[Handle]
		h := acquire(t, c, "0", false)
		c.shorten(h, &shortcut)
		if c.acquireBy(&shortcut, true) != nil {
			t.Errorf("%s: a file that is open for reading is handed out for writing", name)
		}
		if again := c.acquireBy(&shortcut, false); again != h {
			t.Fatalf("%s: the shortcut leads to %v", name, again)
		}
		h.Release()
		h.Release()
		end(c)
		if c.acquireBy(&shortcut, false) != nil || shortcut.Load() != nil {
			t.Errorf("%s: the shortcut leads to a file that is closed", name)
		}
	}
	// One that is forgotten while it is in use is not led to.
	_, c, _ := cacheOf(t, 4, 1, 0)
	var shortcut atomic.Pointer[Handle]
	h := acquire(t, c, "0", false)
	c.Forget("0")
	c.shorten(h, &shortcut)
	if shortcut.Load() != nil {
		t.Error("a shortcut leads to a forgotten file")
	}
	h.Release()
}

func TestFileCacheConcurrently(t *testing.T) {
	t.Parallel()
	counting, c, _ := cacheOf(t, 10, 3, 0)
	var users sync.WaitGroup
	var shortcuts [10]atomic.Pointer[Handle]
	for u := range 4 {
		users.Go(func() {
			r := rand.New(rand.NewPCG(uint64(u), 1))
			for range 2000 {
				i := r.IntN(10)
				writable := r.IntN(4) == 0
				h := c.acquireBy(&shortcuts[i], writable)
				if h == nil {
					var err error
					if h, err = c.Acquire(fmt.Sprint(i), writable); err != nil {
						t.Error(err)
						return
					}
					c.shorten(h, &shortcuts[i])
				}
				var b [1]byte
				if _, err := h.File().ReadAt(b[:], 0); err != nil || b[0] != byte(i) {
					t.Errorf("file %d has %d, %v", i, b[0], err)
				}
				if r.IntN(20) == 0 {
					c.Forget(fmt.Sprint(i))
				}
				h.Release()
			}
		})
	}
	users.Wait()
	if n := counting.open.Load(); n > 3 || n != c.openFiles.Value() {
		t.Errorf("%d files open, the gauge says %d", n, c.openFiles.Value())
	}
	c.Close()
	if counting.open.Load() != 0 {
		t.Errorf("%d files leak", counting.open.Load())
	}
}
