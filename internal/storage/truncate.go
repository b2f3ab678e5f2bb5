package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/moldau/moldau/internal/storage/epoch"
	"github.com/moldau/moldau/internal/storage/segment"
)

// TruncateTo removes every batch with records at offset or above, with the leader epochs and producer state that came from them. The truncation is
// durable when it returns: else power loss could bring old batches back behind new ones that were written in their place.
func (l *Log) TruncateTo(offset, nowMs int64) error {
	l.flushMu.Lock()
	l.mu.Lock()
	err := l.truncateTo(offset, nowMs)
	c := l.count() // few enough may be left without a flush
	l.mu.Unlock()
	l.flushMu.Unlock()
	l.tellCounted(c)
	return err
}

// truncateTo is TruncateTo with flushMu and mu held.
func (l *Log) truncateTo(offset, nowMs int64) error {
	if err := l.usable(); err != nil {
		return err
	}
	end := l.endOffset.Load()
	if offset >= end {
		l.forgetEpochs(end) // an epoch that was announced and has no records (AssignEpochStart)
		return nil
	}
	list := l.segments.Load()
	offset, err := batchStart(list, max(offset, list.all[0].BaseOffset()))
	if err != nil {
		return l.readError(err)
	}
	keep := list.indexOf(offset) + 1
	if last := keep - 1; last > 0 && list.all[last].BaseOffset() == offset {
		keep = last
	}
	// Readers see the new end first, then lose the bytes.
	l.endOffset.Store(offset)
	l.highWatermark.Store(min(l.highWatermark.Load(), offset))
	l.startOffset.Store(min(l.startOffset.Load(), offset))
	l.recoveryPoint.Store(min(l.recoveryPoint.Load(), offset))
	l.flushedOffset.Store(min(l.flushedOffset.Load(), offset))
	l.countedOffset.Store(min(l.countedOffset.Load(), offset))
	l.dir.recoveryPoints.markChanged()
	l.dir.highWatermarks.markChanged()
	l.dir.logStarts.markChanged()
	l.clean.truncations++
	l.clean.uncleanable = false // another copy of the data may come
	// The recovery point on disk must not lie above what the log ends with, or what is appended next would pass for flushed after a crash.
	if err := l.dir.checkpointRecoveryPoints(); err != nil {
		return l.failed("writing the recovery point of", err)
	}
	// Nor may what is appended next pass for compacted: its tombstones would go before the records
	// that they delete.
	if l.cleanedOffset.Load() > offset {
		l.cleanedOffset.Store(offset)
		l.dir.cleanedOffsets.markChanged()
		if err := l.dir.cleanedOffsets.write(l.dir); err != nil {
			return l.failed("writing the cleaner offset of", err)
		}
	}
	for i := len(list.all) - 1; i >= keep; i-- { // the last one first: a kill in between leaves no hole
		if err := list.all[i].MarkDeleted(); err != nil {
			return l.failed("deleting a segment of", err)
		}
		l.removeLater(list.all[i], nowMs)
	}
	last := list.all[keep-1]
	var removed int64
	if err = l.cutAborted(last, offset); err == nil {
		removed, err = last.Truncate(offset)
	}
	if err == nil {
		err = errors.Join(last.Flush(), l.dir.shared.fs.SyncDir(l.folder.Path()))
	}
	if err != nil {
		return l.failed("truncating", err)
	}
	l.active, l.firstTimestampMs, l.activeSinceMs = last.IsActive(), unknownTimestamp, nowMs
	l.segments.Store(&segmentList{append([]*segment.Segment(nil), list.all[:keep]...)})
	l.dir.metrics.truncatedBytes.Add(removed)
	l.forgetEpochs(offset)
	l.markDirty(nowMs, 0)
	slog.Info("truncated a log", "partition", l.tp.String(), "from", end, "to", offset)
	if err := l.rebuildProducers(nowMs, offset, false); err != nil {
		return l.failed("rebuilding the producer state of", err)
	}
	return nil
}

func (l *Log) forgetEpochs(endOffset int64) {
	if epochs := l.epochs.Load(); epochs != epochs.WithoutEnd(endOffset) {
		l.epochs.Store(epochs.WithoutEnd(endOffset))
		l.epochsChanged = true
	}
}

