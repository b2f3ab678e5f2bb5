package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"

	"github.com/moldau/moldau/internal/env/vfs"
)

// ballastFileName is the file that each log dir keeps to have something to give up: others can
// fill a volume to the last byte, and a start needs some bytes, for the metadata log's records of
// this start and for index entries of logs that a kill left incomplete.
const ballastFileName = ".moldau-ballast"

const (
	maxBallastBytes = 2 << 20
	ballastShare    = 16 // of the reserve
	ballastParts    = 4  // a start on a full volume gives up one
)

// ballastBytes is how large the file is to be beside a reserve.
func ballastBytes(reserveBytes int64) int64 {
	return min(maxBallastBytes, max(64<<10, reserveBytes/ballastShare), reserveBytes/4)
}

// releaseBallast makes a little room before anything is opened if the volume has none: a part at a
// time, since who has filled it may take what becomes free.
func (d *logDir) releaseBallast() error {
	if d.shared.reserveBytes <= 0 {
		return nil
	}
	total, free, err := d.shared.fs.Usage(d.path)
	wanted := ballastBytes(min(d.shared.reserveBytes, total/maxReserveShare))
	if err != nil || free >= wanted/ballastParts {
		return err
	}
	path := filepath.Join(d.path, ballastFileName)
	f, err := d.shared.fs.Open(path, true)
	if errors.Is(err, fs.ErrNotExist) {
		slog.Error("a log dir is full, and nothing is left to give up: the start may fail until there is space", "dir", d.path, "free_bytes", free)
		return nil
	}
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err == nil {
		err = f.Truncate(max(0, size-wanted/ballastParts))
	}
	slog.Error("a log dir is full: gave up a part of its ballast file to start; make space", "dir", d.path, "free_bytes", free, "ballast_bytes", max(0, size-wanted/ballastParts))
	return errors.Join(err, f.Close())
}

// keepBallast writes the file once there is space for it, and returns how many bytes that took.
func (d *logDir) keepBallast(freeBytes int64) (written int64, err error) {
	reserve := d.space.reserve.Load()
	wanted := ballastBytes(reserve)
	if freeBytes < reserve+reserve/resumeShare+wanted {
		return 0, nil
	}
	path := filepath.Join(d.path, ballastFileName)
	info, err := d.shared.fs.Stat(path)
	if err == nil && info.Size() >= wanted {
		return 0, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	f, err := d.shared.fs.Create(path)
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
