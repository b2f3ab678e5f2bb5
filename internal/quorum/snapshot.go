package quorum

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/record"
)

const (
	snapshotSuffix = ".checkpoint"
	// partSuffix marks a snapshot that is being written.
	partSuffix = ".part"
	// snapshotBatchBytes is where a snapshot's batches are cut.
	snapshotBatchBytes = 64 << 10
	// snapshotWriteBytes is how much of a snapshot is gathered for one write.
	snapshotWriteBytes = 1 << 20
	// keptSnapshots are kept with the log from the oldest on, so that a voter or observer that
	// lags a little needs the log only.
	keptSnapshots = 2
)

// KRaftVersion is the finalized kraft.version: 1 keeps the voters in the log (KIP-853).
const KRaftVersion int16 = 1

// tagRaftIndex is the tagged field of a SnapshotHeader that carries Raft's index; Kafka skips it.
const tagRaftIndex = 10000

// FileName returns the snapshot's file name.
func (id SnapshotID) FileName() string {
	return fmt.Sprintf("%020d-%010d%s", id.EndOffset, id.Epoch, snapshotSuffix)
}

// parseSnapshotName is FileName's inverse.
func parseSnapshotName(name string) (SnapshotID, bool) {
	stem, ok := strings.CutSuffix(name, snapshotSuffix)
	if !ok || len(stem) != 31 || stem[20] != '-' {
		return SnapshotID{}, false
	}
	end, err := strconv.ParseInt(stem[:20], 10, 64)
	if err != nil || end < 0 {
		return SnapshotID{}, false
	}
	epoch, err := strconv.ParseInt(stem[21:], 10, 32)
	if err != nil || epoch < 0 {
		return SnapshotID{}, false
	}
	return SnapshotID{EndOffset: end, Epoch: int32(epoch)}, true
}

// snapshotInfo is what a snapshot says besides its metadata records.
type snapshotInfo struct {
	ID              SnapshotID
	RaftIndex       uint64 // of the last entry it contains
	LastTimestampMs int64  // of that entry's batch
	Voters          []VoterSpec
}

// SnapshotJob is a snapshot to be written. Its Write may run on any goroutine.
type SnapshotJob struct {
	fs   vfs.FS
	dir  string
	info snapshotInfo
}

// ID names the snapshot.
func (j *SnapshotJob) ID() SnapshotID { return j.info.ID }

// Write writes the snapshot with the records that writeTo emits, and makes it durable. The file
// has its final name only once it is complete.
func (j *SnapshotJob) Write(nowMs int64, writeTo func(emit func(record []byte) error) error) (err error) {
	name := filepath.Join(j.dir, j.info.ID.FileName())
	file, err := j.fs.Create(name + partSuffix)
	if err != nil {
		return err
	}
	w := snapshotWriter{file: file, epoch: j.info.ID.Epoch, nowMs: nowMs}
	err = w.writeAll(j.info, writeTo)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write snapshot %s: %w", name, err), j.fs.Remove(name+partSuffix))
	}
	if err := j.fs.Rename(name+partSuffix, name); err != nil {
		return err
	}
	return j.fs.SyncDir(j.dir)
}

// snapshotWriter gathers records into batches and batches into writes.
type snapshotWriter struct {
	file     vfs.File
	epoch    int32
	nowMs    int64
	position int64
	offset   int64
	buffer   []byte
	open     *record.Builder
}

func (w *snapshotWriter) writeAll(info snapshotInfo, writeTo func(emit func(record []byte) error) error) error {
	header := w.builder(true)
	for _, r := range []struct {
		kind  record.ControlKind
		value []byte
	}{
		{record.ControlSnapshotHeader, encodeSnapshotHeader(info)},
		{record.ControlKRaftVersion, record.KRaftVersion{KRaftVersion: KRaftVersion}.Encode()},
		{record.ControlKRaftVoters, votersRecord(info.Voters).Encode()},
	} {
		header.Append(w.nowMs, record.ControlKey(r.kind), r.value, nil)
	}
	if err := w.put(header); err != nil {
		return err
	}
	if err := writeTo(w.emit); err != nil {
		return err
	}
	if err := w.cut(); err != nil {
		return err
	}
	footer := w.builder(true)
	footer.Append(w.nowMs, record.ControlKey(record.ControlSnapshotFooter), record.SnapshotFooter{}.Encode(), nil)
	if err := w.put(footer); err != nil {
		return err
	}
	if err := w.flush(); err != nil {
		return err
	}
	return w.file.Sync()
}

