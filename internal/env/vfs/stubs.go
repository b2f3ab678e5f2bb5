package vfs

import (
	"io"
	"io/fs"

	"github.com/moldau/moldau/internal/env"
)

// OS is the machine's file system.
type OS struct{}

func (OS) Open(name string, writable bool) (File, error) { panic("BUG: not written yet") }
func (OS) Create(name string) (File, error)              { panic("BUG: not written yet") }
func (OS) Remove(name string) error                      { panic("BUG: not written yet") }
func (OS) RemoveAll(name string) error                   { panic("BUG: not written yet") }
func (OS) Rename(oldName, newName string) error          { panic("BUG: not written yet") }
func (OS) MkdirAll(name string) error                    { panic("BUG: not written yet") }
func (OS) ReadDir(name string) ([]fs.DirEntry, error)    { panic("BUG: not written yet") }
func (OS) Stat(name string) (fs.FileInfo, error)         { panic("BUG: not written yet") }
func (OS) SyncDir(name string) error                     { panic("BUG: not written yet") }
func (OS) Lock(name string) (io.Closer, error)           { panic("BUG: not written yet") }
func (OS) Usage(name string) (int64, int64, error)       { panic("BUG: not written yet") }

// Mem is a file system in memory that knows what was synced.
type Mem struct{ OS }

// NewMem returns an empty file system with a root folder.
func NewMem() *Mem { panic("BUG: not written yet") }

// KillClone returns a copy in the state after kill -9: every write is there, locks are free.
func (m *Mem) KillClone() *Mem { panic("BUG: not written yet") }

// CrashClone returns a copy in a state after power loss: of what was not synced, an arbitrary part is
// there, also parts of single writes.
func (m *Mem) CrashClone(random env.Random) *Mem { panic("BUG: not written yet") }

// Op is a kind of call on an FS or File.
type Op int

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
)

// Fault passes calls on to another FS unless shouldFail says otherwise.
type Fault struct{ OS }

// NewFault wraps inner. shouldFail is asked before every call, with the file's name (for OpRename
// the new one); its error is returned instead of making the call. A *TornWrite for
// OpWrite writes a part first. shouldFail may be called concurrently.
func NewFault(inner FS, shouldFail func(op Op, name string) error) *Fault {
	panic("BUG: not written yet")
}

// TornWrite makes a faulty write put Bytes bytes on disk before it fails with Err.
type TornWrite struct {
	Bytes int
	Err   error
}

func (e *TornWrite) Error() string { return "torn write: " + e.Err.Error() }
