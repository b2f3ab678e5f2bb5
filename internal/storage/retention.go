package storage

import (
	"log/slog"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/storage/segment"
)

// DeleteOldSegments applies retention and returns how many segments went. What lies wholly below the log start offset goes always, the rest by size and time if the
// cleanup policy has delete. Only whole segments below the high watermark go, oldest first; if that is all of them, a new active segment is made before.
func (l *Log) DeleteOldSegments(nowMs int64) (int, error) {
	var c counted
	defer func() { l.tellCounted(c) }() // without flushMu
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	l.mu.Lock()
	config := l.Config()
	count, why, err := l.deletable(nowMs, config)
	if err == nil && l.producersNeed(count) {
		l.mu.Unlock()
		c, err = l.flushWith(true)
		l.mu.Lock()
		if err == nil {
			count, why, err = l.deletable(nowMs, config)
		}
		for err == nil && l.producersNeed(count) { // appended meanwhile; the next pass takes them
			count--
		}
	}
	var gone []*segment.Segment
	if err == nil && count > 0 {
		gone, err = l.takeFirst(nowMs, count)
	}
	l.mu.Unlock()
	if err == nil {
		err = l.deleteFiles(nowMs, gone)
	}
	if err != nil || count == 0 {
		return 0, err
	}
	slog.Info("deleted old segments", "partition", l.tp.String(), "segments", count, "why", why, "log_start_offset", l.startOffset.Load())
	// The newest snapshot stays, whatever its offset: it is the producers' only state on disk.
	l.mu.Lock()
	oldest := l.segments.Load().all[0].BaseOffset()
	if n := len(l.snapshots.onDisk); n > 0 {
		oldest = min(oldest, l.snapshots.onDisk[n-1])
	}
	l.mu.Unlock()
	if err := l.removeSnapshots(func(offset int64) bool { return offset < oldest }); err != nil {
		return count, l.mayFail("removing old producer snapshots of", err)
	}
	return count, nil
}

// producersNeed reports whether the first count segments hold the only trace on disk of what producers wrote last: the newest snapshot is older. A flush writes
// another one. Without it recovery would load the old snapshot, replay only what is left, and then refuse the next batch of a producer whose last ones were deleted,
// as out of order.
func (l *Log) producersNeed(count int) bool {
	newest := len(l.snapshots.onDisk) - 1
	if count == 0 || newest < 0 && l.producers.Len() == 0 {
		return false
	}
	return newest < 0 || l.snapshots.onDisk[newest] < l.segments.Load().endOf(count-1, l.endOffset.Load())
}

// deletable returns how many of the first segments retention lets go, and which rule reached farthest. The three rules are applied one after the other, as in Kafka.
func (l *Log) deletable(nowMs int64, config *LogConfig) (count int, why string, err error) {
	if err := l.usable(); err != nil {
		return 0, "", err
	}
	list, startOffset := l.segments.Load(), l.startOffset.Load()
	count = l.countWhile(list, 0, func(i int, _ *segment.Segment) (bool, error) {
		return i+1 < len(list.all) && list.all[i+1].BaseOffset() <= startOffset, nil
	}, &err)
	why = "below the log start offset"
	if !config.Delete || err != nil {
		return count, why, err
	}
	if config.RetentionBytes >= 0 {
		excess := -config.RetentionBytes
		for _, s := range list.all[count:] {
			excess += s.SizeBytes()
		}
		bySize := l.countWhile(list, count, func(_ int, s *segment.Segment) (bool, error) {
			excess -= s.SizeBytes()
			return excess >= 0, nil
		}, &err)
		if bySize > count {
			count, why = bySize, "retention.bytes"
		}
	}
	if config.RetentionMs >= 0 && err == nil {
		byTime := l.countWhile(list, count, func(_ int, s *segment.Segment) (bool, error) {
			newest, err := newestMs(s)
			return nowMs-newest > config.RetentionMs, err
		}, &err)
		if byTime > count {
			count, why = byTime, "retention.ms"
		}
	}
	return count, why, err
}

// countWhile counts on from the first count segments while delete says so and the segment is wholly below the high watermark; an empty active segment always stays.
func (l *Log) countWhile(list *segmentList, count int, delete func(i int, s *segment.Segment) (bool, error), errOut *error) int {
	hw, end := l.highWatermark.Load(), l.endOffset.Load()
	for i := count; i < len(list.all); i++ {
		s := list.all[i]
		if list.endOf(i, end) > hw || i == len(list.all)-1 && s.SizeBytes() == 0 {
			return i
		}
		if ok, err := delete(i, s); err != nil || !ok {
			if err != nil {
				*errOut = l.readError(err)
			}
			return i
		}
	}
	return len(list.all)
}

// newestMs is the segment's largest timestamp, or when it was last written where its records have none.
func newestMs(s *segment.Segment) (int64, error) {
	largest, _, err := s.LargestTimestamp()
	if err != nil || largest != kafka.NoTimestamp {
		return largest, err
	}
	return s.ModifiedMs()
}

// takeFirst takes the first count segments out of the log, under mu.
func (l *Log) takeFirst(nowMs int64, count int) ([]*segment.Segment, error) {
	if count == len(l.segments.Load().all) { // whatever state the last one is in
		if err := l.roll(nowMs); err != nil {
			return nil, err
		}
	}
	list := l.segments.Load()
	// The log start offset rises before the files go: a reader gets "out of range", not an error.
	l.raiseStartOffset(list.all[count].BaseOffset())
	l.segments.Store(&segmentList{append([]*segment.Segment(nil), list.all[count:]...)})
	l.clean.uncleanable = false // what is damaged may be gone
	return list.all[:count], nil
}

// deleteFiles deletes the files of segments that takeFirst returned. It needs flushMu only: with an fsync for each segment it would keep appends waiting.
func (l *Log) deleteFiles(nowMs int64, gone []*segment.Segment) error {
	for _, s := range gone {
		// Oldest first and one after the other, also through power loss: else an older segment
		// could come back without the younger one, and the log would have a hole.
		err := s.MarkDeleted()
		if err == nil {
			err = l.dir.shared.fs.SyncDir(l.folder.Path())
		}
		if err != nil {
			return l.failed("deleting a segment of", err)
		}
		l.removeLater(s, nowMs)
	}
	return nil
}

// removeLater has the files of a deleted segment removed after file.delete.delay.ms.
func (l *Log) removeLater(s *segment.Segment, nowMs int64) {
	l.dir.removeLater(removal{s.Remove, s.SizeBytes(), nowMs + l.Config().FileDeleteDelayMs})
	l.dir.metrics.segmentsDeleted.Inc()
}