func (w *snapshotWriter) builder(control bool) *record.Builder {
	o := record.NoProducer(record.CodecNone)
	o.BaseOffset, o.LeaderEpoch, o.Control = w.offset, w.epoch, control
	return record.NewBuilder(o)
}

func (w *snapshotWriter) emit(data []byte) error {
	if w.open == nil {
		w.open = w.builder(false)
	}
	w.open.Append(w.nowMs, nil, data, nil)
	if w.open.UncompressedBytes() < snapshotBatchBytes {
		return nil
	}
	return w.cut()
}

func (w *snapshotWriter) cut() error {
	if w.open == nil {
		return nil
	}
	b := w.open
	w.open = nil
	return w.put(b)
}

func (w *snapshotWriter) put(b *record.Builder) error {
	batch, err := b.Build()
	if err != nil {
		return err
	}
	w.offset = batch.NextOffset()
	w.buffer = append(w.buffer, batch...)
	if len(w.buffer) < snapshotWriteBytes {
		return nil
	}
	return w.flush()
}

func (w *snapshotWriter) flush() error {
	_, err := w.file.WriteAt(w.buffer, w.position)
	w.position += int64(len(w.buffer))
	w.buffer = w.buffer[:0]
	return err
}

// encodeSnapshotHeader is record.SnapshotHeader with the Raft index in a tagged field.
func encodeSnapshotHeader(info snapshotInfo) []byte {
	b := record.SnapshotHeader{LastContainedLogTimestamp: info.LastTimestampMs}.Encode()
	b = binary.AppendUvarint(b[:len(b)-1], 1)
	b = binary.AppendUvarint(b, tagRaftIndex)
	b = binary.AppendUvarint(b, 8)
	return binary.BigEndian.AppendUint64(b, info.RaftIndex)
}

// raftIndexOf reads back the tagged field that encodeSnapshotHeader writes last.
func raftIndexOf(header []byte) (uint64, bool) {
	const tagsAt = 10 // version and timestamp
	if len(header) < tagsAt {
		return 0, false
	}
	rest := header[tagsAt:]
	for _, want := range []uint64{1, tagRaftIndex, 8} {
		got, n := binary.Uvarint(rest)
		if n <= 0 || got != want {
			return 0, false
		}
		rest = rest[n:]
	}
	if len(rest) != 8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(rest), true
}

func votersRecord(voters []VoterSpec) record.KRaftVoters {
	var m record.KRaftVoters
	for _, v := range voters {
		voter := record.KRaftVoter{ID: v.NodeID, DirectoryID: v.DirectoryID, MaxVersion: KRaftVersion}
		for _, l := range v.Listeners {
			voter.Endpoints = append(voter.Endpoints, record.KRaftEndpoint{Listener: l.Name, Host: l.Host, Port: l.Port})
		}
		m.Voters = append(m.Voters, voter)
	}
	return m
}

func voterSpecs(m record.KRaftVoters) []VoterSpec {
	var voters []VoterSpec
	for _, v := range m.Voters {
		voter := VoterSpec{NodeID: v.ID, DirectoryID: v.DirectoryID}
		for _, e := range v.Endpoints {
			voter.Listeners = append(voter.Listeners, VoterListener{Name: e.Listener, Host: e.Host, Port: e.Port})
		}
		voters = append(voters, voter)
	}
	return voters
}

// readSnapshot reads and checks a snapshot. emit gets its metadata records; nil skips them, and
// then only the control records at the front are read.
func readSnapshot(fsys vfs.FS, dir string, id SnapshotID, emit func(data []byte) error) (snapshotInfo, error) {
	return readSnapshotFile(fsys, filepath.Join(dir, id.FileName()), id, emit)
}

