package storage

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/storage/producerstate"
	"github.com/moldau/moldau/internal/storage/segment"
)

// maxPendingSnapshots bounds the snapshots that rolls have taken and no flush has written.
// Fewer snapshots only make a truncation or recovery replay more of the log.
const maxPendingSnapshots = 4

// maxSnapshotBytes bounds what is read from a snapshot file: some five million producers.
const maxSnapshotBytes = 256 << 20

// snapshotSet knows a log's producer snapshots: the files, and those still to be written. A
// log that never had an idempotent producer has none; then a missing file means "no
// producers at the recovery point", and not that the whole log has to be replayed.
type snapshotSet struct {
	onDisk  []int64 // offsets, ascending
	pending []pendingSnapshot
	// bytesSince is what was appended since the last one was taken.
	bytesSince int64
}

type pendingSnapshot struct {
	offset int64
	data   []byte
}

func snapshotPath(folder string, offset int64) string {
	return filepath.Join(folder, segment.FileName(offset, segment.SnapshotSuffix))
}

// logBytesPerProducer is how much must have been appended for each producer of a snapshot before
// a flush takes the next one. To replay so much costs less than to write, every five seconds,
// megabytes about producers of which most have long gone.
const logBytesPerProducer = 64

// isDue reports whether a flush up to end takes a snapshot; with always set, whenever there is
// something new to say.
func (s *snapshotSet) isDue(end int64, producers *producerstate.Manager, always bool) bool {
	newest := int64(-1)
	if n := len(s.pending); n > 0 {
		newest = s.pending[n-1].offset
	} else if n := len(s.onDisk); n > 0 {
		newest = s.onDisk[n-1]
	} else if producers.Len() == 0 {
		return false
	}
	return newest < end && (always || newest < 0 || s.bytesSince >= logBytesPerProducer*int64(producers.Len()))
}

// takeAt takes a snapshot of the state at offset, to be written by the next flush.
func (s *snapshotSet) takeAt(offset int64, producers *producerstate.Manager) {
	if producers.Len() == 0 && len(s.onDisk) == 0 && len(s.pending) == 0 {
		return
	}
	if n := len(s.pending); n > 0 && s.pending[n-1].offset == offset {
		n--
		s.pending = s.pending[:n]
	} else if n == maxPendingSnapshots {
		s.pending = slices.Delete(s.pending, 0, 1)
	}
	s.bytesSince = 0
	s.pending = append(s.pending, pendingSnapshot{offset, producers.EncodeSnapshot()})
}

// writePending makes durable what takeAt took and removes what it makes superfluous. It needs
// flushMu; the set itself is changed under mu.
func (l *Log) writePending(pending []pendingSnapshot) error {
	for _, p := range pending {
		if err := vfs.WriteFileAtomic(l.dir.shared.fs, snapshotPath(l.folder.Path(), p.offset), p.data); err != nil {
			return err
		}
	}
	return l.settleSnapshots(pending)
}

// settleSnapshots takes over snapshots that are durable and removes what they make superfluous.
func (l *Log) settleSnapshots(pending []pendingSnapshot) error {
	if len(pending) == 0 {
		return nil
	}
	l.mu.Lock()
	for _, p := range pending {
		if i, found := slices.BinarySearch(l.snapshots.onDisk, p.offset); !found {
			l.snapshots.onDisk = slices.Insert(l.snapshots.onDisk, i, p.offset)
		}
	}
	l.mu.Unlock()
	newest, list := pending[len(pending)-1].offset, l.segments.Load()
	return l.removeSnapshots(func(offset int64) bool {
		return offset < newest && list.all[list.indexOf(offset)].BaseOffset() != offset
	})
}

// removeSnapshots removes the files at the offsets that superfluous names.
func (l *Log) removeSnapshots(superfluous func(offset int64) bool) error {
	l.mu.Lock()
	var gone []int64
	l.snapshots.onDisk = slices.DeleteFunc(l.snapshots.onDisk, func(offset int64) bool {
		if superfluous(offset) {
			gone = append(gone, offset)
			return true
		}
		return false
	})
	l.mu.Unlock()
	for _, offset := range gone {
		if err := l.dir.shared.fs.Remove(snapshotPath(l.folder.Path(), offset)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
