package storage

import (
	"errors"
	"io/fs"
	"log/slog"
	"slices"
	"sync/atomic"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/producerstate"
	"github.com/moldau/moldau/internal/storage/segment"
)

// errReplayed ends a replay at the offset it was asked to reach.
var errReplayed = errors.New("replayed")

// rebuildProducers makes the producer state that of endOffset: the newest usable snapshot at
// or below it, and the batches from there on. It needs mu, or a log nobody else knows yet.
//
// The transaction index gets the aborted transactions that the replay comes by. After an unclean
// shutdown what it says of them before is not trusted; what lies below the snapshot was flushed
// with it.
func (l *Log) rebuildProducers(nowMs, endOffset int64, unclean bool) error {
	hadSnapshots := len(l.snapshots.onDisk) > 0
	l.snapshots.pending = nil
	l.producers.Reset()
	from := l.startOffset.Load()
	if !hadSnapshots {
		// Every flush with producers writes a snapshot: there were none at the recovery point.
		from = max(from, l.recoveryPoint.Load())
	}
	var unusable []int64 // of records that were truncated, or damaged
	for n := len(l.snapshots.onDisk); n > 0; n = len(l.snapshots.onDisk) {
		offset := l.snapshots.onDisk[n-1]
		if offset <= endOffset {
			loaded, err := l.loadSnapshot(offset, nowMs)
			if err != nil {
				return err
			}
			if loaded {
				// Also below the log start offset: a marker there ends a transaction that the snapshot has.
				from = offset
				l.producers.ForgetTransactionsBelow(l.startedOverAt(offset))
				break
			}
		}
		unusable = append(unusable, offset)
		l.snapshots.onDisk = l.snapshots.onDisk[:n-1]
	}
	if unclean {
		list := l.segments.Load()
		for _, s := range list.all[list.indexOf(from):] {
			if err := l.cutAborted(s, from); err != nil {
				return err
			}
		}
	}
	var rebuilt atomic.Pointer[unstable] // readers would take for stable what the replay has not come by yet
	rebuilt.Store(allStable)
	l.noted = &rebuilt
	defer func() { l.noted = &l.unstable }()
	replay := producerReplay{log: l, producers: &l.producers, ended: l.noteEnded}
	if err := replay.run(from, endOffset); err != nil {
		return err
	}
	l.producers.Expire(nowMs, l.dir.shared.producerExpirationMs.Load())
	l.noteOpenTransaction()
	l.unstable.Store(rebuilt.Load())
	if len(unusable) > 0 {
		return l.replaceSnapshots(unusable, endOffset)
	}
	return nil
}

// startedOverAt is where the log begins if it lost what lies between a snapshot's offset and there,
// else 0: retention leaves no such gap (producersNeed).
func (l *Log) startedOverAt(snapshotOffset int64) int64 {
	if base := l.segments.Load().all[0].BaseOffset(); snapshotOffset < base {
		return base
	}
	return 0
}

// replaceSnapshots writes a snapshot at endOffset, then removes the unusable ones. In this
// order there is always one (see above), and power loss cannot bring back the snapshot of
// records that others have replaced.
func (l *Log) replaceSnapshots(unusable []int64, endOffset int64) error {
	fsys, folder := l.dir.shared.fs, l.folder.Path()
	if err := vfs.WriteFileAtomic(fsys, snapshotPath(folder, endOffset), l.producers.EncodeSnapshot()); err != nil {
		return err
	}
	if i, found := slices.BinarySearch(l.snapshots.onDisk, endOffset); !found {
		l.snapshots.onDisk = slices.Insert(l.snapshots.onDisk, i, endOffset)
	}
	for _, offset := range unusable {
		if offset == endOffset {
			continue // was damaged and has just been replaced
		}
		if err := fsys.Remove(snapshotPath(folder, offset)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return fsys.SyncDir(folder)
}

// loadSnapshot reports false for a damaged file, which an older one and more replay replace.
func (l *Log) loadSnapshot(offset, nowMs int64) (bool, error) {
	path := snapshotPath(l.folder.Path(), offset)
	data, err := vfs.ReadFile(l.dir.shared.fs, path, maxSnapshotBytes)
	if err != nil {
		return false, err
	}
	err = l.producers.LoadSnapshot(data, nowMs, l.dir.shared.producerExpirationMs.Load())
	if damage, ok := errors.AsType[*producerstate.SnapshotError](err); ok {
		slog.Warn("ignored a damaged producer snapshot", "path", path, "error", damage)
		return false, nil
	}
	return err == nil, err
}

// producerReplay applies what the log has to a producer state.
type producerReplay struct {
	log       *Log
	producers *producerstate.Manager
	// ended is told of every transaction that a marker ended.
	ended func(s *segment.Segment, e endedTransaction) error
}

func (p *producerReplay) run(from, endOffset int64) error {
	if from >= endOffset {
		return nil
	}
	list := p.log.segments.Load()
	for _, s := range list.all[list.indexOf(from):] {
		at, found, err := s.Lookup(from)
		if _, damaged := errors.AsType[*segment.CorruptionError](err); damaged {
			at, found, err = segment.BatchPosition{}, true, nil
		}
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		err = s.ScanPastDamage(at.Position, func(at segment.BatchPosition, b record.Batch) error {
			if at.BaseOffset >= endOffset {
				return errReplayed
			}
			if at.LastOffset < from || !b.HasProducerID() {
				return nil
			}
			return p.apply(s, b)
		})
		if errors.Is(err, errReplayed) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *producerReplay) apply(s *segment.Segment, b record.Batch) error {
	if !b.IsControl() {
		p.producers.Apply(writeOf(b))
		return nil
	}
	ended, ok := applyMarker(p.producers, b)
	if !ok {
		return nil
	}
	return p.ended(s, ended)
}
