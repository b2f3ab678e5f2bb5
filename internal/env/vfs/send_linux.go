package vfs

import (
	"errors"
	"os"
	"syscall"
)

// CanSend says whether files of OS are Senders.
const CanSend = true

// mostSent is sent with one call, so that a cut need not wait for long.
const mostSent = 4 << 20

// SendTo has the kernel send bytes of the file, which has no position of its own that would move.
func (f osFile) SendTo(socket uintptr, position int64, n int) (int, error) {
	for {
		sent, err := syscall.Sendfile(int(socket), int(f.Fd()), &position, min(n, mostSent))
		switch {
		case err == nil:
			return sent, nil
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return 0, syscall.EAGAIN
		default:
			return 0, os.NewSyscallError("sendfile", err)
		}
	}
}
