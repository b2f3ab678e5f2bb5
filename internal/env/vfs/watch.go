package vfs

import (
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"sync/atomic"
)

// watchedCalls is how many calls in flight per folder are watched at a time; of more the first
// ones are, which is enough to see that none returns.
const watchedCalls = 64

// Watch passes calls on to another FS and knows for how long those in flight have been so. Time is
// counted in ticks, which somebody gives at a steady pace: a machine that was asleep for an hour
// has missed its ticks, too, so that its disk does not count as hung. A call that is watched costs
// two atomic operations.
type Watch struct {
	inner FS
	roots []*watchedRoot
	ticks atomic.Int64
}

// watchedRoot is a folder with all below it.
type watchedRoot struct {
	path   string
	ticks  *atomic.Int64
	calls  [watchedCalls]atomic.Int64 // 0, or the tick of the call's begin and the Op
	cursor atomic.Uint32
}

// opBits is the room for an Op beside the tick.
const opBits = 8

// NewWatch watches the calls on what lies in the folders roots.
func NewWatch(inner FS, roots []string) *Watch {
	w := &Watch{inner: inner}
	w.ticks.Store(1)
	for _, root := range roots {
		w.roots = append(w.roots, &watchedRoot{path: filepath.Clean(root), ticks: &w.ticks})
	}
	return w
}

// Tick lets a unit of time pass.
func (w *Watch) Tick() { w.ticks.Add(1) }

// Oldest returns the longest call in flight on root of those that isCounted names, and its age in
// whole ticks; -1 if there is none.
func (w *Watch) Oldest(root string, isCounted func(op Op) bool) (op Op, age int64) {
	r, now := w.rootOf(root), w.ticks.Load()
	age = -1
	if r == nil {
		return op, age
	}
	for i := range r.calls {
		call := r.calls[i].Load()
		if at := Op(call & (1<<opBits - 1)); call != 0 && isCounted(at) && now-call>>opBits > age {
			op, age = at, now-call>>opBits
		}
	}
	return op, age
}

// rootOf returns the innermost root that name lies in, or nil.
func (w *Watch) rootOf(name string) (best *watchedRoot) {
	for _, r := range w.roots {
		if rest, ok := strings.CutPrefix(name, r.path); ok && (rest == "" || rest[0] == filepath.Separator || rest[0] == '/') && (best == nil || len(r.path) > len(best.path)) {
			best = r
		}
	}
	return best
}

// begin notes a call and returns its place, nil if it is not watched.
func (r *watchedRoot) begin(op Op) *atomic.Int64 {
	if r == nil {
		return nil
	}
	call := r.ticks.Load()<<opBits | int64(op)
	first := r.cursor.Add(1)
	for i := range uint32(watchedCalls) {
		if slot := &r.calls[(first+i)%watchedCalls]; slot.CompareAndSwap(0, call) {
			return slot
		}
	}
	return nil
}

func end(slot *atomic.Int64) {
	if slot != nil {
		slot.Store(0)
	}
}

// Open opens an existing file.
func (w *Watch) Open(name string, writable bool) (File, error) {
	r := w.rootOf(name)
	defer end(r.begin(OpOpen))
	f, err := w.inner.Open(name, writable)
	return r.wrap(f, err)
}

// Create creates or truncates a file.
func (w *Watch) Create(name string) (File, error) {
	r := w.rootOf(name)
	defer end(r.begin(OpCreate))
	f, err := w.inner.Create(name)
	return r.wrap(f, err)
}

// Remove deletes a file or an empty folder.
func (w *Watch) Remove(name string) error {
	defer end(w.rootOf(name).begin(OpRemove))
	return w.inner.Remove(name)
}

// RemoveAll deletes a tree.
func (w *Watch) RemoveAll(name string) error {
	defer end(w.rootOf(name).begin(OpRemoveAll))
	return w.inner.RemoveAll(name)
}

// Rename moves a file or folder.
func (w *Watch) Rename(oldName, newName string) error {
	defer end(w.rootOf(newName).begin(OpRename))
	return w.inner.Rename(oldName, newName)
}

// MkdirAll creates a folder and its parents.
func (w *Watch) MkdirAll(name string) error {
	defer end(w.rootOf(name).begin(OpMkdir))
	return w.inner.MkdirAll(name)
}

// ReadDir lists a folder.
func (w *Watch) ReadDir(name string) ([]fs.DirEntry, error) {
	defer end(w.rootOf(name).begin(OpReadDir))
	return w.inner.ReadDir(name)
}

// Stat describes a file or folder.
func (w *Watch) Stat(name string) (fs.FileInfo, error) {
	defer end(w.rootOf(name).begin(OpStat))
	return w.inner.Stat(name)
}

// SyncDir makes a folder's entries durable.
func (w *Watch) SyncDir(name string) error {
	defer end(w.rootOf(name).begin(OpSyncDir))
	return w.inner.SyncDir(name)
}

// OpenVolume opens the volume that holds a folder.
func (w *Watch) OpenVolume(name string) (Volume, error) {
	r := w.rootOf(name)
	defer end(r.begin(OpOpenVolume))
	v, err := w.inner.OpenVolume(name)
	if err != nil || r == nil {
		return v, err
	}
	return &watchedVolume{v, r}, nil
}

type watchedVolume struct {
	Volume
	root *watchedRoot
}

func (v *watchedVolume) Sync() error {
	defer end(v.root.begin(OpSyncVolume))
	return v.Volume.Sync()
}

// Lock takes an exclusive lock.
func (w *Watch) Lock(name string) (io.Closer, error) {
	defer end(w.rootOf(name).begin(OpLock))
	return w.inner.Lock(name)
}

// Usage tells the size and the free bytes of a volume.
func (w *Watch) Usage(name string) (totalBytes, freeBytes int64, err error) {
	defer end(w.rootOf(name).begin(OpUsage))
	return w.inner.Usage(name)
}

func (r *watchedRoot) wrap(f File, err error) (File, error) {
	if err != nil || r == nil {
		return f, err
	}
	if s, ok := f.(Sender); ok {
		return &watchedSender{watchedFile{f, r}, s}, nil
	}
	return &watchedFile{f, r}, nil
}

// watchedSender is a watchedFile that can be sent. To send is to read: the socket is not waited for.
type watchedSender struct {
	watchedFile
	sender Sender
}

func (f *watchedSender) SendTo(socket uintptr, position int64, n int) (int, error) {
	defer end(f.root.begin(OpRead))
	return f.sender.SendTo(socket, position, n)
}

type watchedFile struct {
	File
	root *watchedRoot
}

func (f *watchedFile) ReadAt(p []byte, position int64) (int, error) {
	defer end(f.root.begin(OpRead))
	return f.File.ReadAt(p, position)
}

func (f *watchedFile) WriteAt(p []byte, position int64) (int, error) {
	defer end(f.root.begin(OpWrite))
	return f.File.WriteAt(p, position)
}

func (f *watchedFile) Truncate(sizeBytes int64) error {
	defer end(f.root.begin(OpTruncate))
	return f.File.Truncate(sizeBytes)
}

func (f *watchedFile) Size() (int64, error) {
	defer end(f.root.begin(OpSize))
	return f.File.Size()
}

func (f *watchedFile) Sync() error {
	defer end(f.root.begin(OpSync))
	return f.File.Sync()
}
