package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// OS is the machine's file system. Opening, locking, syncing a folder and the disk's usage
// differ between systems and are in os_*.go.
type OS struct{}

// Open opens an existing file.
func (OS) Open(name string, writable bool) (File, error) {
	flag := os.O_RDONLY
	if writable {
		flag = os.O_RDWR
	}
	return wrapOSFile(openFile(name, flag))
}

// Create creates or truncates a file.
func (OS) Create(name string) (File, error) {
	return wrapOSFile(openFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC))
}

// Remove deletes a file or an empty folder.
func (OS) Remove(name string) error { return os.Remove(name) }

// RemoveAll deletes a tree.
func (OS) RemoveAll(name string) error { return os.RemoveAll(name) }

// Rename moves a file or folder.
func (OS) Rename(oldName, newName string) error { return os.Rename(oldName, newName) }

// MkdirAll creates a folder and its parents.
func (OS) MkdirAll(name string) error { return os.MkdirAll(name, 0o755) }

// ReadDir lists a folder.
func (OS) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }

// Stat describes a file or folder.
func (OS) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

// SyncDir makes a folder's entries durable.
func (OS) SyncDir(name string) error { return syncDir(name) }

// OpenVolume opens the volume that holds a folder.
func (OS) OpenVolume(name string) (Volume, error) { return openVolume(name) }

// Lock takes an exclusive lock.
func (OS) Lock(name string) (io.Closer, error) {
	f, err := openFile(name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		_ = f.Close()
		return nil, &fs.PathError{Op: "lock", Path: name, Err: err}
	}
	return f, nil
}

// Usage tells the size and the free bytes of a volume.
func (OS) Usage(name string) (totalBytes, freeBytes int64, err error) { return diskUsage(name) }

// DataFiles is how many data files a process may keep open when it may have limit files open:
// half of what lies above 4,096, which sockets take first, at least 256 and at most 16,384.
func DataFiles(limit uint64) int {
	return int(min(max(limit, 4096+2*256)-4096, 2*16_384) / 2)
}

// OpenFilesLimit is how many files and sockets the process may have open.
func OpenFilesLimit() uint64 { return openFilesLimit() }

// IsTooManyOpenFiles reports whether err says that the process or the machine is out of file
// descriptors; closing some may help.
func IsTooManyOpenFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

type osFile struct{ *os.File }

func wrapOSFile(f *os.File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
