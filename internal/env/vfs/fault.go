package vfs

import (
	"errors"
	"io"
	"io/fs"
	"sync/atomic"
)

// Op is a kind of call on an FS or File.
type Op int

// The calls that Fault can let fail. Close never fails.
const (
	OpOpen Op = iota
	OpCreate
	OpRemove
	OpRemoveAll
	OpRename
	OpMkdir
	OpReadDir
	OpStat
	OpSyncDir
	OpLock
	OpUsage
	OpRead
	OpWrite
	OpTruncate
	OpSize
	OpSync
	OpOpenVolume
	OpSyncVolume
)

var opNames = [...]string{
	"open", "create", "remove", "remove all", "rename", "mkdir", "read dir", "stat", "sync dir",
	"lock", "usage", "read", "write", "truncate", "size", "sync",
	"open volume", "sync volume",
}

// String names the call.
func (op Op) String() string { return opNames[op] }

// Changes reports whether the call changes what is on disk.
func (op Op) Changes() bool {
	switch op {
	case OpCreate, OpRemove, OpRemoveAll, OpRename, OpMkdir, OpSyncDir, OpWrite, OpTruncate, OpSync, OpSyncVolume:
		return true
	}
	return false
}

// MayTakeLong says that the call takes as long as the disk needs for whatever it has to do; the
// others are mostly served from memory.
func (op Op) MayTakeLong() bool {
	switch op {
	case OpSync, OpSyncDir, OpSyncVolume, OpRemove, OpRemoveAll, OpTruncate:
		return true
	}
	return false
}

// TornWrite makes a faulty write put Bytes bytes on disk before it fails with Err.
type TornWrite struct {
	Bytes int
	Err   error
}

func (e *TornWrite) Error() string { return "torn write: " + e.Err.Error() }

// Unwrap returns Err.
func (e *TornWrite) Unwrap() error { return e.Err }

// ErrInjected is the error of the faults that FailAt makes.
var ErrInjected = errors.New("injected disk fault")

// FailAt is a decision for NewFault: the Nth changing call, counted from 1, fails. Torn leaves
// half of a failing write on disk. With N too large nothing fails, which ends a fail-at-N loop:
// see Failed.
type FailAt struct {
	N     int64
	Torn  bool
	count atomic.Int64
}

// Decide is passed to NewFault.
func (f *FailAt) Decide(op Op, name string) error {
	if !op.Changes() || f.count.Add(1) != f.N {
		return nil
	}
	err := &fs.PathError{Op: op.String(), Path: name, Err: ErrInjected}
	if f.Torn && op == OpWrite {
		return &TornWrite{Bytes: -1, Err: err}
	}
	return err
}

// Failed reports whether the fault has happened.
func (f *FailAt) Failed() bool { return f.count.Load() >= f.N }

// Fault passes calls on to another FS unless shouldFail says otherwise.
type Fault struct {
	inner      FS
	shouldFail func(op Op, name string) error
}

// NewFault wraps inner. shouldFail is asked before every call, with the file's name (for
// OpRename the new one); its error is returned instead of making the call. A *TornWrite for
// OpWrite writes a part first, half if its Bytes is negative. shouldFail may be called
// concurrently.
func NewFault(inner FS, shouldFail func(op Op, name string) error) *Fault {
	return &Fault{inner, shouldFail}
}

// Open opens an existing file.
func (f *Fault) Open(name string, writable bool) (File, error) {
	if err := f.shouldFail(OpOpen, name); err != nil {
		return nil, err
	}
	return f.wrap(name)(f.inner.Open(name, writable))
}

// Create creates or truncates a file.
func (f *Fault) Create(name string) (File, error) {
	if err := f.shouldFail(OpCreate, name); err != nil {
		return nil, err
	}
	return f.wrap(name)(f.inner.Create(name))
}

// Remove deletes a file or an empty folder.
func (f *Fault) Remove(name string) error {
	if err := f.shouldFail(OpRemove, name); err != nil {
		return err
	}
	return f.inner.Remove(name)
}

