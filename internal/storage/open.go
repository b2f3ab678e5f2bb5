package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/checkpoint"
	"github.com/moldau/moldau/internal/storage/epoch"
	"github.com/moldau/moldau/internal/storage/segment"
)

// knownOffsets is what a log dir's checkpoint files say about one log.
type knownOffsets struct {
	recoveryPoint int64
	highWatermark int64
	startOffset   int64
	cleanedOffset int64
	clean         bool // the last shutdown was: everything is on disk and whole
}

func newLog(d *logDir, tp kafka.TopicPartition, topicID kafka.UUID, config *LogConfig) *Log {
	return newLogAt(d, tp, topicID, tp.String(), config)
}

func newLogAt(d *logDir, tp kafka.TopicPartition, topicID kafka.UUID, folder string, config *LogConfig) *Log {
	l := &Log{tp: tp, dir: d, firstTimestampMs: unknownTimestamp, rollShare: d.shared.randomUint64()}
	l.topicID.Store(&topicID)
	l.folder = segment.NewDir(filepath.Join(d.path, folder), segment.DirOptions{
		FS: d.shared.fs, Cache: d.cache, IndexIntervalBytes: config.IndexIntervalBytes, MaxIndexBytes: config.IndexMaxBytes,
	})
	l.config.Store(config)
	l.epochs.Store(epoch.None)
	l.noted = &l.unstable
	l.unstable.Store(allStable)
	l.commitDueMs.Store(never)
	return l
}

// createLog makes the folder of a new log. It becomes durable with the log's first flush, so
// that the creation of thousands of partitions waits for no disk.
func createLog(d *logDir, tp kafka.TopicIDPartition, config *LogConfig, nowMs int64) (*Log, error) {
	l := newLog(d, tp.TopicPartition, tp.TopicID, config)
	if err := d.shared.fs.MkdirAll(l.folder.Path()); err != nil {
		return nil, l.mayFail("creating the folder of", err)
	}
	if err := l.writeTopicID(tp.TopicID); err != nil {
		return nil, l.mayFail("writing the topic id of", err)
	}
	first, err := segment.Create(l.folder, 0)
	if err != nil {
		return nil, l.mayFail("creating the first segment of", err)
	}
	l.segments.Store(&segmentList{[]*segment.Segment{first}})
	l.startActive(nowMs)
	return l, nil
}

func (l *Log) metadataPath() string {
	return filepath.Join(l.folder.Path(), checkpoint.PartitionMetadataFileName)
}

// writeTopicID writes partition.metadata without an fsync; syncFolder follows.
func (l *Log) writeTopicID(id kafka.UUID) error {
	if err := checkpoint.WritePartitionMetadata(vfs.Unsynced{FS: l.dir.shared.fs}, l.metadataPath(), id); err != nil {
		return err
	}
	l.topicID.Store(&id)
	l.unsyncedFolder = true
	return nil
}

// syncFolder makes the folder and the topic id durable before the recovery point says that
// anything in it is.
func (l *Log) syncFolder() error {
	f, err := l.dir.shared.fs.Open(l.metadataPath(), true)
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil // a folder from before topic ids
	}
	return errors.Join(err, l.dir.shared.fs.SyncDir(l.folder.Path()), l.dir.shared.fs.SyncDir(l.dir.path))
}

// readTopicID returns the topic id, zero if there is none or its file is damaged, as power loss
// before the first flush may leave it: whose records these are the folder's name then says.
func readTopicID(d *logDir, path string, known knownOffsets) (kafka.UUID, error) {
	id, err := checkpoint.ReadPartitionMetadata(d.shared.fs, path)
	if checkpoint.IsMalformed(err) && known.recoveryPoint > 0 {
		slog.Warn("ignored a damaged topic id: the cluster's metadata knows the topic by its name", "path", path, "error", err)
	}
	if errors.Is(err, fs.ErrNotExist) || checkpoint.IsMalformed(err) {
		return kafka.ZeroUUID, nil
	}
	return id, err
}

