package fault

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Disk is a small file system of its own.
type Disk struct {
	Folder string
}

// NewDisk mounts one on a folder.
func NewDisk(folder string, sizeBytes int64) (*Disk, error) {
	if err := unix.Mount("tmpfs", folder, "tmpfs", 0, fmt.Sprintf("size=%d", sizeBytes)); err != nil {
		return nil, fmt.Errorf("mount a small file system on %s: %w", folder, err)
	}
	return &Disk{Folder: folder}, nil
}

// Close unmounts it.
func (d *Disk) Close() error { return unix.Unmount(d.Folder, unix.MNT_DETACH) }

func (d *Disk) filler() string { return filepath.Join(d.Folder, "filler") }

// Fill takes what is free, but for keepBytes.
func (d *Disk) Fill(keepBytes int64) error {
	f, err := os.OpenFile(d.filler(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	for size := 4 << 20; size > 0; {
		if n, err := f.Write(make([]byte, size)); err != nil && n == 0 {
			size /= 2
		}
	}
	if err := f.Close(); err != nil || keepBytes == 0 {
		return err
	}
	info, err := os.Stat(d.filler())
	if err != nil {
		return err
	}
	return os.Truncate(d.filler(), max(0, info.Size()-keepBytes))
}

// Free gives it back.
func (d *Disk) Free() error { return os.RemoveAll(d.filler()) }
