package quorum

import (
	"errors"
	"fmt"
	"path/filepath"
	"sort"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/segment"
)

const (
	// tailCacheBytes is how much of the log's end is kept in memory, so that committing what was
	// just written needs no read.
	tailCacheBytes = 4 << 20
	// neverIndexBytes as the index interval keeps the segments' sparse indexes empty: the
	// log has every entry's position in memory, and each flush then syncs one file.
	neverIndexBytes = 1 << 30
	openFiles       = 8
)

// entryInfo locates one entry: the batch of one Raft index.
type entryInfo struct {
	baseOffset int64
	position   int64 // in its segment
	sizeBytes  int32
	epoch      int32
}

// metadataLog is Raft's log on disk. It implements raft.Storage over the entries from index first
// on, where first-1 is the last entry of the oldest snapshot that is kept. Its voter's goroutine
// owns it.
type metadataLog struct {
	fs           vfs.FS
	state        *stateFile
	cache        *segment.FileCache
	dir          *segment.Dir
	segmentBytes int64

	voters *raftpb.ConfState // as of the newest snapshot, then as of the last applied change
	sets   voterSets
	newest snapshotInfo // latest snapshot

	anchor  snapshotInfo // oldest kept snapshot: what precedes entries[0]
	entries []entryInfo  // entries[i] has index anchor.RaftIndex+1+i
	// tail holds the bytes of the last entries; they are never changed once here.
	tail      [][]byte
	tailBytes int
	// bytesSinceSnapshot is the size of the entries after the newest snapshot.
	bytesSinceSnapshot int64

	segments        []*segment.Segment
	nextOffset      int64
	lastTimestampMs int64
	// failure is the first error of a disk operation. What was written then is in doubt, so
	// nothing is written or acknowledged any more until the log is opened again.
	failure error
}

func (l *metadataLog) firstIndex() uint64 { return l.anchor.RaftIndex + 1 }
func (l *metadataLog) lastIndex() uint64  { return l.anchor.RaftIndex + uint64(len(l.entries)) }

func (l *metadataLog) entry(index uint64) *entryInfo {
	return &l.entries[index-l.firstIndex()]
}

// endOffset returns the offset after entry index, which may also be the anchor.
func (l *metadataLog) endOffset(index uint64) int64 {
	switch {
	case index < l.lastIndex():
		return l.entry(index + 1).baseOffset
	default:
		return l.nextOffset
	}
}

// indexOfEnd returns the index of the entry that ends at endOffset.
func (l *metadataLog) indexOfEnd(endOffset int64) (uint64, bool) {
	if endOffset == l.nextOffset {
		return l.lastIndex(), true
	}
	i := sort.Search(len(l.entries), func(i int) bool { return l.entries[i].baseOffset >= endOffset })
	if i == len(l.entries) || l.entries[i].baseOffset != endOffset {
		return 0, false
	}
	return l.anchor.RaftIndex + uint64(i), true
}

// InitialState implements raft.Storage. The commit index need not be the last one: the rest is found
// out by the election.
func (l *metadataLog) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	return &raftpb.HardState{Term: new(l.state.term), Vote: new(l.state.vote), Commit: new(max(l.newest.RaftIndex, l.state.commit))}, l.voters, nil
}

// FirstIndex implements raft.Storage.
func (l *metadataLog) FirstIndex() (uint64, error) { return l.firstIndex(), nil }

// LastIndex implements raft.Storage.
func (l *metadataLog) LastIndex() (uint64, error) { return l.lastIndex(), nil }

// Term implements raft.Storage.
func (l *metadataLog) Term(index uint64) (uint64, error) {
	switch {
	case index < l.anchor.RaftIndex:
		return 0, raft.ErrCompacted
	case index == l.anchor.RaftIndex:
		return uint64(l.anchor.ID.Epoch), nil
	case index > l.lastIndex():
		return 0, raft.ErrUnavailable
	}
	return uint64(l.entry(index).epoch), nil
}

