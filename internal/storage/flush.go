package storage

import (
	"errors"
	"path/filepath"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/storage/checkpoint"
	"github.com/moldau/moldau/internal/storage/segment"
)

// A dirty log's recovery point advances when one of these is reached.
const (
	flushIntervalMs  = 5_000
	flushBacklogSize = 64 << 20
)

// markDirty lets the maintenance know that there is something to flush.
func (l *Log) markDirty(nowMs int64, sizeBytes int) {
	l.unflushedBytes.Add(int64(sizeBytes))
	if l.dirty.Load() {
		return
	}
	l.dirtySinceMs.Store(nowMs)
	l.dirty.Store(true)
	l.dir.addDirty(l)
}

func (l *Log) isFlushDue(nowMs int64) bool {
	return l.unflushedBytes.Load() >= flushBacklogSize || nowMs-l.dirtySinceMs.Load() >= min(flushIntervalMs, l.Config().FlushMs)
}

// Flush makes everything below the log end offset durable and advances the recovery point:
// segments, then leader epochs and producer snapshot, which recovery builds only from what
// lies above the recovery point. The checkpoint file of the log dir follows separately.
func (l *Log) Flush() error {
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	return l.flushWith(false)
}

// flush is Flush after which the producers' state is on disk in any case. It needs flushMu.
func (l *Log) flush() error { return l.flushWith(true) }

func (l *Log) flushWith(snapshot bool) error {
	if err := l.usable(); err != nil {
		return err
	}
	l.mu.Lock()
	list, point, end := l.segments.Load(), l.recoveryPoint.Load(), l.endOffset.Load()
	recovered := l.recovered
	l.recovered = false
	if l.snapshots.isDue(end, &l.producers, snapshot) {
		l.snapshots.takeAt(end, &l.producers)
	}
	if point == end && !l.epochsChanged && len(l.snapshots.pending) == 0 {
		l.mu.Unlock()
		if recovered {
			return l.syncRecovered(list.last())
		}
		return nil
	}
	pending := l.snapshots.pending
	l.snapshots.pending = nil
	epochs, epochsChanged := l.epochs.Load(), l.epochsChanged
	l.epochsChanged = false
	unsyncedFolder := l.unsyncedFolder
	l.unsyncedFolder = false
	l.unflushedBytes.Store(0)
	l.mu.Unlock()

	started := l.dir.shared.clock.Now()
	failed := func(doing string, err error) error {
		if !vfs.IsFull(err) || errors.Is(err, segment.ErrFailed) {
			return l.failed(doing, err)
		}
		// Nothing is lost: the next flush does what found no room.
		l.mu.Lock()
		l.epochsChanged = l.epochsChanged || epochsChanged
		l.unsyncedFolder = l.unsyncedFolder || unsyncedFolder
		l.snapshots.pending = append(pending, l.snapshots.pending...)
		l.mu.Unlock()
		l.markDirty(l.dir.shared.clock.Now().UnixMilli(), 0)
		return l.storageError(doing, err)
	}
	// A segment that ends at the recovery point got its last index entries afterwards.
	for _, s := range list.all[list.indexOf(max(point-1, 0)):] {
		if !s.Acquire() {
			continue // retention has removed it
		}
		err := s.Flush()
		s.Release()
		if err != nil {
			return failed("flushing", err)
		}
	}
	if recovered {
		if err := l.syncRecovered(list.last()); err != nil {
			return err
		}
	}
	if unsyncedFolder {
		if err := l.syncFolder(); err != nil {
			return failed("flushing", err)
		}
	}
	if epochsChanged {
		path := filepath.Join(l.folder.Path(), checkpoint.LeaderEpochFileName)
		if err := checkpoint.WriteLeaderEpochs(l.dir.shared.fs, path, epochs.withoutEnd(end).all); err != nil {
			return failed("writing the leader epochs of", err)
		}
	}
	if err := l.writePending(pending); err != nil {
		return failed("writing the producer snapshot of", err)
	}
	l.recoveryPoint.Store(end)
	l.dir.recoveryPoints.markChanged()
	l.dir.metrics.flushSeconds.Observe(l.dir.shared.clock.Now().Sub(started).Seconds())
	return nil
}

// syncRecovered makes durable how an earlier process may have cut the log when it died in a
// recovery: the end of the last segment and the removal of those behind it. Power loss would
// bring back the rest, into a log that has been marked as whole.
func (l *Log) syncRecovered(last *segment.Segment) error {
	if err := errors.Join(last.Flush(), l.dir.shared.fs.SyncDir(l.folder.Path())); err != nil {
		return l.failed("flushing", err)
	}
	return nil
}
