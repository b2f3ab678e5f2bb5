package storage

import (
	"fmt"
	"slices"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/segment"
)

// missing says why nothing was found at offset, which is below the log end offset: damage in the
// segment that should have it, or, where none is found, records that are not there.
func (l *Log) missing(list *segmentList, offset int64) error {
	s := list.all[list.indexOf(offset)]
	if !s.Acquire() {
		return errOvertaken
	}
	defer s.Release()
	if _, _, err := s.LookupSound(offset); err != nil {
		return err
	}
	return &segment.CorruptionError{Path: s.Path(), Position: s.SizeBytes(), Cause: fmt.Errorf("there is no batch with offset %d, and the log ends at %d", offset, l.endOffset.Load())}
}

// reachesTooFar says what is wrong with a batch that ends at or above upTo: nothing, unless it also
// ends behind the offsets that its segment can have. No checksum covers its base offset.
func (l *Log) reachesTooFar(list *segmentList, s *segment.Segment, at segment.BatchPosition) error {
	end := list.endOf(list.indexOf(s.BaseOffset()), l.endOffset.Load())
	if at.LastOffset < end {
		return nil
	}
	l.mu.Lock() // an append is visible in its segment before the log's end says so
	end = list.endOf(list.indexOf(s.BaseOffset()), l.endOffset.Load())
	l.mu.Unlock()
	if at.LastOffset < end {
		return nil
	}
	cause := &record.CorruptError{Field: "last offset", Expected: end - 1, Got: at.LastOffset}
	return &segment.CorruptionError{Path: s.Path(), Position: at.Position, Cause: cause}
}

// OnDamage has met called, without locks of the caller's, when damage is met that FirstDamage finds; at once if it was before.
func (l *Log) OnDamage(met func()) { l.suspects.Watch(met) }

// FirstDamage returns the first damaged place above the log start offset in the segments in which damage was met,
// ok is false if there is none. It reads them.
func (l *Log) FirstDamage() (d segment.Damage, ok bool, err error) {
	for base, some := l.suspects.First(); some; base, some = l.suspects.First() {
		list := l.segments.Load()
		s := list.all[list.indexOf(base)]
		if s.BaseOffset() != base || !s.Acquire() {
			if s.BaseOffset() != base || l.segments.Load() == list {
				l.suspects.Clear(base) // deleted, or replaced by compaction, which copies nothing that is not right
			}
			continue
		}
		l.mu.Lock() // an append is visible in its segment before the log's end says so
		in := segment.Bounds{SizeBytes: s.SizeBytes(), Above: l.startOffset.Load(), EndOffset: list.endOf(list.indexOf(base), l.endOffset.Load())}
		l.mu.Unlock()
		d, ok, err = l.suspects.FirstDamage(s, in)
		s.Release()
		switch {
		case l.isOvertaken(list, err):
			continue
		case err != nil:
			return d, false, l.mayFail("looking for damage in", err)
		case ok:
			return d, true, nil
		}
		l.suspects.Clear(base)
	}
	return d, false, nil
}

// Mend puts what another replica has in the place of what is damaged here, and reports whether it fits exactly. The same
// offset in the same leader epoch is the same record in all replicas, so only batches of the epochs that
// this log has at their offsets do.
func (l *Log) Mend(d segment.Damage, records []byte) (bool, error) {
	for rest := records; len(rest) > 0; {
		b, behind, err := record.Next(rest)
		if err != nil { // cut off
			records = records[:len(records)-len(rest)]
			break
		}
		if epoch := l.epochs.Load().At(b.BaseOffset()); epoch != b.PartitionLeaderEpoch() && epoch != kafka.NoLeaderEpoch {
			return false, nil
		}
		rest = behind
	}
	l.flushMu.Lock() // against truncation, retention and replacement
	defer l.flushMu.Unlock()
	if err := l.usable(); err != nil || !slices.ContainsFunc(l.segments.Load().all, d.IsIn) {
		return false, err
	}
	fits, err := d.Patch(records)
	if err != nil {
		return false, l.mayFail("mending", err)
	}
	if fits {
		l.mu.Lock()
		l.clean.uncleanable, l.clean.retryAtMs = false, 0
		l.mu.Unlock()
	}
	return fits, nil
}
