package sim

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"syscall"

	"github.com/moldau/moldau/internal/env/vfs"
)

var errDead = errors.New("the process has ended")

// Disk is a node's disk as one process sees it. When the process is killed in the middle of
// a call, nothing of what it does afterwards reaches the disk; what it answers is not heard.
type Disk struct {
	mem    *vfs.Mem
	fs     *vfs.Fault
	random *rand.Rand

	changes int64 // calls that change something, so far
	dead    bool
	dieIn   int64 // changing calls until the process is killed; 0: not planned
	failIn  int64 // changing calls until calls fail; 0: not planned
	failFor int64 // how many of them fail
	failed  bool  // some did
}

func newDisk(mem *vfs.Mem, random *rand.Rand) *Disk {
	d := &Disk{mem: mem, random: random}
	d.fs = vfs.NewFault(mem, d.decide)
	return d
}

// decide is asked before every call.
func (d *Disk) decide(op vfs.Op, name string) error {
	switch {
	case d.dead:
		return errDead
	case !op.Changes():
		return nil
	}
	d.changes++
	if d.dieIn > 0 {
		if d.dieIn--; d.dieIn == 0 {
			d.dead = true
			return d.torn(op, errDead)
		}
	}
	if d.failIn > 1 {
		d.failIn--
		return nil
	}
	if d.failIn == 1 && d.failFor > 0 {
		d.failFor--
		d.failed = true
		cause := syscall.EIO
		if op == vfs.OpWrite && d.random.IntN(2) == 0 {
			cause = syscall.ENOSPC
		}
		return d.torn(op, &fs.PathError{Op: op.String(), Path: name, Err: cause})
	}
	return nil
}

// torn lets some failing writes leave a part behind.
func (d *Disk) torn(op vfs.Op, err error) error {
	if op == vfs.OpWrite && d.random.IntN(2) == 0 {
		return &vfs.TornWrite{Bytes: d.random.IntN(200), Err: err}
	}
	return err
}

// heal ends planned faults.
func (d *Disk) heal() { d.dieIn, d.failIn, d.failFor = 0, 0, 0 }
