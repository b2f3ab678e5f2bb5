package vfs

import (
	"errors"
	"slices"
	"syscall"
)

// failures are what systems answer for a device or file system that does not work any more.
var failures = []syscall.Errno{syscall.EIO, syscall.EROFS, syscall.ENXIO, syscall.ENODEV, syscall.ESTALE, syscall.ENOTDIR}

// IsDiskFailure reports whether err says that the disk does not do what it is there for. Other
// errors, such as a missing file, a full disk or too many open files, say nothing about it.
func IsDiskFailure(err error) bool {
	return isSystemFailure(err) || slices.ContainsFunc(failures, func(e syscall.Errno) bool { return errors.Is(err, e) })
}