// openLog opens the folder of an existing log and, after an unclean shutdown, checks and
// repairs what lies past the recovery point.
func openLog(d *logDir, tp kafka.TopicPartition, config *LogConfig, known knownOffsets, nowMs int64) (*Log, error) {
	path := filepath.Join(d.path, tp.String())
	topicID, err := readTopicID(d, filepath.Join(path, checkpoint.PartitionMetadataFileName), known)
	if err != nil {
		return nil, err
	}
	files, err := segment.Tidy(d.shared.fs, path)
	if err != nil {
		return nil, err
	}
	l := newLog(d, tp, topicID, config)
	l.activeSinceMs = nowMs
	l.cleanedOffset.Store(known.cleanedOffset)
	l.unsyncedFolder = known.recoveryPoint == 0
	l.recovered = !known.clean
	l.snapshots.onDisk = files.Snapshots
	if err := l.openSegments(files.Segments, known, nowMs); err != nil {
		return nil, err
	}
	epochs, epochsKnown, err := l.readEpochs()
	if err != nil {
		return nil, err
	}
	if !known.clean {
		if epochs, err = l.recover(known.recoveryPoint, epochs); err != nil {
			return nil, err
		}
	}
	end, err := l.findEnd(known)
	if err != nil {
		return nil, err
	}
	if end < known.startOffset {
		if err := l.startOver(known.startOffset, end, nowMs); err != nil {
			return nil, err
		}
		epochs, end = epoch.None, known.startOffset
	}
	start := max(known.startOffset, l.segments.Load().all[0].BaseOffset())
	l.startOffset.Store(start)
	l.endOffset.Store(end)
	l.highWatermark.Store(min(max(known.highWatermark, start), end))
	l.recoveryPoint.Store(min(known.recoveryPoint, end))
	if known.clean {
		l.recoveryPoint.Store(end)
	}
	l.flushedOffset.Store(l.recoveryPoint.Load())
	l.countedOffset.Store(l.recoveryPoint.Load()) // more when the topic's config is known
	// After a crash the log may begin earlier than it had, with epochs that the file has not any more.
	if !epochsKnown || start < end && epochs.StartOffset() > start {
		if epochs, err = l.epochsOfRecords(); err != nil {
			return nil, err
		}
	}
	l.epochs.Store(epochs.WithoutEnd(end).WithoutStart(start))
	if err := l.rebuildProducers(nowMs, end, !known.clean); err != nil {
		return nil, err
	}
	if l.recoveryPoint.Load() < end || l.epochsChanged {
		l.markDirty(nowMs, 0)
	}
	return l, nil
}

// findEnd returns the log end offset. Where the last batches are damaged the recovery point says
// how far they went: what is appended next must not get offsets that were given out.
func (l *Log) findEnd(known knownOffsets) (int64, error) {
	last := l.segments.Load().last()
	end, damage, err := last.NextOffset()
	if err != nil {
		return 0, err
	}
	doubtful := !l.active // recovery found flushed batches damaged up to the end
	if known.clean {
		doubtful = end != known.recoveryPoint
	}
	if damage == nil && doubtful && known.recoveryPoint > last.BaseOffset() {
		// The header of the last batch may say that it ends too early or too late.
		sound, err := last.SoundEnd()
		if err != nil {
			return 0, err
		}
		if end, damage = sound.Next, sound.Damage; damage == nil && sound.Joined == known.recoveryPoint {
			damage, end = last.Damaged(sound.Last, "its base offset does not follow the batch before it"), sound.Joined
		}
	}
	if damage != nil {
		l.noteDamage(damage)
		end = max(end, known.recoveryPoint)
	}
	if damage != nil && end <= last.BaseOffset() {
		return 0, damage
	}
	return end, nil
}

