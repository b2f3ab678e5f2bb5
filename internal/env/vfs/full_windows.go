package vfs

import (
	"errors"
	"syscall"
)

// errorDiskFull is ERROR_DISK_FULL.
const errorDiskFull = syscall.Errno(112)

func isSystemFull(err error) bool { return errors.Is(err, errorDiskFull) }
