package vfs

import (
	"errors"
	"sync"
	"sync/atomic"
)

// Sender is a File whose bytes the kernel can send to a socket, without a copy in this process. The
// file may be shorter by then: what is there now is sent.
type Sender interface {
	File
	// SendTo sends bytes from position on to a socket, without waiting for it, and returns how many of
	// the n went: 0 at the end of the file. syscall.EAGAIN says that the socket takes none at present.
	SendTo(socket uintptr, position int64, n int) (int, error)
}

// ErrRangeCut says that the file was cut since the Range was taken.
var ErrRangeCut = errors.New("the file was cut before all of it was sent")

// Cuts orders what is sent of files and what cuts them, of all that share one: a Range that was
// taken before a cut sends nothing after it.
type Cuts struct {
	mu    sync.RWMutex // held for reading by who sends
	count atomic.Uint64
}

// Count is how many cuts there were. It must be asked before anything of the file is looked at.
func (c *Cuts) Count() uint64 { return c.count.Load() }

// Cut calls cut when nobody sends.
func (c *Cuts) Cut(cut func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.count.Add(1) // also where it was cut in part
	return cut()
}

// Range is a run of bytes of a file. Who holds one sees to it that the file stays open.
type Range struct {
	SizeBytes int
	position  int64
	file      Sender
	cuts      *Cuts
	count     uint64
}

// NewRange returns sizeBytes bytes of file from position on, as they were when cuts had counted so many.
func NewRange(file Sender, position int64, sizeBytes int, cuts *Cuts, count uint64) Range {
	return Range{SizeBytes: sizeBytes, position: position, file: file, cuts: cuts, count: count}
}

// SendTo is Sender's SendTo for what is left of the range after from bytes.
func (r *Range) SendTo(socket uintptr, from int) (int, error) {
	r.cuts.mu.RLock()
	defer r.cuts.mu.RUnlock()
	if r.cuts.count.Load() != r.count {
		return 0, ErrRangeCut
	}
	return r.file.SendTo(socket, r.position+int64(from), r.SizeBytes-from)
}

// Bytes reads the range.
func (r *Range) Bytes() ([]byte, error) {
	b := make([]byte, r.SizeBytes)
	_, err := r.file.ReadAt(b, r.position)
	return b, err
}
