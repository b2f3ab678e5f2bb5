package segment

import (
	"sync"
	"sync/atomic"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/metrics"
)

// FileCacheOptions configure a FileCache.
type FileCacheOptions struct {
	FS      vfs.FS
	MaxOpen int               // files kept open; more only while more are in use at once
	Metrics *metrics.Registry // may be nil
	LogDir  string            // label of the metrics
}

// FileCache keeps a bounded number of files open for the logs of one log dir. Its methods may be
// called concurrently.
type FileCache struct {
	fs      vfs.FS
	maxOpen int

	mu    sync.Mutex
	files map[string]*Handle
	open  int // handles not closed, forgotten ones in use included
	// forgets counts Forget and Close, so that an open that began before one is not kept.
	forgets uint64
	// newest and oldest end the list of handles that nobody uses.
	newest, oldest *Handle
	sweeps         uint64 // calls of CloseIdle
	pinned         int    // ranges that are being sent

	hits, misses, evictions, rebuilds *metrics.Counter
	openFiles, pinnedRanges           *metrics.Gauge
}

// Handle is an open file. Everybody who acquired the same file shares one.
type Handle struct {
	cache        *FileCache
	path         string
	file         vfs.File
	writable     bool
	uses         int
	forgotten    bool
	idleSince    uint64 // the cache's sweeps when the last use ended
	newer, older *Handle
	shortcut     *atomic.Pointer[Handle] // to this handle, see shorten
}

// NewFileCache returns an empty cache.
func NewFileCache(o FileCacheOptions) *FileCache {
	r := o.Metrics
	if r == nil {
		r = metrics.NewRegistry()
	}
	return &FileCache{
		fs: o.FS, maxOpen: max(o.MaxOpen, 1), files: map[string]*Handle{},
		hits:         r.Counter("storage_file_cache_hits_total", "Uses of a segment file that was open already.", "log_dir", o.LogDir),
		misses:       r.Counter("storage_file_cache_misses_total", "Uses of a segment file that had to be opened.", "log_dir", o.LogDir),
		evictions:    r.Counter("storage_file_cache_evictions_total", "Segment files closed to make room for others.", "log_dir", o.LogDir),
		rebuilds:     r.Counter("storage_segment_index_rebuilds_total", "Segments whose indexes were missing or wrong and were rebuilt from the log.", "log_dir", o.LogDir),
		openFiles:    r.Gauge("storage_file_cache_open_files", "Segment files that are open.", "log_dir", o.LogDir),
		pinnedRanges: r.Gauge("storage_file_cache_pinned_ranges", "Parts of segment files that fetch responses on their way to clients keep open.", "log_dir", o.LogDir),
	}
}

// File returns the open file; it stays open until Release.
func (h *Handle) File() vfs.File { return h.file }

// Release ends the use.
func (h *Handle) Release() {
	c := h.cache
	c.mu.Lock()
	h.uses--
	if h.uses < 0 {
		c.mu.Unlock()
		panic("BUG: a file handle was released twice")
	}
	var closing *Handle
	if h.uses == 0 {
		if h.forgotten {
			h.older = nil
			closing = h
			c.closed(1)
		} else {
			c.pushIdle(h)
			closing = c.evict(c.maxOpen)
		}
	}
	c.mu.Unlock()
	closeAll(closing)
}

// pin says that an acquired handle will be held for as long as a client takes to read, and is
// released by unpin. It is refused where half of the files that may be open could be held so: clients
// that do not read must not keep others from their files.
func (h *Handle) pin() bool {
	c := h.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pinned >= c.maxOpen/2 {
		return false
	}
	c.pinned++
	c.pinnedRanges.Set(int64(c.pinned))
	return true
}

// unpin releases a pinned handle.
func (h *Handle) unpin() {
	c := h.cache
	c.mu.Lock()
	c.pinned--
	c.pinnedRanges.Set(int64(c.pinned))
	c.mu.Unlock()
	h.Release()
}

// Acquire returns the existing file at path, opening it if needed. A writable handle serves
// readers too.
func (c *FileCache) Acquire(path string, writable bool) (*Handle, error) {
	c.mu.Lock()
	if h := c.usable(path, writable); h != nil {
		c.use(h)
		c.mu.Unlock()
		c.hits.Inc()
		return h, nil
	}
	forgets := c.forgets
	c.mu.Unlock()
	c.misses.Inc()
	for {
		file, err := c.openFile(path, writable)
		if err != nil {
			return nil, err
		}
		h, closing, retry := c.insert(&Handle{cache: c, path: path, file: file, writable: writable}, &forgets)
		closeAll(closing)
		if !retry {
			return h, nil
		}
	}
}

// shorten has shortcut lead to h, which is in use, until h is closed or forgotten: who appends to a
// file again and again need not build its path nor look it up.
func (c *FileCache) shorten(h *Handle, shortcut *atomic.Pointer[Handle]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !h.forgotten {
		h.shortcut = shortcut
		shortcut.Store(h)
	}
}

