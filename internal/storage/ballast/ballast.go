package ballast

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"

	"github.com/moldau/moldau/internal/env/vfs"
)

const fileName = ".moldau-ballast"

const (
	maxBytes       = 2 << 20
	shareOfReserve = 16
	parts          = 4 // a start on a full volume gives up one
)

// sizeBeside is how large the file is to be beside a reserve.
func sizeBeside(reserveBytes int64) int64 {
	return min(maxBytes, max(64<<10, reserveBytes/shareOfReserve), reserveBytes/4)
}

// Release makes a little room in a log dir before anything is opened if its volume has none: a part at a
// time, since who has filled it may take what becomes free.
func Release(fsys vfs.FS, dir string, freeBytes, reserveBytes int64) error {
	wanted := sizeBeside(reserveBytes)
	if freeBytes >= wanted/parts {
		return nil
	}
	path := filepath.Join(dir, fileName)
	f, err := fsys.Open(path, true)
	if errors.Is(err, fs.ErrNotExist) {
		slog.Error("a log dir is full, and nothing is left to give up: the start may fail until there is space", "dir", dir, "free_bytes", freeBytes)
		return nil
	}
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err == nil {
		err = f.Truncate(max(0, size-wanted/parts))
	}
	slog.Error("a log dir is full: gave up a part of its ballast file to start; make space", "dir", dir, "free_bytes", freeBytes, "ballast_bytes", max(0, size-wanted/parts))
	return errors.Join(err, f.Close())
}

// Keep writes the file once there is so much more room on the volume, and returns how many bytes that took.
func Keep(fsys vfs.FS, dir string, roomBytes, reserveBytes int64) (written int64, err error) {
	wanted := sizeBeside(reserveBytes)
	if roomBytes < wanted {
		return 0, nil
	}
	path := filepath.Join(dir, fileName)
	info, err := fsys.Stat(path)
	if err == nil && info.Size() >= wanted {
		return 0, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	f, err := fsys.Create(path)
	if err != nil {
		return 0, err
	}
	// A file system that compresses would give nothing back for zeros.
	data, state := make([]byte, wanted), uint64(0x9e3779b97f4a7c15)
	for i := range data {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		data[i] = byte(state >> 32)
	}
	_, err = f.WriteAt(data, 0)
	if err = errors.Join(err, f.Close()); vfs.IsFull(err) {
		return 0, nil // what was written stays; the next look completes it
	}
	if err != nil {
		return 0, fmt.Errorf("write %s: %w", path, err)
	}
	return wanted, nil
}
