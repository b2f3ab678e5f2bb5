package vfs

import (
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
)

// CanSend says whether files of OS are Senders.
const CanSend = true

// mostSent is sent with one call, so that a cut need not wait for long.
const mostSent = 4 << 20

// SendTo has the kernel send bytes of the file, which has no position of its own that would move.
func (f osFile) SendTo(socket uintptr, position int64, n int) (int, error) {
	for {
		from := position
		sent, err := syscall.Sendfile(int(socket), int(f.Fd()), &from, min(n, mostSent))
		switch {
		case err == nil:
			return sent, nil
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return 0, syscall.EAGAIN
		case errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.EPERM):
			// Not every file system can, nor may every process.
			return f.copyTo(socket, position, n)
		default:
			return 0, os.NewSyscallError("sendfile", err)
		}
	}
}

var copyBuffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// copyTo is SendTo by way of this process.
func (f osFile) copyTo(socket uintptr, position int64, n int) (int, error) {
	buffer := copyBuffers.Get().(*[64 << 10]byte)
	defer copyBuffers.Put(buffer)
	n, err := f.ReadAt(buffer[:min(n, len(buffer))], position)
	if n == 0 && errors.Is(err, io.EOF) {
		return 0, nil
	}
	if n == 0 {
		return 0, err
	}
	for {
		sent, err := syscall.Write(int(socket), buffer[:n])
		switch {
		case err == nil:
			return sent, nil
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return 0, syscall.EAGAIN
		default:
			return 0, os.NewSyscallError("write", err)
		}
	}
}
