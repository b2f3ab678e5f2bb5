package vfs

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

type linuxVolume struct{ folder *os.File }

// openVolume keeps the folder open: the kernel remembers per open file which failed writes it has
// told of, and tells of them since Linux 5.8 only. Whether the file system could write what it keeps
// itself, names and sizes of files, syncfs tells since 5.17 only.
func openVolume(name string) (Volume, error) {
	var kernel unix.Utsname
	if err := unix.Uname(&kernel); err != nil || !isKernelFrom(unix.ByteSliceToString(kernel.Release[:]), 5, 17) {
		return nil, errors.ErrUnsupported
	}
	var about syscall.Statfs_t
	if err := syscall.Statfs(name, &about); err != nil {
		return nil, &fs.PathError{Op: "statfs", Path: name, Err: err}
	}
	// The file systems whose syncfs is known to wait for the disk; FUSE, for one, answers at once.
	switch int64(about.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC:
	default:
		return nil, errors.ErrUnsupported
	}
	folder, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	return linuxVolume{folder}, nil
}

// isKernelFrom reports whether a release such as 6.1.0-13-amd64 is major.minor or newer.
func isKernelFrom(release string, major, minor int) bool {
	parts := strings.FieldsFunc(release, func(r rune) bool { return r < '0' || r > '9' })
	if len(parts) < 2 {
		return false
	}
	a, err1 := strconv.Atoi(parts[0])
	b, err2 := strconv.Atoi(parts[1])
	return err1 == nil && err2 == nil && (a > major || a == major && b >= minor)
}

// Sync makes the volume durable.
func (v linuxVolume) Sync() error {
	for {
		switch err := unix.Syncfs(int(v.folder.Fd())); {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return &fs.PathError{Op: "syncfs", Path: v.folder.Name(), Err: err}
		default:
			return nil
		}
	}
}

// Close closes the folder.
func (v linuxVolume) Close() error { return v.folder.Close() }
