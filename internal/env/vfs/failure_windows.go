package vfs

import (
	"errors"
	"slices"
	"syscall"
)

// systemFailures are ERROR_WRITE_PROTECT, NOT_READY, CRC, SECTOR_NOT_FOUND, IO_DEVICE and
// DEVICE_NOT_CONNECTED.
var systemFailures = []syscall.Errno{19, 21, 23, 27, 1117, 1167}

func isSystemFailure(err error) bool {
	return slices.ContainsFunc(systemFailures, func(e syscall.Errno) bool { return errors.Is(err, e) })
}
