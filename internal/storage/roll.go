package storage

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/segment"
)

// activeFor makes the last segment ready to take the batches, rolling if they do not belong
// into it any more.
func (l *Log) activeFor(nowMs int64, p preparedAppend, lastOffset int64, config *LogConfig) error {
	err := l.activate()
	if _, damaged := errors.AsType[*segment.CorruptionError](err); damaged {
		return l.roll(nowMs) // appends go on behind the damage
	}
	if err != nil {
		return err
	}
	roll, err := l.shouldRoll(nowMs, p, lastOffset, config)
	if err != nil || !roll {
		return err
	}
	return l.roll(nowMs)
}

func (l *Log) activate() error {
	if l.active {
		return nil
	}
	last := l.segments.Load().last()
	if err := last.Activate(); err != nil {
		return l.mayFail("opening for appends", err)
	}
	if next, _, err := last.NextOffset(); err == nil && next != l.endOffset.Load() {
		cause := &record.CorruptError{Field: "end offset", Expected: l.endOffset.Load(), Got: next}
		return &segment.CorruptionError{Path: last.Path(), Position: last.SizeBytes(), Cause: cause}
	}
	l.active = true
	return nil
}

// shouldRoll applies segment.bytes, segment.ms and segment.index.bytes. Time runs from the
// first batch's timestamp to that of the batches, or from the segment's creation where they
// have none, as in Kafka.
func (l *Log) shouldRoll(nowMs int64, p preparedAppend, lastOffset int64, config *LogConfig) (bool, error) {
	active := l.segments.Load().last()
	size := active.SizeBytes()
	if size == 0 {
		return false, nil
	}
	if size > config.SegmentBytes-int64(len(p.records)) || !active.FitsBytes(len(p.records)) || !active.FitsOffset(lastOffset) || active.IndexesFull() {
		return true, nil
	}
	if l.firstTimestampMs == unknownTimestamp {
		first, err := active.FirstTimestamp()
		if _, damaged := errors.AsType[*segment.CorruptionError](err); damaged {
			first, err = kafka.NoTimestamp, nil // time runs from when the segment was opened
		}
		if err != nil {
			return false, l.mayFail("reading the first timestamp of", err)
		}
		l.firstTimestampMs = first
	}
	waitedMs := nowMs - l.activeSinceMs
	if l.firstTimestampMs >= 0 {
		waitedMs = p.maxTimestampMs - l.firstTimestampMs
	}
	segmentMs := config.SegmentMs
	if config.Compact { // only what is rolled can be compacted in time
		segmentMs = min(segmentMs, config.MaxCompactionLagMs)
	}
	return waitedMs > segmentMs-l.rollJitterMs(config), nil
}

// rollJitterMs is the active segment's part of segment.jitter.ms. What is drawn for a segment is a
// share, so that a change of the config counts for it, too.
func (l *Log) rollJitterMs(config *LogConfig) int64 {
	jitter := min(config.SegmentJitterMs, config.SegmentMs)
	if jitter <= 0 {
		return 0
	}
	return int64(l.rollShare % uint64(jitter))
}

// roll makes a new active segment that begins at the log end offset.
func (l *Log) roll(nowMs int64) error {
	list, base := l.segments.Load(), l.endOffset.Load()
	next, err := segment.Create(l.folder, base)
	switch {
	case errors.Is(err, segment.ErrFailed):
		return l.failed(fmt.Sprintf("creating the segment %d of", base), err)
	case err != nil:
		return l.mayFail(fmt.Sprintf("creating the segment %d of", base), err)
	}
	if err := list.last().Seal(); err != nil {
		return l.failed("closing a segment of", err)
	}
	all := make([]*segment.Segment, len(list.all), len(list.all)+1)
	copy(all, list.all)
	l.segments.Store(&segmentList{append(all, next)})
	l.startActive(nowMs)
	l.snapshots.takeAt(base, &l.producers)
	l.dir.metrics.segmentsRolled.Inc()
	slog.Debug("rolled a segment", "partition", l.tp.String(), "base_offset", base)
	return nil
}

// startActive notes that an empty segment became the active one.
func (l *Log) startActive(nowMs int64) {
	l.active = true
	l.firstTimestampMs = kafka.NoTimestamp
	l.activeSinceMs = nowMs
	l.rollShare = l.dir.shared.randomUint64()
}
