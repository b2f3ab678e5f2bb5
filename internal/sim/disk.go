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
	Mem    *vfs.Mem
	FS     *vfs.Fault
	random *rand.Rand

	Changes int64 // calls that change something, so far
	Dead    bool
	DieIn   int64 // changing calls until the process is killed; 0: not planned
	FailIn  int64 // changing calls until calls fail; 0: not planned
	FailFor int64 // how many of them fail
	Failed  bool  // some did
}

// NewDisk returns a disk with what mem holds.
func NewDisk(mem *vfs.Mem, random *rand.Rand) *Disk {
	d := &Disk{Mem: mem, random: random}
	d.FS = vfs.NewFault(mem, d.decide)
	return d
}

// decide is asked before every call.
func (d *Disk) decide(op vfs.Op, name string) error {
	switch {
	case d.Dead:
		return errDead
	case !op.Changes():
		return nil
	}
	d.Changes++
	if d.DieIn > 0 {
		if d.DieIn--; d.DieIn == 0 {
			d.Dead = true
			return d.torn(op, errDead)
		}
	}
	if d.FailIn > 1 {
		d.FailIn--
		return nil
	}
	if d.FailIn == 1 && d.FailFor > 0 {
		d.FailFor--
		d.Failed = true
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

// Heal ends planned faults.
func (d *Disk) Heal() { d.DieIn, d.FailIn, d.FailFor = 0, 0, 0 }