// noteDamage tells the operator of damage that no crash explains. It is left where it is.
func (l *Log) noteDamage(damage *segment.CorruptionError) {
	if damage == nil {
		return
	}
	l.active = false
	l.suspects.Note(damage)
	l.dir.metrics.damagedBatches.Inc()
	slog.Error("a batch is damaged on disk and not served; consumers can go on behind it: check the disk, and run moldau audit on the data folder when the broker is stopped",
		"partition", l.tp.String(), "path", damage.Path, "position", damage.Position, "cause", damage.Cause)
}

func (l *Log) openSegments(bases []int64, known knownOffsets, nowMs int64) error {
	all := make([]*segment.Segment, 0, max(1, len(bases)))
	for _, base := range bases {
		s, err := segment.Open(l.folder, base)
		if err != nil {
			return err
		}
		all = append(all, s)
	}
	if len(all) == 0 {
		s, err := segment.Create(l.folder, known.startOffset)
		if err != nil {
			return err
		}
		all = append(all, s)
		l.startActive(nowMs)
	}
	l.segments.Store(&segmentList{all})
	return nil
}

// recover checks the segments past the recovery point. At the first damage the log ends: the
// segment is cut there and what follows is removed. Leader epochs that begin past the
// recovery point are taken from the batches, as their file may be older or newer.
func (l *Log) recover(recoveryPoint int64, epochs *epoch.List) (*epoch.List, error) {
	list := l.segments.Load()
	recovered := epoch.Recovery{List: epochs.WithoutEnd(recoveryPoint)}
	// From the last flushed offset on: where that ends a segment, its last index entries, which
	// it got when it was closed, may be missing.
	first := list.indexOf(max(recoveryPoint-1, 0))
	for i := first; i < len(list.all); i++ {
		result, err := list.all[i].Recover(segment.RecoverOptions{
			FromOffset: recoveryPoint, NoHoles: true, HolesBelow: l.cleanedOffset.Load(), OnLoss: l.dir.shared.loss.Note,
			Visit: func(b record.Batch) error {
				recovered.Add(b.PartitionLeaderEpoch(), b.BaseOffset())
				return nil
			},
		})
		if err != nil {
			return nil, err
		}
		if list, err = l.withoutGhosts(list, i, result.NextOffset); err != nil {
			return nil, err
		}
		last := i == len(list.all)-1
		if !result.RottenEnd || !last {
			l.noteDamage(result.Rotten)
		}
		// Power loss may keep a later segment and lose the end of this one. Compaction leaves such
		// holes too, but only below the recovery point (planClean), where nothing can be lost; should
		// that file be damaged, the cleaner offset still tells.
		hole := !last && list.all[i+1].BaseOffset() > max(result.NextOffset, recoveryPoint, l.cleanedOffset.Load())
		l.active = last && !result.RottenEnd
		l.unsyncedFolder = l.unsyncedFolder || result.NextOffset > recoveryPoint
		if result.TruncatedBytes == 0 && !hole {
			if !last {
				if err := list.all[i].Seal(); err != nil {
					return nil, err
				}
			}
			continue
		}
		slog.Warn("cut a damaged or torn end off a log", "partition", l.tp.String(), "dir", l.dir.path, "end_offset", result.NextOffset,
			"bytes", result.TruncatedBytes, "segments_removed", len(list.all)-i-1, "damage", result.Damage)
		l.dir.metrics.truncatedBytes.Add(result.TruncatedBytes)
		if !result.Torn || !last {
			l.dir.shared.loss.Note()
		}
		for _, s := range list.all[i+1:] {
			l.dir.metrics.truncatedBytes.Add(s.SizeBytes())
			if err := s.Remove(); err != nil {
				return nil, err
			}
		}
		// Durable at once: what is appended next may roll, and then no flush looks here again.
		if err := errors.Join(list.all[i].Flush(), l.dir.shared.fs.SyncDir(l.folder.Path())); err != nil {
			return nil, err
		}
		l.active = true
		l.segments.Store(&segmentList{list.all[: i+1 : i+1]})
		break
	}
	l.dir.metrics.logsRecovered.Inc()
	l.epochsChanged = !slices.Equal(recovered.List.All(), epochs.All())
	l.doubtfulEpochs = true
	return recovered.List, nil
}