// acquireBy acquires the handle that shortcut leads to; nil if there is none that serves.
func (c *FileCache) acquireBy(shortcut *atomic.Pointer[Handle], writable bool) *Handle {
	h := shortcut.Load()
	if h == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if h.forgotten || writable && !h.writable {
		return nil
	}
	c.use(h)
	c.hits.Inc()
	return h
}

// insert makes fresh the handle of its path, unless another was faster or files were
// forgotten meanwhile; the path may mean another file then.
func (c *FileCache) insert(fresh *Handle, forgets *uint64) (h, closing *Handle, retry bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if *forgets != c.forgets {
		*forgets = c.forgets
		return nil, fresh, true
	}
	if h := c.usable(fresh.path, fresh.writable); h != nil {
		c.use(h)
		return h, fresh, false
	}
	// A handle that only reads gives way to one that also writes.
	closing = c.forget(fresh.path)
	c.files[fresh.path] = fresh
	fresh.uses = 1
	c.open++
	c.openFiles.Set(int64(c.open))
	evicted := c.evict(c.maxOpen)
	if closing == nil {
		return fresh, evicted, false
	}
	closing.older = evicted
	return fresh, closing, false
}

func (c *FileCache) usable(path string, writable bool) *Handle {
	if h := c.files[path]; h != nil && (h.writable || !writable) {
		return h
	}
	return nil
}

func (c *FileCache) use(h *Handle) {
	if h.uses == 0 {
		c.unlink(h)
	}
	h.uses++
}

// openFile opens a file, closing idle ones if the process has no descriptors left.
func (c *FileCache) openFile(path string, writable bool) (vfs.File, error) {
	for {
		file, err := c.fs.Open(path, writable)
		if err == nil || !vfs.IsTooManyOpenFiles(err) {
			return file, err
		}
		c.mu.Lock()
		closing := c.evict(c.open / 2)
		c.mu.Unlock()
		if closing == nil {
			return nil, err
		}
		closeAll(closing)
	}
}

// Forget closes the file at path as soon as nobody uses it; call it before renaming or
// removing a file.
func (c *FileCache) Forget(path string) {
	c.mu.Lock()
	c.forgets++
	closing := c.forget(path)
	c.mu.Unlock()
	closeAll(closing)
}

// Close forgets every file.
func (c *FileCache) Close() {
	c.mu.Lock()
	c.forgets++
	closing := c.evict(0)
	for path := range c.files {
		c.forget(path)
	}
	c.mu.Unlock()
	closeAll(closing)
}

// forget takes path out of the cache and returns its handle if it is to be closed now.
func (c *FileCache) forget(path string) *Handle {
	h := c.files[path]
	if h == nil {
		return nil
	}
	c.drop(h)
	if h.uses > 0 {
		return nil
	}
	c.unlink(h)
	c.closed(1)
	return h
}

// drop takes h out of the cache; it is closed once nobody uses it.
func (c *FileCache) drop(h *Handle) {
	delete(c.files, h.path)
	h.forgotten = true
	if h.shortcut != nil {
		h.shortcut.CompareAndSwap(h, nil)
	}
}

// CloseIdle closes the files that nobody has used since the call before: an idle log keeps none
// open, however many the cache may hold.
func (c *FileCache) CloseIdle() {
	c.mu.Lock()
	var closing *Handle
	for c.oldest != nil && c.oldest.idleSince < c.sweeps {
		closing = c.takeOldest(closing)
	}
	c.sweeps++
	c.mu.Unlock()
	closeAll(closing)
}

// evict takes idle handles out, oldest first, until at most limit are open, and returns them
// as a list to close.
func (c *FileCache) evict(limit int) (closing *Handle) {
	for c.open > limit && c.oldest != nil {
		closing = c.takeOldest(closing)
		c.evictions.Inc()
	}
	return closing
}

// takeOldest takes the handle out that is idle for longest and puts it before closing.
func (c *FileCache) takeOldest(closing *Handle) *Handle {
	h := c.oldest
	c.unlink(h)
	c.drop(h)
	c.closed(1)
	h.older = closing
	return h
}

func (c *FileCache) closed(n int) {
	c.open -= n
	c.openFiles.Set(int64(c.open))
}

func (c *FileCache) pushIdle(h *Handle) {
	h.idleSince = c.sweeps
	h.older, h.newer = c.newest, nil
	if c.newest != nil {
		c.newest.newer = h
	} else {
		c.oldest = h
	}
	c.newest = h
}

func (c *FileCache) unlink(h *Handle) {
	if h.newer != nil {
		h.newer.older = h.older
	} else {
		c.newest = h.older
	}
	if h.older != nil {
		h.older.newer = h.newer
	} else {
		c.oldest = h.newer
	}
	h.newer, h.older = nil, nil
}

// closeAll closes a list linked by older. What a close could report, a sync has reported.
func closeAll(h *Handle) {
	for ; h != nil; h = h.older {
		_ = h.file.Close()
	}
}
