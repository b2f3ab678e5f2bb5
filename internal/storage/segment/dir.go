package segment

import (
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/moldau/moldau/internal/env/vfs"
)

// Kafka's defaults of index.interval.bytes and segment.index.bytes.
const (
	DefaultIndexIntervalBytes = 4096
	DefaultMaxIndexBytes      = 10 << 20
)

// DirOptions configure a Dir.
type DirOptions struct {
	FS    vfs.FS
	Cache *FileCache
	// IndexIntervalBytes is index.interval.bytes, MaxIndexBytes segment.index.bytes; zero
	// means Kafka's default.
	IndexIntervalBytes int
	MaxIndexBytes      int
}

// Dir is a log's folder as its segments share it, so that each of them stays small.
type Dir struct {
	fs            vfs.FS
	cache         *FileCache
	indexInterval atomic.Int64
	maxIndexBytes atomic.Int64
	// mu guards path and the .deleted suffixes: files are opened under the read lock and
	// renamed under the write lock, so that no opener meets a file on its way.
	mu   sync.RWMutex
	path string
	// cuts orders truncations and what is sent of the files.
	cuts vfs.Cuts
}

// NewDir returns the existing folder at path.
func NewDir(path string, o DirOptions) *Dir {
	d := &Dir{fs: o.FS, cache: o.Cache, path: path}
	if o.IndexIntervalBytes == 0 {
		o.IndexIntervalBytes = DefaultIndexIntervalBytes
	}
	if o.MaxIndexBytes == 0 {
		o.MaxIndexBytes = DefaultMaxIndexBytes
	}
	d.SetIndexLimits(o.IndexIntervalBytes, o.MaxIndexBytes)
	return d
}

// Path is the folder's present path.
func (d *Dir) Path() string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.path
}

// SetIndexLimits changes the two limits for what is appended from now on.
func (d *Dir) SetIndexLimits(intervalBytes, maxBytes int) {
	d.indexInterval.Store(int64(intervalBytes))
	d.maxIndexBytes.Store(int64(maxBytes))
}

// Rename moves the folder (its parent is not synced). segments are all segments of the folder
// that may have open files; reads of them go on under the new path.
func (d *Dir) Rename(newPath string, segments []*Segment) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range segments {
		s.forgetFiles()
	}
	if err := d.fs.Rename(d.path, newPath); err != nil {
		return err
	}
	d.path = newPath
	return nil
}

// join is called under mu.
func (d *Dir) join(name string) string { return d.path + string(filepath.Separator) + name }