// Entries implements raft.Storage.
func (l *metadataLog) Entries(lo, hi, maxBytes uint64) ([]*raftpb.Entry, error) {
	if lo < l.firstIndex() {
		return nil, raft.ErrCompacted
	}
	if hi > l.lastIndex()+1 {
		return nil, raft.ErrUnavailable
	}
	var entries []*raftpb.Entry
	var size uint64
	for index := lo; index < hi; index++ {
		size += uint64(l.entry(index).sizeBytes)
		if len(entries) > 0 && size > maxBytes {
			break
		}
		data, err := l.read(index)
		if err != nil {
			l.failure = errors.Join(l.failure, err)
			return nil, err
		}
		entry, err := entryOf(index, data)
		if err != nil {
			l.failure = errors.Join(l.failure, err)
			return nil, err
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

// Snapshot implements raft.Storage: it names the newest one, whose file the receiver fetches.
func (l *metadataLog) Snapshot() (*raftpb.Snapshot, error) {
	return &raftpb.Snapshot{Data: encodeSnapshotID(l.newest.ID), Metadata: &raftpb.SnapshotMetadata{
		ConfState: confState(l.newest.Voters), Index: new(l.newest.RaftIndex), Term: new(uint64(l.newest.ID.Epoch))}}, nil
}

func confState(voters []VoterSpec) *raftpb.ConfState {
	state := raftpb.EnsureConfState(nil)
	for _, v := range voters {
		state.Voters = append(state.Voters, PeerID(v.DirectoryID))
	}
	return state
}

func (l *metadataLog) read(index uint64) (record.Batch, error) {
	if fromEnd := l.lastIndex() - index; fromEnd < uint64(len(l.tail)) {
		return l.tail[uint64(len(l.tail))-1-fromEnd], nil
	}
	e := l.entry(index)
	i := sort.Search(len(l.segments), func(i int) bool { return l.segments[i].BaseOffset() > e.baseOffset }) - 1
	s := l.segments[i]
	data := make(record.Batch, e.sizeBytes)
	path := filepath.Join(l.dir.Path(), segment.FileName(s.BaseOffset(), segment.LogSuffix))
	if _, err := s.ReadAt(data, e.position); err != nil {
		return nil, fmt.Errorf("read %s at position %d: %w", path, e.position, err)
	}
	if err := data.CheckCRC(); err != nil {
		return nil, &CorruptLogError{Path: path, Position: e.position, Problem: err.Error()}
	}
	return data, nil
}

// append writes entries with one write and one fsync per segment touched. Entries that conflict
// with it are cut off first, as Raft demands of a follower.
func (l *metadataLog) append(entries []*raftpb.Entry) (err error) {
	if l.failure != nil {
		return l.failure
	}
	defer func() { l.failure = err }()
	if first := entries[0].GetIndex(); first <= l.lastIndex() {
		if err := l.truncate(first); err != nil {
			return err
		}
	}
	for len(entries) > 0 {
		n, err := l.writeGroup(entries)
		if err != nil {
			return err
		}
		entries = entries[n:]
	}
	return l.state.noteDurable(l.nextOffset)
}

// writeGroup writes as many of entries as the active segment takes, at least one.
func (l *metadataLog) writeGroup(entries []*raftpb.Entry) (int, error) {
	active := l.segments[len(l.segments)-1]
	position := active.SizeBytes()
	if size := len(entries[0].GetData()); position > 0 && (position >= l.segmentBytes || !active.FitsBytes(size)) {
		if err := l.roll(); err != nil {
			return 0, err
		}
		active, position = l.segments[len(l.segments)-1], 0
	}
	offset, timestampMs, written := l.nextOffset, l.lastTimestampMs, 0
	infos := make([]entryInfo, 0, len(entries))
	size := 0
	for _, e := range entries {
		size += len(e.GetData())
	}
	group := make([]byte, 0, size+2*record.BatchOverhead)
	for _, e := range entries {
		start := len(group)
		if written > 0 && (position+int64(start) >= l.segmentBytes || !active.FitsBytes(start+len(e.GetData()))) {
			break
		}
		data, err := batchOf(e)
		if err == nil && len(data) == 0 {
			data, err = electionBatch(timestampMs)
		}
		if err != nil {
			return 0, err
		}
		group = append(group, data...)
		batch := record.Batch(group[start:])
		batch.SetBaseOffset(offset)
		batch.SetPartitionLeaderEpoch(int32(e.GetTerm()))
		infos = append(infos, entryInfo{baseOffset: offset, position: position + int64(start), sizeBytes: int32(len(batch)), epoch: int32(e.GetTerm())})
		offset, timestampMs = batch.NextOffset(), batch.MaxTimestamp()
		written++
	}
	if err := active.Append(group); err != nil {
		return 0, err
	}
	if err := active.Flush(); err != nil {
		return 0, err
	}
	for _, info := range infos {
		start := info.position - position
		l.remember(info, group[start:start+int64(info.sizeBytes):start+int64(info.sizeBytes)])
	}
	l.nextOffset, l.lastTimestampMs = offset, timestampMs
	return written, nil
}

// electionBatch is what the empty entry of an election is on disk: every replica makes the same.
func electionBatch(timestampMs int64) (record.Batch, error) {
	b := record.NewBuilder(record.NoProducer(record.CodecNone))
	b.Append(timestampMs, nil, metadata.Encode(&metadata.NoOpRecord{}), nil)
	return b.Build()
}

func (l *metadataLog) remember(info entryInfo, data []byte) {
	l.entries = append(l.entries, info)
	l.bytesSinceSnapshot += int64(info.sizeBytes)
	l.tail = append(l.tail, data)
	l.tailBytes += len(data)
	for l.tailBytes > tailCacheBytes && len(l.tail) > 1 {
		l.tailBytes -= len(l.tail[0])
		l.tail[0] = nil
		l.tail = l.tail[1:]
	}
}

// truncate removes the entries from index on. The durable end is lowered first: it must never
// promise what is gone.
func (l *metadataLog) truncate(index uint64) error {
	if index <= max(l.newest.RaftIndex, l.state.commit) {
		return fmt.Errorf("BUG: asked to cut committed entry %d off the metadata log", index)
	}
	e := *l.entry(index)
	lastTimestampMs := l.newest.LastTimestampMs
	if index > l.firstIndex() {
		previous, err := l.read(index - 1)
		if err != nil {
			return err
		}
		lastTimestampMs = previous.MaxTimestamp()
	}
	if err := l.state.noteDurable(e.baseOffset); err != nil {
		return err
	}
	if err := l.state.sync(); err != nil {
		return err
	}
	for last := len(l.segments) - 1; last > 0 && l.segments[last].BaseOffset() >= e.baseOffset; last-- {
		if err := l.segments[last].Remove(); err != nil {
			return err
		}
		l.segments = l.segments[:last]
		if err := l.fs.SyncDir(l.dir.Path()); err != nil { // each by itself: a power loss may bring it back, behind a gap
			return err
		}
	}
	active := l.segments[len(l.segments)-1]
	if _, err := active.Truncate(e.baseOffset); err != nil {
		return err
	}
	if err := active.Flush(); err != nil {
		return err
	}
	cut := int(l.lastIndex() - index + 1)
	l.entries = l.entries[:len(l.entries)-cut]
	l.tail = l.tail[:max(0, len(l.tail)-cut)]
	l.tailBytes = 0
	for _, data := range l.tail {
		l.tailBytes += len(data)
	}
	l.nextOffset, l.lastTimestampMs = e.baseOffset, lastTimestampMs
	l.countSinceSnapshot()
	return nil
}

// roll begins a new segment at the log's end.
func (l *metadataLog) roll() error {
	active := l.segments[len(l.segments)-1]
	if active.SizeBytes() == 0 {
		return nil
	}
	if err := active.Seal(); err != nil {
		return err
	}
	if err := active.Flush(); err != nil {
		return err
	}
	active.ReleaseFiles()
	next, err := segment.Create(l.dir, l.nextOffset)
	if err != nil {
		return err
	}
	l.segments = append(l.segments, next)
	return nil
}

// startAt makes snapshot the oldest one kept: entries that it contains are forgotten, and
// segments that hold nothing else are removed.
func (l *metadataLog) startAt(snapshot snapshotInfo) error {
	drop := snapshot.RaftIndex - l.anchor.RaftIndex
	l.entries = append([]entryInfo(nil), l.entries[drop:]...)
	l.anchor = snapshot
	if extra := len(l.tail) - len(l.entries); extra > 0 {
		for _, data := range l.tail[:extra] {
			l.tailBytes -= len(data)
		}
		l.tail = l.tail[extra:]
	}
	for len(l.segments) > 1 && l.segments[1].BaseOffset() <= snapshot.ID.EndOffset {
		if err := l.segments[0].Remove(); err != nil {
			return err
		}
		l.segments = l.segments[1:]
	}
	return nil
}

func (l *metadataLog) close() error {
	var errs []error
	if l.failure == nil && len(l.segments) > 0 {
		errs = append(errs, l.segments[len(l.segments)-1].Flush(), l.state.sync())
	}
	l.cache.Close()
	return errors.Join(append(errs, l.state.close())...)
}
