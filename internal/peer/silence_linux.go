package peer

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// limitSilence has the system end a connection on which what was sent is not confirmed within silenceTimeout. Keep-alive
// alone finds that only where nothing was sent.
func limitSilence(_, _ string, socket syscall.RawConn) error {
	var err error
	if failed := socket.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silenceTimeout.Milliseconds()))
	}); failed != nil {
		return failed
	}
	return err
}
