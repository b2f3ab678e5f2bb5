package vfs

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
)

// ErrLocked says that somebody else holds a lock file.
var ErrLocked = errors.New("locked by another process")

// TemporarySuffix is what WriteFileAtomic appends to the name until the file is whole. A crash
// may leave one behind.
const TemporarySuffix = ".tmp"

func writeFileAtomic(fsys FS, name string, data []byte) (err error) {
	tmp := name + TemporarySuffix
	f, err := fsys.Create(tmp)
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(data, 0); err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if err := fsys.Rename(tmp, name); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(name))
}

func readFile(fsys FS, name string, limitBytes int64) ([]byte, error) {
	f, err := fsys.Open(name, false)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limitBytes {
		return nil, fmt.Errorf("%s has %d bytes, more than the %d expected at most", name, size, limitBytes)
	}
	data := make([]byte, size)
	if n, err := f.ReadAt(data, 0); err != nil && !(errors.Is(err, io.EOF) && int64(n) == size) {
		return nil, err
	}
	return data, nil
}

// Unsynced leaves out the fsyncs of what is created through it, and of folders: whoever uses it makes durable later what it has written.
type Unsynced struct{ FS }

// Create is FS's, with a file that is not synced.
func (u Unsynced) Create(name string) (File, error) {
	f, err := u.FS.Create(name)
	return unsyncedFile{f}, err
}

// SyncDir does nothing.
func (Unsynced) SyncDir(string) error { return nil }

type unsyncedFile struct{ File }

func (unsyncedFile) Sync() error { return nil }
