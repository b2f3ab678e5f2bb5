package vfs

import (
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Mem is a file system in memory that knows what was synced. Like a real one it keeps an
// open file usable after its name is gone. One lock guards everything: it is for tests.
type Mem struct {
	mu   sync.RWMutex
	root *memNode
	// now counts changes; it stands in for time in file infos.
	now int64
	// totalBytes is the size that Usage reports; SetTotalBytes changes it.
	totalBytes int64
}

// memNode is a file or, with entries, a folder.
type memNode struct {
	// File.
	data       []byte
	syncedSize int64
	dirty      map[int64][]byte // page number → content at the last sync, cut to the size then
	locked     bool
	// Folder.
	entries map[string]*memNode
	synced  map[string]*memNode
	journal []memEntryChange // since the last sync of the folder
	// modified is a count of changes.
	modified int64
}

// memEntryChange is one change of a folder: remove takes a name away, then name gets node. A
// rename within the folder is one change and so never half done.
type memEntryChange struct {
	remove string
	name   string
	node   *memNode
}

const memPageBytes = 4096

// NewMem returns an empty file system with a root folder.
func NewMem() *Mem { return &Mem{root: newMemFolder(), totalBytes: 1 << 40} }

func newMemFolder() *memNode {
	return &memNode{entries: map[string]*memNode{}, synced: map[string]*memNode{}}
}

func (n *memNode) isFolder() bool { return n.entries != nil }

func (n *memNode) change(c memEntryChange) {
	if c.remove != "" {
		delete(n.entries, c.remove)
	}
	if c.name != "" {
		n.entries[c.name] = c.node
	}
	n.journal = append(n.journal, c)
}

func splitPath(name string) []string {
	clean := filepath.ToSlash(filepath.Clean(name))
	return slices.DeleteFunc(strings.Split(clean, "/"), func(s string) bool { return s == "" || s == "." })
}

func memError(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

// find returns the node at name, nil if there is none.
func (m *Mem) find(name string) *memNode {
	n := m.root
	for _, part := range splitPath(name) {
		if n == nil || !n.isFolder() {
			return nil
		}
		n = n.entries[part]
	}
	return n
}

// parent returns the folder that holds name, and the last part of name.
func (m *Mem) parent(op, name string) (*memNode, string, error) {
	parts := splitPath(name)
	if len(parts) == 0 {
		return nil, "", memError(op, name, fs.ErrInvalid)
	}
	folder := m.find(strings.Join(parts[:len(parts)-1], "/"))
	switch {
	case folder == nil:
		return nil, "", memError(op, name, fs.ErrNotExist)
	case !folder.isFolder():
		return nil, "", memError(op, name, syscall.ENOTDIR)
	}
	return folder, parts[len(parts)-1], nil
}

// Open opens an existing file.
func (m *Mem) Open(name string, writable bool) (File, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n := m.find(name)
	switch {
	case n == nil:
		return nil, memError("open", name, fs.ErrNotExist)
	case n.isFolder():
		return nil, memError("open", name, syscall.EISDIR)
	}
	return &memFile{mem: m, node: n, name: name, writable: writable}, nil
}

// Create creates or truncates a file.
func (m *Mem) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.create(name)
	if err != nil {
		return nil, err
	}
	n.resize(0)
	m.touch(n)
	return &memFile{mem: m, node: n, name: name, writable: true}, nil
}

func (m *Mem) create(name string) (*memNode, error) {
	folder, last, err := m.parent("create", name)
	if err != nil {
		return nil, err
	}
	n := folder.entries[last]
	switch {
	case n == nil:
		n = &memNode{dirty: map[int64][]byte{}}
		m.touch(n)
		folder.change(memEntryChange{name: last, node: n})
	case n.isFolder():
		return nil, memError("create", name, syscall.EISDIR)
	}
	return n, nil
}

func (m *Mem) touch(n *memNode) {
	m.now++
	n.modified = m.now
}

// Remove deletes a file or an empty folder.
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	folder, last, err := m.parent("remove", name)
	if err != nil {
		return err
	}
	n := folder.entries[last]
	switch {
	case n == nil:
		return memError("remove", name, fs.ErrNotExist)
	case len(n.entries) > 0:
		return memError("remove", name, syscall.ENOTEMPTY)
	}
	folder.change(memEntryChange{remove: last})
	return nil
}

// RemoveAll deletes a tree.
func (m *Mem) RemoveAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.find(name) == nil {
		return nil
	}
	folder, last, err := m.parent("remove", name)
	if err != nil {
		return err
	}
	folder.change(memEntryChange{remove: last})
	return nil
}

