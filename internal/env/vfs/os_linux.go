package vfs

import (
	"io/fs"
	"syscall"
)

func diskUsage(name string) (totalBytes, freeBytes int64, err error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(name, &s); err != nil {
		return 0, 0, &fs.PathError{Op: "statfs", Path: name, Err: err}
	}
	// Frsize is the unit of the counts; some file systems leave it zero.
	unit := s.Frsize
	if unit == 0 {
		unit = s.Bsize
	}
	return int64(s.Blocks) * int64(unit), int64(s.Bavail) * int64(unit), nil
}