func readSnapshotFile(fsys vfs.FS, path string, id SnapshotID, emit func(data []byte) error) (snapshotInfo, error) {
	file, err := fsys.Open(path, false)
	if err != nil {
		return snapshotInfo{}, err
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		return snapshotInfo{}, err
	}
	r := snapshotReader{window: window{file: file, sizeBytes: size}, info: snapshotInfo{ID: id}, emit: emit}
	for r.position < size && !(emit == nil && r.hasHeader) {
		if err := r.step(); err != nil {
			if errors.Is(err, errStopped) {
				return r.info, err
			}
			return r.info, &CorruptLogError{Path: path, Position: r.position, Problem: err.Error()}
		}
	}
	switch {
	case !r.hasHeader:
		return r.info, &CorruptLogError{Path: path, Problem: "the snapshot has no header"}
	case emit != nil && !r.hasFooter:
		return r.info, &CorruptLogError{Path: path, Position: size, Problem: "the snapshot has no footer: its end is missing"}
	}
	return r.info, nil
}

// errStopped wraps an error of the reader's consumer.
var errStopped = errors.New("reading the snapshot was stopped")

type snapshotReader struct {
	window    window
	info      snapshotInfo
	emit      func([]byte) error
	position  int64
	offset    int64
	hasHeader bool
	hasFooter bool
}

func (r *snapshotReader) step() error {
	data, err := r.window.at(r.position, record.BatchOverhead)
	if err != nil {
		return err
	}
	if len(data) < record.BatchOverhead {
		return io.ErrUnexpectedEOF
	}
	size, err := record.SizeOf(data)
	if err != nil {
		return err
	}
	if data, err = r.window.at(r.position, size); err != nil {
		return err
	}
	b, _, err := record.Next(data)
	if err != nil {
		return err
	}
	if err := b.CheckCRC(); err != nil {
		return err
	}
	switch {
	case b.BaseOffset() != r.offset || b.Count() < 1 || b.LastOffsetDelta() != b.Count()-1:
		return fmt.Errorf("a batch of %d records and last offset delta %d has base offset %d, expected %d", b.Count(), b.LastOffsetDelta(), b.BaseOffset(), r.offset)
	case b.PartitionLeaderEpoch() != r.info.ID.Epoch:
		return fmt.Errorf("a batch has epoch %d, the snapshot's name says %d", b.PartitionLeaderEpoch(), r.info.ID.Epoch)
	case r.hasFooter:
		return errors.New("there are records behind the footer")
	case !r.hasHeader && !b.IsControl():
		return errors.New("the snapshot does not begin with a header")
	}
	for rec, err := range b.Records(math.MaxInt32) {
		if err != nil {
			return err
		}
		if b.IsControl() {
			err = r.control(rec)
		} else if r.emit != nil {
			if err = r.emit(append([]byte(nil), rec.Value...)); err != nil {
				err = fmt.Errorf("%w: %w", errStopped, err)
			}
		}
		if err != nil {
			return err
		}
	}
	r.offset = b.NextOffset()
	r.position += int64(size)
	return nil
}

func (r *snapshotReader) control(rec record.Record) error {
	kind, err := record.ParseControlKey(rec.Key)
	if err != nil {
		return err
	}
	switch kind {
	case record.ControlSnapshotHeader:
		h, err := record.ParseSnapshotHeader(rec.Value)
		if err != nil {
			return err
		}
		index, ok := raftIndexOf(rec.Value)
		if !ok {
			return errors.New("the snapshot header has no Raft index: another program wrote it")
		}
		r.info.LastTimestampMs, r.info.RaftIndex, r.hasHeader = h.LastContainedLogTimestamp, index, true
	case record.ControlKRaftVersion:
		v, err := record.ParseKRaftVersion(rec.Value)
		if err != nil {
			return err
		}
		if v.KRaftVersion != KRaftVersion {
			return fmt.Errorf("kraft.version is %d; this release knows %d", v.KRaftVersion, KRaftVersion)
		}
	case record.ControlKRaftVoters:
		m, err := record.ParseKRaftVoters(rec.Value)
		if err != nil {
			return err
		}
		r.info.Voters = voterSpecs(m)
	case record.ControlSnapshotFooter:
		r.hasFooter = true
	}
	return nil
}