// RemoveAll deletes a tree.
func (f *Fault) RemoveAll(name string) error {
	if err := f.shouldFail(OpRemoveAll, name); err != nil {
		return err
	}
	return f.inner.RemoveAll(name)
}

// Rename moves a file or folder.
func (f *Fault) Rename(oldName, newName string) error {
	if err := f.shouldFail(OpRename, newName); err != nil {
		return err
	}
	return f.inner.Rename(oldName, newName)
}

// MkdirAll creates a folder and its parents.
func (f *Fault) MkdirAll(name string) error {
	if err := f.shouldFail(OpMkdir, name); err != nil {
		return err
	}
	return f.inner.MkdirAll(name)
}

// ReadDir lists a folder.
func (f *Fault) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := f.shouldFail(OpReadDir, name); err != nil {
		return nil, err
	}
	return f.inner.ReadDir(name)
}

// Stat describes a file or folder.
func (f *Fault) Stat(name string) (fs.FileInfo, error) {
	if err := f.shouldFail(OpStat, name); err != nil {
		return nil, err
	}
	return f.inner.Stat(name)
}

// SyncDir makes a folder's entries durable.
func (f *Fault) SyncDir(name string) error {
	if err := f.shouldFail(OpSyncDir, name); err != nil {
		return err
	}
	return f.inner.SyncDir(name)
}

// OpenVolume opens the volume that holds a folder.
func (f *Fault) OpenVolume(name string) (Volume, error) {
	if err := f.shouldFail(OpOpenVolume, name); err != nil {
		return nil, err
	}
	v, err := f.inner.OpenVolume(name)
	if err != nil {
		return nil, err
	}
	return &faultVolume{v, f, name}, nil
}

type faultVolume struct {
	Volume
	fault *Fault
	name  string
}

func (v *faultVolume) Sync() error {
	if err := v.fault.shouldFail(OpSyncVolume, v.name); err != nil {
		return err
	}
	return v.Volume.Sync()
}

// Lock takes an exclusive lock.
func (f *Fault) Lock(name string) (io.Closer, error) {
	if err := f.shouldFail(OpLock, name); err != nil {
		return nil, err
	}
	return f.inner.Lock(name)
}

// Usage tells the size and the free bytes of a volume.
func (f *Fault) Usage(name string) (totalBytes, freeBytes int64, err error) {
	if err := f.shouldFail(OpUsage, name); err != nil {
		return 0, 0, err
	}
	return f.inner.Usage(name)
}

func (f *Fault) wrap(name string) func(File, error) (File, error) {
	return func(file File, err error) (File, error) {
		if err != nil {
			return nil, err
		}
		return &faultFile{file, f, name}, nil
	}
}

type faultFile struct {
	File
	fault *Fault
	name  string
}

func (f *faultFile) ReadAt(p []byte, position int64) (int, error) {
	if err := f.fault.shouldFail(OpRead, f.name); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, position)
}

func (f *faultFile) WriteAt(p []byte, position int64) (int, error) {
	err := f.fault.shouldFail(OpWrite, f.name)
	if err == nil {
		return f.File.WriteAt(p, position)
	}
	torn, ok := errors.AsType[*TornWrite](err)
	if !ok {
		return 0, err
	}
	part := torn.Bytes
	if part < 0 {
		part = len(p) / 2
	}
	n, writeErr := f.File.WriteAt(p[:min(part, len(p))], position)
	if writeErr != nil {
		err = writeErr
	}
	return n, err
}

func (f *faultFile) Truncate(sizeBytes int64) error {
	if err := f.fault.shouldFail(OpTruncate, f.name); err != nil {
		return err
	}
	return f.File.Truncate(sizeBytes)
}

func (f *faultFile) Size() (int64, error) {
	if err := f.fault.shouldFail(OpSize, f.name); err != nil {
		return 0, err
	}
	return f.File.Size()
}

func (f *faultFile) Sync() error {
	if err := f.fault.shouldFail(OpSync, f.name); err != nil {
		return err
	}
	return f.File.Sync()
}