// StartAt removes everything and goes on at another offset: a follower's log whose leader has nothing any more of what would follow. Only an empty log can
// go on at an earlier one, as behind a leader that was elected without having what was committed. A power loss in between leaves an empty log, for which it is done again.
func (l *Log) StartAt(offset, nowMs int64) error {
	if err := l.removeSnapshots(func(int64) bool { return true }); err != nil {
		return l.mayFail("removing the producer snapshots of", err)
	}
	need := commitNeed{dueMs: never}
	defer func() { l.ask(need) }() // nothing may be appended for long, and until it is flushed the follower does not fetch on
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	isEarlier := offset < l.endOffset.Load()
	if isEarlier && l.startOffset.Load() < l.endOffset.Load() {
		return fmt.Errorf("BUG: asked to start %s over at offset %d, it has records up to offset %d", l.tp, offset, l.endOffset.Load())
	}
	if err := l.truncateTo(l.segments.Load().all[0].BaseOffset(), nowMs); err != nil {
		return err
	}
	l.clean.truncations++ // also where there was nothing to cut off
	l.epochs.Store(epoch.None)
	l.epochsChanged = true
	l.producers.Reset()
	l.unstable.Store(allStable)
	if err := l.activate(); err != nil {
		return err
	}
	l.endOffset.Store(offset)
	l.raiseStartOffset(offset) // first: readers are told that what they ask for is out of range
	if empty := l.segments.Load().all[0]; empty.BaseOffset() != offset {
		if err := l.replaceEmpty(empty, nowMs); err != nil {
			return err
		}
	}
	l.highWatermark.Store(offset)
	l.dir.highWatermarks.markChanged()
	if isEarlier {
		if err := l.lowerTo(offset); err != nil {
			return l.failed("starting over earlier", err)
		}
	}
	l.markDirty(nowMs, 0)
	l.count()
	need = l.need(nowMs)
	return nil
}

// lowerTo has an empty log begin at an earlier offset than before. The files must not say any more that it begins later, that what will come is flushed, or compacted: a start would believe them.
func (l *Log) lowerTo(offset int64) error {
	for _, known := range []*atomic.Int64{&l.startOffset, &l.recoveryPoint, &l.flushedOffset, &l.countedOffset, &l.cleanedOffset} {
		known.Store(min(known.Load(), offset))
	}
	for _, c := range []*offsetCheckpoint{&l.dir.logStarts, &l.dir.recoveryPoints, &l.dir.cleanedOffsets} {
		c.markChanged()
		if err := c.write(l.dir); err != nil {
			return err
		}
	}
	return nil
}

// replaceEmpty has the log go on at its end offset. A start would take the gap behind the empty segment
// for a loss, and cut the log there, so that segment goes.
func (l *Log) replaceEmpty(empty *segment.Segment, nowMs int64) error {
	if err := l.roll(nowMs); err != nil {
		return err
	}
	err := empty.MarkDeleted()
	if err == nil {
		l.removeLater(empty, nowMs)
		l.segments.Store(&segmentList{[]*segment.Segment{l.segments.Load().last()}})
		err = l.dir.shared.fs.SyncDir(l.folder.Path())
	}
	if err != nil {
		return l.failed("starting over", err)
	}
	return nil
}

// TruncateDamage cuts off what is damaged from offset on, which FirstDamage has named, and everything behind it. Of a log that was
// compacted nothing stays: other replicas may have removed tombstones of records that are still here.
func (l *Log) TruncateDamage(offset, nowMs int64) error {
	if l.Config().Compact || l.cleanedOffset.Load() > 0 {
		offset = 0
	}
	return l.TruncateTo(offset, nowMs)
}

// batchStart returns where the batch that contains offset begins, offset itself if none does:
// a log ends with a whole batch.
func batchStart(list *segmentList, offset int64) (int64, error) {
	s := list.all[list.indexOf(offset)]
	at, found, err := s.Lookup(offset)
	if _, damaged := errors.AsType[*segment.CorruptionError](err); damaged {
		_, err = s.CutPosition(offset)
		return offset, err
	}
	if err != nil || !found {
		return offset, err
	}
	return min(offset, at.BaseOffset), nil
}