// withoutGhosts removes the segments behind the i-th that begin below its end: power loss has brought
// them back after they were removed (the i-th had been cut), and what was appended to the i-th since
// is what counts.
func (l *Log) withoutGhosts(list *segmentList, i int, nextOffset int64) (*segmentList, error) {
	ghosts := 0
	for _, s := range list.all[i+1:] {
		if s.BaseOffset() >= nextOffset {
			break
		}
		ghosts++
		slog.Warn("removed a segment that begins before the end of the one before it", "partition", l.tp.String(), "dir", l.dir.path, "base_offset", s.BaseOffset(), "end_offset", nextOffset)
		if err := s.Remove(); err != nil {
			return nil, err
		}
	}
	if ghosts == 0 {
		return list, nil
	}
	if err := l.dir.shared.fs.SyncDir(l.folder.Path()); err != nil {
		return nil, err
	}
	list = &segmentList{slices.Delete(slices.Clone(list.all), i+1, i+1+ghosts)}
	l.segments.Store(list)
	return list, nil
}

// asideSuffix ends the names of files that are no longer part of a log and that nobody has decided
// to delete.
const asideSuffix = ".aside"

// startOver begins the log anew at its log start offset, below which its segments end: files were
// lost or damaged, or the checkpoint file is wrong. What DeleteRecords has hidden must not come
// back, but nobody has decided to destroy the segments: their files are renamed.
func (l *Log) startOver(startOffset, end, nowMs int64) error {
	fsys, folder := l.dir.shared.fs, l.folder.Path()
	slog.Error("set all segments of a log aside: they end below its log start offset; files were lost, or the checkpoint file is wrong", "partition", l.tp.String(),
		"end_offset", end, "log_start_offset", startOffset, "checkpoint", l.dir.logStarts.path, "folder", folder, "suffix", asideSuffix)
	l.dir.shared.loss.Note()
	for _, s := range l.segments.Load().all {
		s.ReleaseFiles()
	}
	s, err := segment.Create(l.folder, startOffset)
	if err != nil {
		return err
	}
	names, err := segment.FileNames(fsys, folder)
	if err != nil {
		return err
	}
	for _, name := range names {
		if base, _, ok := segment.ParseFileName(name); !ok || base >= startOffset {
			continue
		}
		if err := fsys.Rename(filepath.Join(folder, name), filepath.Join(folder, name+asideSuffix)); err != nil {
			return err
		}
	}
	if err := fsys.SyncDir(folder); err != nil {
		return err
	}
	l.snapshots.onDisk = slices.DeleteFunc(l.snapshots.onDisk, func(offset int64) bool { return offset < startOffset })
	l.segments.Store(&segmentList{[]*segment.Segment{s}})
	l.startActive(nowMs)
	l.epochsChanged = true
	return nil
}

// readEpochs reads the leader epochs; known is false if the file is damaged.
func (l *Log) readEpochs() (epochs *epoch.List, known bool, err error) {
	path := filepath.Join(l.folder.Path(), checkpoint.LeaderEpochFileName)
	all, err := checkpoint.ReadLeaderEpochs(l.dir.shared.fs, path)
	if checkpoint.IsMalformed(err) {
		slog.Warn("rebuilding the leader epochs from the records: their file is damaged", "path", path, "error", err)
		return epoch.None, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read %s: %w", path, err)
	}
	return epoch.New(all), true, nil
}

// epochsOfRecords walks all sound batches for their leader epochs.
func (l *Log) epochsOfRecords() (*epoch.List, error) {
	epochs := epoch.Recovery{List: epoch.None}
	for _, s := range l.segments.Load().all {
		if err := s.ScanSound(func(at segment.BatchPosition) { epochs.Add(at.LeaderEpoch, at.BaseOffset) }); err != nil {
			return nil, err
		}
	}
	l.epochsChanged, l.doubtfulEpochs = true, true
	return epochs.List, nil
}
