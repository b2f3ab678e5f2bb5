package quorum

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/storage/checkpoint"
	"github.com/moldau/moldau/internal/storage/segment"
)

// openLog opens the metadata log below o.LogDir. The first snapshot's final name is what says
// that the quorum was formed: a bootstrap that was interrupted before it is done again.
func openLog(o Options) (*metadataLog, error) {
	dir := filepath.Join(o.LogDir, MetadataFolder)
	if err := completeInstall(o.FS, dir, o.LogDir); err != nil {
		return nil, err
	}
	if err := tidyFolder(o.FS, dir); err != nil {
		return nil, err
	}
	snapshots, segments, err := listLog(o.FS, dir)
	if err != nil {
		return nil, err
	}
	if len(snapshots) == 0 {
		if len(segments) > 0 {
			return nil, errNoSnapshot(dir)
		}
		if err := refuseOrphans(o); err != nil {
			return nil, err
		}
		if len(o.Form) == 0 {
			return nil, ErrNotFormed
		}
		if snapshots, err = bootstrap(o, dir); err != nil {
			return nil, fmt.Errorf("bootstrap the metadata log in %s: %w", dir, err)
		}
	}
	l := &metadataLog{fs: o.FS, segmentBytes: o.SegmentBytes}
	if err := l.loadSnapshots(dir, snapshots, o); err != nil {
		return nil, err
	}
	if l.state, err = openStateFile(o.FS, dir); err != nil {
		return nil, err
	}
	l.cache = segment.NewFileCache(segment.FileCacheOptions{FS: o.FS, MaxOpen: openFiles, LogDir: o.LogDir})
	l.dir = segment.NewDir(dir, segment.DirOptions{FS: o.FS, Cache: l.cache, IndexIntervalBytes: neverIndexBytes})
	if err := l.openSegments(segments, o); err != nil {
		l.failure = err // nothing to flush
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

func errNoSnapshot(dir string) error {
	return &CorruptLogError{Path: dir, Problem: "there are log files but no snapshot, which is written before them"}
}

// tidyFolder removes what an interrupted write left behind.
func tidyFolder(fsys vfs.FS, dir string) error {
	entries, err := fsys.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), partSuffix) || strings.HasSuffix(e.Name(), segment.DeletedSuffix) {
			if err := fsys.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// listLog returns the snapshots and the base offsets of the log files, ascending.
func listLog(fsys vfs.FS, dir string) (snapshots []SnapshotID, segments []int64, err error) {
	entries, err := fsys.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	for _, e := range entries {
		if id, ok := parseSnapshotName(e.Name()); ok {
			snapshots = append(snapshots, id)
		}
		if base, suffix, ok := segment.ParseFileName(e.Name()); ok && suffix == segment.LogSuffix {
			segments = append(segments, base)
		}
	}
	slices.SortFunc(snapshots, func(a, b SnapshotID) int { return cmp.Compare(a.EndOffset, b.EndOffset) })
	slices.Sort(segments)
	return snapshots, segments, nil
}

// refuseOrphans keeps a node whose metadata log was removed from beginning an empty cluster over
// the topics that are still there.
func refuseOrphans(o Options) error {
	entries, err := o.FS.ReadDir(o.LogDir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() || e.Name() == MetadataFolder {
			continue
		}
		partition := filepath.Join(o.LogDir, e.Name(), checkpoint.PartitionMetadataFileName)
		if _, err := o.FS.Stat(partition); err == nil {
			return &CorruptLogError{Path: filepath.Join(o.LogDir, MetadataFolder),
				Problem: fmt.Sprintf("the metadata log is missing, but there are topics, such as %s", e.Name())}
		}
	}
	return nil
}

// bootstrap writes what the voters of a new quorum start from: a snapshot of nothing that names
// them.
func bootstrap(o Options, dir string) ([]SnapshotID, error) {
	if err := createFolder(o.FS, o.LogDir, dir); err != nil {
		return nil, err
	}
	job := SnapshotJob{fs: o.FS, dir: dir, info: snapshotInfo{LastTimestampMs: o.NowMs, Voters: o.Form}}
	if err := job.Write(o.NowMs, func(func([]byte) error) error { return nil }); err != nil {
		return nil, err
	}
	return []SnapshotID{job.info.ID}, nil
}

// createFolder makes the folder of a log and what lies in it besides snapshots and the log itself.
func createFolder(fsys vfs.FS, logDir, dir string) error {
	if err := fsys.MkdirAll(dir); err != nil {
		return err
	}
	if err := fsys.SyncDir(logDir); err != nil {
		return err
	}
	if err := checkpoint.WritePartitionMetadata(fsys, filepath.Join(dir, checkpoint.PartitionMetadataFileName), kafka.MetadataTopicUUID); err != nil {
		return err
	}
	return createStateFile(fsys, dir)
}

func (l *metadataLog) loadSnapshots(dir string, snapshots []SnapshotID, o Options) error {
	kept := snapshots[max(0, len(snapshots)-keptSnapshots):]
	var err error
	if l.newest, err = readSnapshot(l.fs, dir, kept[len(kept)-1], nil); err != nil {
		return err
	}
	l.anchor = l.newest
	if len(kept) > 1 {
		if l.anchor, err = readSnapshot(l.fs, dir, kept[0], nil); err != nil {
			return err
		}
	}
	for _, old := range snapshots[:len(snapshots)-len(kept)] {
		if err := l.fs.Remove(filepath.Join(dir, old.FileName())); err != nil {
			return err
		}
	}
	// One of several may begin like this: from a snapshot of when it voted alone, with a disk that it has lost.
	self, isAlone := o.Self, len(o.Form) == 1
	if only := l.newest.Voters; isAlone && len(only) == 1 && only[0].NodeID == self.NodeID && only[0].DirectoryID != self.DirectoryID {
		return fmt.Errorf("%s belongs to the metadata quorum of %s, but this node is %d with directory id %s: "+
			"the log dir was copied from another node, or its meta.properties was replaced; put the original meta.properties back",
			dir, describeVoters(only), self.NodeID, self.DirectoryID)
	}
	l.voters, l.sets = confState(l.newest.Voters), voterSets{{l.newest.RaftIndex, l.newest.Voters}}
	return nil
}

func describeVoters(voters []VoterSpec) string {
	names := make([]string, len(voters))
	for i, v := range voters {
		names[i] = fmt.Sprintf("node %d with directory id %s", v.NodeID, v.DirectoryID)
	}
	return strings.Join(names, ", ")
}

// openSegments recovers the log files and opens the last one for appends.
func (l *metadataLog) openSegments(bases []int64, o Options) error {
	l.nextOffset, l.lastTimestampMs = l.newest.ID.EndOffset, l.newest.LastTimestampMs
	if len(bases) == 0 {
		if l.newest.ID.EndOffset > 0 || l.state.durableEnd > 0 {
			return &CorruptLogError{Path: l.dir.Path(), Problem: fmt.Sprintf("there are no log files, but the newest snapshot ends at offset %d and the log was written up to offset %d",
				l.newest.ID.EndOffset, l.state.durableEnd)}
		}
		first, err := segment.Create(l.dir, 0)
		if err != nil {
			return err
		}
		l.segments = []*segment.Segment{first}
		return nil
	}
	// Files that end before the oldest snapshot were being removed when the process ended.
	for len(bases) > 1 && bases[1] <= l.anchor.ID.EndOffset {
		if err := l.fs.Remove(filepath.Join(l.dir.Path(), segment.FileName(bases[0], segment.LogSuffix))); err != nil {
			return err
		}
		bases = bases[1:]
	}
	s := logScanner{fs: l.fs, dir: l.dir.Path(), durableEnd: l.state.durableEnd, term: int32(l.state.term), anchor: l.anchor}
	if err := s.scan(bases); err != nil {
		return err
	}
	if s.tornBytes > 0 {
		o.Logger.Warn("cut an incomplete last write off the metadata log; nothing in it was acknowledged",
			"folder", s.dir, "bytes", s.tornBytes, "offset", s.nextOffset)
	}
	l.entries, l.nextOffset, l.lastTimestampMs = s.entries, s.nextOffset, s.lastTimestampMs
	if index, ok := l.indexOfEnd(l.newest.ID.EndOffset); !ok || index != l.newest.RaftIndex {
		return &CorruptLogError{Path: l.dir.Path(), Problem: fmt.Sprintf("the log does not fit snapshot %s: it ends at offset %d",
			l.newest.ID.FileName(), l.nextOffset)}
	}
	if l.state.commit > l.lastIndex() {
		return &CorruptLogError{Path: l.dir.Path(), Problem: fmt.Sprintf("the log ends with entry %d, but entry %d was committed: records are missing at its end", l.lastIndex(), l.state.commit)}
	}
	if epoch, err := l.Term(l.newest.RaftIndex); err != nil || epoch != uint64(l.newest.ID.Epoch) {
		return &CorruptLogError{Path: l.dir.Path(), Problem: fmt.Sprintf("the log has epoch %d where snapshot %s ends", epoch, l.newest.ID.FileName())}
	}
	for _, base := range bases {
		opened, err := segment.Open(l.dir, base)
		if err != nil {
			return err
		}
		l.segments = append(l.segments, opened)
	}
	// The bytes were all checked above; this prepares the last file for appends.
	active := l.segments[len(l.segments)-1]
	if _, err := active.Recover(segment.RecoverOptions{FromOffset: l.nextOffset, RefuseDamageBeforeData: true}); err != nil {
		return err
	}
	// The scanner has synced what a kill left in the page cache only, since it is now part of
	// the log and must not vanish after it has been committed. So must the file's own name.
	if err := l.fs.SyncDir(l.dir.Path()); err != nil {
		return err
	}
	if l.nextOffset > l.state.durableEnd {
		if err := l.state.noteDurable(l.nextOffset); err != nil {
			return err
		}
	}
	l.countSinceSnapshot()
	return nil
}

func (l *metadataLog) countSinceSnapshot() {
	l.bytesSinceSnapshot = 0
	for _, e := range l.entries[l.newest.RaftIndex-l.anchor.RaftIndex:] {
		l.bytesSinceSnapshot += int64(e.sizeBytes)
	}
}

func (l *metadataLog) beginSnapshot(endOffset int64) (*SnapshotJob, error) {
	if endOffset <= l.newest.ID.EndOffset {
		return nil, nil
	}
	index, ok := l.indexOfEnd(endOffset)
	if !ok {
		return nil, fmt.Errorf("BUG: asked for a snapshot that ends at offset %d, where no batch of the metadata log ends", endOffset)
	}
	last, err := l.read(index)
	if err != nil {
		return nil, err
	}
	info := snapshotInfo{ID: SnapshotID{EndOffset: endOffset, Epoch: l.entry(index).epoch}, RaftIndex: index,
		LastTimestampMs: last.MaxTimestamp(), Voters: l.sets.at(index)}
	return &SnapshotJob{fs: l.fs, dir: l.dir.Path(), info: info}, nil
}

// finishSnapshot makes a written snapshot the newest. The log goes on in a new segment, so that
// the old ones can be removed as a whole when the next snapshot is there.
func (l *metadataLog) finishSnapshot(info snapshotInfo) error {
	if l.failure != nil { // the files are what a failed write has left, and a new one would follow nothing
		return l.failure
	}
	oldest := l.anchor
	l.newest, info = info, l.newest
	l.sets = l.sets.from(l.newest.RaftIndex)
	l.countSinceSnapshot()
	if err := l.roll(); err != nil {
		l.failure = err
		return err
	}
	if oldest.ID == info.ID {
		return nil
	}
	if err := l.startAt(info); err != nil {
		return err
	}
	return l.fs.Remove(filepath.Join(l.dir.Path(), oldest.ID.FileName()))
}