// Rename moves a file or folder.
func (m *Mem) Rename(oldName, newName string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, oldLast, err := m.parent("rename", oldName)
	if err != nil {
		return err
	}
	to, newLast, err := m.parent("rename", newName)
	if err != nil {
		return err
	}
	n, replaced := from.entries[oldLast], to.entries[newLast]
	switch {
	case n == nil:
		return memError("rename", oldName, fs.ErrNotExist)
	case n == replaced:
		return nil
	case replaced != nil && replaced.isFolder() != n.isFolder():
		return memError("rename", newName, fs.ErrExist)
	case replaced != nil && len(replaced.entries) > 0:
		return memError("rename", newName, syscall.ENOTEMPTY)
	}
	if from == to {
		to.change(memEntryChange{remove: oldLast, name: newLast, node: n})
		return nil
	}
	to.change(memEntryChange{name: newLast, node: n})
	from.change(memEntryChange{remove: oldLast})
	return nil
}

// MkdirAll creates a folder and its parents.
func (m *Mem) MkdirAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.root
	for _, part := range splitPath(name) {
		child := n.entries[part]
		switch {
		case child == nil:
			child = newMemFolder()
			m.touch(child)
			n.change(memEntryChange{name: part, node: child})
		case !child.isFolder():
			return memError("mkdir", name, syscall.ENOTDIR)
		}
		n = child
	}
	return nil
}

// ReadDir lists a folder.
func (m *Mem) ReadDir(name string) ([]fs.DirEntry, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n := m.find(name)
	switch {
	case n == nil:
		return nil, memError("open", name, fs.ErrNotExist)
	case !n.isFolder():
		return nil, memError("readdir", name, syscall.ENOTDIR)
	}
	var list []fs.DirEntry
	for _, last := range slices.Sorted(maps.Keys(n.entries)) {
		list = append(list, fs.FileInfoToDirEntry(n.entries[last].info(last)))
	}
	return list, nil
}

// Stat describes a file or folder.
func (m *Mem) Stat(name string) (fs.FileInfo, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	n := m.find(name)
	if n == nil {
		return nil, memError("stat", name, fs.ErrNotExist)
	}
	return n.info(filepath.Base(name)), nil
}

// SyncDir makes a folder's entries durable.
func (m *Mem) SyncDir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.find(name)
	switch {
	case n == nil:
		return memError("sync", name, fs.ErrNotExist)
	case !n.isFolder():
		return memError("sync", name, syscall.ENOTDIR)
	}
	n.synced, n.journal = maps.Clone(n.entries), nil
	return nil
}

// OpenVolume opens the whole file system, whatever the name.
func (m *Mem) OpenVolume(string) (Volume, error) { return memVolume{m}, nil }

type memVolume struct{ mem *Mem }

// Sync makes everything durable.
func (v memVolume) Sync() error {
	v.mem.mu.Lock()
	defer v.mem.mu.Unlock()
	v.mem.root.sync()
	return nil
}

// Close does nothing.
func (memVolume) Close() error { return nil }

// sync makes a tree durable.
func (n *memNode) sync() {
	if !n.isFolder() {
		n.syncedSize, n.dirty = int64(len(n.data)), map[int64][]byte{}
		return
	}
	n.synced, n.journal = maps.Clone(n.entries), nil
	for _, child := range n.entries {
		child.sync()
	}
}

// Lock takes an exclusive lock.
func (m *Mem) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.create(name)
	if err != nil {
		return nil, err
	}
	if n.locked {
		return nil, memError("lock", name, ErrLocked)
	}
	n.locked = true
	return &memLock{mem: m, node: n}, nil
}

type memLock struct {
	mem  *Mem
	node *memNode
}

// Close releases the lock; only the first call counts, so that it cannot release another's.
func (l *memLock) Close() error {
	l.mem.mu.Lock()
	defer l.mem.mu.Unlock()
	if l.node != nil {
		l.node.locked, l.node = false, nil
	}
	return nil
}

// Usage tells the size and the free bytes.
func (m *Mem) Usage(string) (totalBytes, freeBytes int64, err error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.totalBytes, max(0, m.totalBytes-m.root.totalSize()), nil
}

// SetTotalBytes sets the size of the disk; writes beyond it fail with ENOSPC.
func (m *Mem) SetTotalBytes(totalBytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.totalBytes = totalBytes
}

func (n *memNode) totalSize() int64 {
	size := int64(len(n.data))
	for _, child := range n.entries {
		size += child.totalSize()
	}
	return size
}

func (n *memNode) info(name string) fs.FileInfo {
	return memInfo{name: name, size: int64(len(n.data)), folder: n.isFolder(), modified: n.modified}
}

type memInfo struct {
	name     string
	size     int64
	folder   bool
	modified int64
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) IsDir() bool        { return i.folder }
func (i memInfo) Sys() any           { return nil }
func (i memInfo) ModTime() time.Time { return time.UnixMilli(i.modified) }
func (i memInfo) Mode() fs.FileMode {
	if i.folder {
		return fs.ModeDir | 0o755
	}
	return 0o644
}
