package vfs

import (
	"io"
	"io/fs"
	"sync/atomic"
	"syscall"
)

// memFile is an open file of a Mem.
type memFile struct {
	mem      *Mem
	node     *memNode
	name     string
	writable bool
	closed   atomic.Bool
}

func (f *memFile) check(op string, writes bool) error {
	switch {
	case f.closed.Load():
		return memError(op, f.name, fs.ErrClosed)
	case writes && !f.writable:
		return memError(op, f.name, syscall.EBADF)
	}
	return nil
}

func (f *memFile) ReadAt(p []byte, position int64) (int, error) {
	if err := f.check("read", false); err != nil {
		return 0, err
	}
	if position < 0 {
		return 0, memError("read", f.name, fs.ErrInvalid)
	}
	f.mem.mu.RLock()
	defer f.mem.mu.RUnlock()
	if position >= int64(len(f.node.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.node.data[position:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, position int64) (int, error) {
	if err := f.check("write", true); err != nil {
		return 0, err
	}
	if position < 0 {
		return 0, memError("write", f.name, fs.ErrInvalid)
	}
	f.mem.mu.Lock()
	defer f.mem.mu.Unlock()
	n := f.node
	end := position + int64(len(p))
	if grown := end - int64(len(n.data)); grown > 0 {
		// Counting what the tree holds is too slow to do on every write to a large disk.
		if f.mem.totalBytes < 1<<40 && f.mem.root.totalSize()+grown > f.mem.totalBytes {
			return 0, memError("write", f.name, syscall.ENOSPC)
		}
		n.resize(end)
	}
	n.keepPages(position, end)
	copy(n.data[position:], p)
	f.mem.touch(n)
	return len(p), nil
}

func (f *memFile) Truncate(sizeBytes int64) error {
	if err := f.check("truncate", true); err != nil {
		return err
	}
	if sizeBytes < 0 {
		return memError("truncate", f.name, fs.ErrInvalid)
	}
	f.mem.mu.Lock()
	defer f.mem.mu.Unlock()
	f.node.resize(sizeBytes)
	f.mem.touch(f.node)
	return nil
}

func (f *memFile) Size() (int64, error) {
	if err := f.check("stat", false); err != nil {
		return 0, err
	}
	f.mem.mu.RLock()
	defer f.mem.mu.RUnlock()
	return int64(len(f.node.data)), nil
}

func (f *memFile) Sync() error {
	if err := f.check("sync", false); err != nil {
		return err
	}
	f.mem.mu.Lock()
	defer f.mem.mu.Unlock()
	f.node.syncedSize = int64(len(f.node.data))
	clear(f.node.dirty)
	return nil
}

func (f *memFile) Close() error {
	if f.closed.Swap(true) {
		return memError("close", f.name, fs.ErrClosed)
	}
	return nil
}

// keepPages remembers what the synced pages between two positions held, before a change.
func (n *memNode) keepPages(from, to int64) {
	for page := from / memPageBytes; page*memPageBytes < min(to, n.syncedSize); page++ {
		if _, kept := n.dirty[page]; kept {
			continue
		}
		start := page * memPageBytes
		end := min(start+memPageBytes, n.syncedSize, int64(len(n.data)))
		n.dirty[page] = append([]byte{}, n.data[min(start, end):end]...)
	}
}

// resize sets the size; new bytes are zero.
func (n *memNode) resize(size int64) {
	old := int64(len(n.data))
	switch {
	case size < old:
		n.keepPages(size, old)
		// Zeroed so that a later growth within the capacity shows zeros.
		clear(n.data[size:])
		n.data = n.data[:size]
	case size <= int64(cap(n.data)):
		n.data = n.data[:size]
	default:
		n.data = append(n.data, make([]byte, size-old)...)
	}
}
