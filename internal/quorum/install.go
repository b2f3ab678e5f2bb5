package quorum

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/storage/segment"
)

// installSuffix marks a snapshot of another node that takes the place of the log. The name is the
// decision: whoever opens the folder completes the rest. Without it, a log that ends before a
// snapshot would be damage.
const installSuffix = ".install"

// receivedSuffix marks one that is still being fetched; the node may write one of its own meanwhile.
const receivedSuffix = ".received" + partSuffix

func encodeSnapshotID(id SnapshotID) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(id.EndOffset))
	return binary.BigEndian.AppendUint32(b, uint32(id.Epoch))
}

func decodeSnapshotID(b []byte) (SnapshotID, error) {
	if len(b) != 12 {
		return SnapshotID{}, fmt.Errorf("a snapshot's id has %d bytes, expected 12", len(b))
	}
	id := SnapshotID{EndOffset: int64(binary.BigEndian.Uint64(b)), Epoch: int32(binary.BigEndian.Uint32(b[8:]))}
	if id.EndOffset < 0 || id.Epoch < 0 {
		return SnapshotID{}, fmt.Errorf("a snapshot's id is %d-%d", id.EndOffset, id.Epoch)
	}
	return id, nil
}

// SnapshotFile reads a snapshot for a node that fetches it, piece by piece. It may be used on any
// goroutine; the file may go while it is read.
type SnapshotFile struct {
	FS     vfs.FS
	LogDir string
}

// ReadAt returns up to maxBytes from position on, and the size of the whole. The error is an
// fs.ErrNotExist where there is a newer snapshot.
func (f SnapshotFile) ReadAt(id SnapshotID, position int64, maxBytes int) (data []byte, sizeBytes int64, err error) {
	file, err := f.FS.Open(filepath.Join(f.LogDir, MetadataFolder, id.FileName()), false)
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	if sizeBytes, err = file.Size(); err != nil || position < 0 || position >= sizeBytes {
		return nil, sizeBytes, err
	}
	data = make([]byte, min(int64(maxBytes), sizeBytes-position))
	if _, err := file.ReadAt(data, position); err != nil {
		return nil, sizeBytes, err
	}
	return data, sizeBytes, nil
}

// ReceivedSnapshot is the file of a snapshot that is being fetched from another node. It may be
// used on any goroutine, one at a time.
type ReceivedSnapshot struct {
	fs       vfs.FS
	dir      string
	id       SnapshotID
	file     vfs.File
	position int64
}

// Receive begins a file for a snapshot. The folder of the metadata log is made where it is missing:
// so a node begins that joins a quorum.
func Receive(fsys vfs.FS, logDir string, id SnapshotID) (*ReceivedSnapshot, error) {
	r := &ReceivedSnapshot{fs: fsys, dir: filepath.Join(logDir, MetadataFolder), id: id}
	if _, err := fsys.Stat(filepath.Join(r.dir, stateFileName)); errors.Is(err, fs.ErrNotExist) {
		if err := createFolder(fsys, logDir, r.dir); err != nil {
			return nil, err
		}
	}
	var err error
	r.file, err = fsys.Create(r.path() + receivedSuffix)
	return r, err
}

func (r *ReceivedSnapshot) path() string { return filepath.Join(r.dir, r.id.FileName()) }

// ID names the snapshot.
func (r *ReceivedSnapshot) ID() SnapshotID { return r.id }

// Position is how much is there.
func (r *ReceivedSnapshot) Position() int64 { return r.position }

// Write adds what follows.
func (r *ReceivedSnapshot) Write(data []byte) error {
	_, err := r.file.WriteAt(data, r.position)
	r.position += int64(len(data))
	return err
}

// Discard gives it up.
func (r *ReceivedSnapshot) Discard() error {
	return errors.Join(r.file.Close(), r.fs.Remove(r.path()+receivedSuffix))
}

// Check makes a file that is complete durable and reads it through; emit gets its metadata records.
// What is not as it was written elsewhere is a *CorruptLogError: Discard it.
func (r *ReceivedSnapshot) Check(emit func(record []byte) error) error {
	if err := r.file.Sync(); err != nil {
		return err
	}
	_, err := readSnapshotFile(r.fs, r.path()+receivedSuffix, r.id, emit)
	return err
}

// Join makes a checked snapshot the beginning of a log where there is none.
func (r *ReceivedSnapshot) Join() error {
	snapshots, segments, err := listLog(r.fs, r.dir)
	if err != nil {
		return err
	}
	if len(snapshots)+len(segments) > 0 {
		return fmt.Errorf("%s has a metadata log already", r.dir)
	}
	return r.accept()
}

// accept decides that the snapshot takes the place of the log: the next Open completes it.
func (r *ReceivedSnapshot) accept() error {
	if err := r.file.Close(); err != nil {
		return err
	}
	if err := r.fs.Rename(r.path()+receivedSuffix, r.path()+installSuffix); err != nil {
		return err
	}
	return r.fs.SyncDir(r.dir)
}

