package storage

import (
	"errors"
	"path/filepath"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/storage/checkpoint"
	"github.com/moldau/moldau/internal/storage/epoch"
	"github.com/moldau/moldau/internal/storage/segment"
)

// A dirty log's recovery point advances when one of these is reached.
const (
	flushIntervalMs  = 5_000
	flushBacklogSize = 64 << 20
	flushesAtOnce    = 2_000
)

// markDirty lets the maintenance know that there is something to flush.
func (l *Log) markDirty(nowMs int64, sizeBytes int) {
	l.unflushedBytes.Add(int64(sizeBytes))
	if l.dirty.Load() || !l.dirty.CompareAndSwap(false, true) {
		return
	}
	l.dirtySinceMs.Store(nowMs)
	l.dir.addDirty(l) // once: a group of flushes holds the locks of all its logs
}

func (l *Log) isFlushDue(nowMs int64) bool {
	return l.unflushedBytes.Load() >= flushBacklogSize || nowMs-l.dirtySinceMs.Load() >= flushIntervalMs
}

// Flush makes everything below the log end offset durable and advances the recovery point:
// segments, then leader epochs and producer snapshot, which recovery builds only from what
// lies above the recovery point. The checkpoint file of the log dir follows separately.
func (l *Log) Flush() error {
	l.flushMu.Lock()
	c, err := l.flushWith(false)
	l.flushMu.Unlock()
	l.tellCounted(c)
	return err
}

// flush is Flush after which the producers' state is on disk in any case. It needs flushMu.
func (l *Log) flush() error {
	_, err := l.flushWith(true)
	return err
}

// flushPlan is what a flush found to do beside the records.
type flushPlan struct {
	list          *segmentList
	point, end    int64
	recovered     bool
	pending       []pendingSnapshot
	epochs        *epoch.List
	epochsChanged bool
}

// planFlush takes over under mu what is to be flushed; needless says that there is nothing but
// perhaps what recovered names.
func (l *Log) planFlush(snapshot bool) (p flushPlan, needless bool) {
	p = flushPlan{list: l.segments.Load(), point: l.recoveryPoint.Load(), end: l.endOffset.Load(), recovered: l.recovered}
	l.recovered = false
	if l.snapshots.isDue(p.end, &l.producers, snapshot) {
		l.snapshots.takeAt(p.end, &l.producers)
	}
	if p.point == p.end && !l.epochsChanged && len(l.snapshots.pending) == 0 {
		return p, true
	}
	p.pending, l.snapshots.pending = l.snapshots.pending, nil
	p.epochs, p.epochsChanged = l.epochs.Load(), l.epochsChanged
	l.epochsChanged = false
	l.unflushedBytes.Store(0)
	return p, false
}

func (l *Log) flushWith(snapshot bool) (counted, error) {
	if err := l.usable(); err != nil {
		return counted{}, err
	}
	l.mu.Lock()
	p, needless := l.planFlush(snapshot)
	l.mu.Unlock()
	if needless {
		if p.recovered {
			if err := l.syncRecovered(p.list.last()); err != nil {
				return counted{}, l.failed("flushing", err)
			}
		}
		return counted{}, nil
	}
	started := l.dir.shared.clock.Now()
	c, err := l.flushData()
	if err != nil {
		return c, err
	}
	if doing, err := l.flushRest(p); err != nil {
		return c, l.flushFailed(p, doing, err)
	}
	l.recoveryPoint.Store(p.end)
	l.dir.recoveryPoints.markChanged()
	l.dir.metrics.flushSeconds.Observe(l.dir.shared.clock.Now().Sub(started).Seconds())
	return c, nil
}

// flushFailed is what a flush comes to that could not write everything; it needs flushMu.
func (l *Log) flushFailed(p flushPlan, doing string, err error) error {
	if !vfs.IsFull(err) || errors.Is(err, segment.ErrFailed) {
		return l.failed(doing, err)
	}
	// Nothing is lost: the next flush does what found no room.
	l.mu.Lock()
	l.epochsChanged = l.epochsChanged || p.epochsChanged
	l.recovered = l.recovered || p.recovered
	l.snapshots.pending = append(p.pending, l.snapshots.pending...)
	l.mu.Unlock()
	l.markDirty(l.dir.shared.clock.Now().UnixMilli(), 0)
	return l.storageError(doing, err)
}

// flushRest makes durable what the recovery point stands for beside the records. doing says what failed.
func (l *Log) flushRest(p flushPlan) (doing string, err error) {
	// A segment that ends at the recovery point got its last index entries afterwards.
	for _, s := range p.list.all[p.list.indexOf(max(p.point-1, 0)):] {
		if !s.Acquire() {
			continue // retention has removed it
		}
		err := s.FlushIndexes()
		s.Release()
		if err != nil {
			return "flushing", err
		}
	}
	if p.recovered {
		if err := l.syncRecovered(p.list.last()); err != nil {
			return "flushing", err
		}
	}
	if p.epochsChanged {
		path := filepath.Join(l.folder.Path(), checkpoint.LeaderEpochFileName)
		if err := checkpoint.WriteLeaderEpochs(l.dir.shared.fs, path, p.epochs.WithoutEnd(p.end).All()); err != nil {
			return "writing the leader epochs of", err
		}
	}
	return "writing the producer snapshot of", l.writePending(p.pending)
}

// syncRecovered makes durable how an earlier process may have cut the log when it died in a
// recovery: the end of the last segment and the removal of those behind it. Power loss would
// bring back the rest, into a log that has been marked as whole.
func (l *Log) syncRecovered(last *segment.Segment) error {
	return errors.Join(last.Flush(), l.dir.shared.fs.SyncDir(l.folder.Path()))
}
