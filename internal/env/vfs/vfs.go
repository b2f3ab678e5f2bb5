// Package vfs is the disk as storage, quorum and checkpoints see it. Three file systems
// implement it: OS (the real one), Mem (in memory, with a crash that loses what was not
// synced) and Fault (wraps another and fails the Nth call). Names are slash- or
// OS-separated paths as package path/filepath handles them.
package vfs

import (
	"io"
	"io/fs"
)

// FS is a file system. Errors satisfy errors.Is with the io/fs sentinels.
type FS interface {
	// Open opens an existing file. With writable false the file only reads.
	Open(name string, writable bool) (File, error)
	// Create creates or truncates a file, open for reading and writing.
	Create(name string) (File, error)
	// Remove deletes a file or an empty folder.
	Remove(name string) error
	// RemoveAll deletes a tree; a missing one is no error.
	RemoveAll(name string) error
	// Rename moves a file or folder, replacing an existing file atomically.
	Rename(oldName, newName string) error
	// MkdirAll creates a folder and its parents.
	MkdirAll(name string) error
	// ReadDir lists a folder, sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	// Stat describes a file or folder.
	Stat(name string) (fs.FileInfo, error)
	// SyncDir makes creations, renames and removals in a folder durable.
	SyncDir(name string) error
	// OpenVolume opens the volume that holds the folder name. The error is errors.ErrUnsupported
	// where it cannot be synced as a whole, or would not tell which writes have failed.
	OpenVolume(name string) (Volume, error)
	// Lock takes an exclusive lock on a file, creating it, and fails with ErrLocked when
	// another process or handle holds it. Closing the result releases the lock.
	Lock(name string) (io.Closer, error)
	// Usage tells the size and the free bytes of the volume that holds name.
	Usage(name string) (totalBytes, freeBytes int64, err error)
}

// File is an open file. It keeps no position: all reads and writes name theirs. ReadAt and
// WriteAt may be called concurrently.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Truncate sets the size.
	Truncate(sizeBytes int64) error
	// Size returns the current size.
	Size() (int64, error)
	// Sync makes the content and size durable.
	Sync() error
}

// Volume is the file system below a folder.
type Volume interface {
	// Sync makes everything durable that was written and every entry that was changed before the
	// call, in all its folders. It fails if any write since OpenVolume, or since the Sync that
	// reported it, did not reach the disk.
	Sync() error
	io.Closer
}

// WriteFileAtomic replaces name with data so that after a crash either the old or the new
// content is there: temporary file, sync, rename, sync of the folder.
func WriteFileAtomic(fsys FS, name string, data []byte) error {
	return writeFileAtomic(fsys, name, data)
}

// ReadFile returns the whole content of name, at most limitBytes; a larger file is an error.
func ReadFile(fsys FS, name string, limitBytes int64) ([]byte, error) {
	return readFile(fsys, name, limitBytes)
}