// completeInstall puts a snapshot that was received in the place of the log. It may be interrupted
// anywhere and done again.
func completeInstall(fsys vfs.FS, dir, logDir string) error {
	entries, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var install SnapshotID
	found := false
	for _, e := range entries {
		if stem, ok := strings.CutSuffix(e.Name(), installSuffix); ok {
			if id, ok := parseSnapshotName(stem); ok && (!found || id.EndOffset > install.EndOffset) {
				install, found = id, true
			}
		}
	}
	if !found {
		return nil
	}
	path := filepath.Join(dir, install.FileName())
	for _, e := range entries {
		_, suffix, isSegment := segment.ParseFileName(e.Name())
		_, isSnapshot := parseSnapshotName(strings.TrimSuffix(e.Name(), installSuffix))
		if name := filepath.Join(dir, e.Name()); name != path+installSuffix && (isSnapshot || isSegment && suffix != "") {
			if err := fsys.Remove(name); err != nil {
				return err
			}
		}
	}
	state, err := openStateFile(fsys, dir)
	if err != nil {
		return err
	}
	if uint64(install.Epoch) > state.term { // no log has an epoch above its voter's term
		err = state.write(uint64(install.Epoch), 0, state.commit)
	}
	err = errors.Join(err, state.noteDurable(install.EndOffset), state.sync(), state.close())
	if err != nil {
		return err
	}
	if err := createFirstSegment(fsys, dir, logDir, install.EndOffset); err != nil {
		return err
	}
	if err := fsys.SyncDir(dir); err != nil {
		return err
	}
	if err := fsys.Rename(path+installSuffix, path); err != nil {
		return err
	}
	return fsys.SyncDir(dir)
}

func createFirstSegment(fsys vfs.FS, dir, logDir string, offset int64) error {
	cache := segment.NewFileCache(segment.FileCacheOptions{FS: fsys, MaxOpen: openFiles, LogDir: logDir})
	defer cache.Close()
	first, err := segment.Create(segment.NewDir(dir, segment.DirOptions{FS: fsys, Cache: cache, IndexIntervalBytes: neverIndexBytes}), offset)
	if err != nil {
		return err
	}
	return first.Flush()
}

// SnapshotOffer is a snapshot that the leader wants this node to have, because its log does not go
// back to where this node's ends.
type SnapshotOffer struct {
	ID   SnapshotID
	From uint64 // PeerID of the leader
}

// offerSnapshot takes Raft's message of a snapshot: its file has to be fetched first.
func (v *Voter) offerSnapshot(m *raftpb.Message) error {
	id, err := decodeSnapshotID(m.GetSnapshot().GetData())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMessage, err)
	}
	if m.GetTerm() < v.node.BasicStatus().GetTerm() {
		return v.node.Step(m) // which ignores it
	}
	if !v.Needs(id) {
		last := m.GetSnapshot().GetMetadata()
		if index, ok := v.log.indexOfEnd(id.EndOffset); last.GetIndex() > v.committed && (!ok || last.GetIndex() != index || last.GetTerm() != uint64(id.Epoch)) {
			return fmt.Errorf("%w: snapshot %s is said to end with entry %d of term %d", ErrMessage, id.FileName(), last.GetIndex(), last.GetTerm())
		}
		return v.node.Step(m) // which answers that everything is here
	}
	v.offered = m
	v.offer = &SnapshotOffer{ID: id, From: m.GetFrom()}
	return nil
}

// Needs reports whether a snapshot has something that the log has not. Where the log has it all, what
// follows in the log may have been committed with this voter's help, and must not go.
func (v *Voter) Needs(id SnapshotID) bool {
	if id.EndOffset <= v.log.endOffset(v.committed) {
		return false
	}
	index, ok := v.log.indexOfEnd(id.EndOffset)
	return !ok || v.position(index).Epoch != id.Epoch
}

// Install puts a snapshot that was checked in the place of the log, if it is still needed: the log
// begins anew behind it, as after a restart. What the state machine had is replaced by the snapshot's
// records.
func (v *Voter) Install(r *ReceivedSnapshot) (installed bool, err error) {
	m := v.offered
	v.offered = nil
	if !v.Needs(r.id) {
		return false, r.Discard()
	}
	if err := r.accept(); err != nil {
		return false, err
	}
	if err := v.log.close(); err != nil {
		return false, err
	}
	if err := v.open(); err != nil {
		return false, err
	}
	v.leadershipChanged, v.votersChanged = true, true
	if m == nil || m.GetSnapshot().GetMetadata().GetIndex() > v.committed || m.GetTerm() < v.node.BasicStatus().GetTerm() {
		return true, nil // another one: if there is more to have, the leader will offer it
	}
	return true, v.guard(func() error { return v.node.Step(m) }) // which tells the leader that it is here
}
