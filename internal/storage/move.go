package storage

import (
	"errors"
	"log/slog"
	"math"
	"path/filepath"
	"sync"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage/folders"
	"github.com/moldau/moldau/internal/storage/segment"
)

// A log moves to another log dir of this broker while it is in use (KIP-113): a future log there (folder <topic>-<partition>.<unique>-future) gets all batches; when
// it has nearly all, appends are held up, it gets the rest, is made durable, and takes the log's place.
//
// The folders cannot be exchanged in one step, so the order is: the target's checkpoint files; the file move-complete in the future folder; the old folder becomes
// -delete; the future folder gets its name. A start that finds a future folder beside a live log begins the move again; one that finds it alone and complete takes
// it for the log.

// ErrMoved says that a log is now in another log dir, under another Log.
var ErrMoved = kafka.Errorf(kafka.ErrNotLeaderOrFollower, "the log was moved to another log dir")

// errMoveEnded says that a move was cancelled or has ended already.
var errMoveEnded = errors.New("the move was cancelled")

// errMoveOvertaken says that the log was cut off, so that what was copied may not be in it any more.
var errMoveOvertaken = errors.New("the log was truncated during its move")

// moveCompleteFile marks a future folder that has everything.
const moveCompleteFile = "move-complete"

// moveChunkBytes is how much is copied at a time, unless a batch is larger.
const moveChunkBytes = 1 << 20

// moves are the moves that are wanted or under way, one per partition.
type moves struct {
	mu  sync.Mutex // taken last
	all map[kafka.TopicPartition]*Move
	// preferred are log dirs for partitions that do not exist here yet, at most maxPreferred.
	preferred map[kafka.TopicPartition]*logDir
}

const maxPreferred = 10_000

// Move is one replica on its way to another log dir. The goroutine that drives the moves calls Copy until it has caught up, then Finish.
type Move struct {
	manager *Manager
	log     *Log
	target  *logDir
	// folder of the future log; it is there from the beginning, so that a start knows of the move.
	folder string

	// The manager's moves.mu guards the rest.
	future      *Log // nil before the first Copy
	paused      bool // the compaction of log is
	truncations int  // of log until then; only the driver asks
	ended       bool
}

// Log is what is moved.
func (v *Move) Log() *Log { return v.log }

// Move has the log of tp moved to the log dir at the absolute path dir. A move elsewhere is cancelled; to the log dir where the log is, that is all. For a partition
// that is not here the log dir is remembered for its creation, and the error is REPLICA_NOT_AVAILABLE.
func (m *Manager) Move(tp kafka.TopicPartition, dir string) error {
	if err := m.CheckDir(dir); err != nil {
		return err
	}
	target := m.dirAt(dir)
	m.changing.Lock()
	defer m.changing.Unlock()
	l := m.Log(tp)
	if l == nil {
		return m.prefer(tp, target)
	}
	if err := l.usable(); err != nil {
		return err
	}
	m.moves.mu.Lock()
	running := m.moves.all[tp]
	m.moves.mu.Unlock()
	if running != nil && running.target != target {
		m.endMove(running, true)
		running = nil
	}
	switch {
	case l.dir == target || running != nil:
		return nil
	case len(m.OfflineDirs()) > 0: // as in Kafka: another future log may be there
		return kafka.Errorf(kafka.ErrKafkaStorageError, "%s cannot be moved while a log dir is offline", tp)
	}
	if err := m.want(l, target); err != nil {
		return err
	}
	slog.Info("moving a log to another log dir", "partition", tp.String(), "from", l.dir.path, "to", target.path)
	return nil
}

// want notes a move, on disk too.
func (m *Manager) want(l *Log, target *logDir) error {
	m.shared.randomMu.Lock()
	folder := folders.Retired(l.tp, folders.FutureSuffix, m.shared.random)
	m.shared.randomMu.Unlock()
	if err := target.checked(m.shared.fs.MkdirAll(filepath.Join(target.path, folder))); err != nil {
		return l.storageError("creating the future log of", err)
	}
	m.moves.mu.Lock()
	defer m.moves.mu.Unlock()
	m.moves.all[l.tp] = &Move{manager: m, log: l, target: target, folder: folder}
	return nil
}

// CheckDir returns nil if dir is the absolute path of a log dir in use that may get replicas.
func (m *Manager) CheckDir(dir string) error {
	d := m.dirAt(dir)
	if d == nil {
		return kafka.Errorf(kafka.ErrLogDirNotFound, "log dir %s is not one of this broker's log.dirs", dir)
	}
	if err := d.offlineError(); err != nil || !d.cordoned.Load() {
		return err
	}
	return kafka.Errorf(kafka.ErrInvalidReplicaAssignment, "log dir %s is cordoned: take it out of cordoned.log.dirs first", dir)
}

func (m *Manager) dirAt(path string) *logDir {
	for _, d := range m.dirs {
		if abs, err := filepath.Abs(d.path); err == nil && abs == path {
			return d
		}
	}
	return nil
}

func (m *Manager) prefer(tp kafka.TopicPartition, d *logDir) error {
	m.moves.mu.Lock()
	defer m.moves.mu.Unlock()
	if _, known := m.moves.preferred[tp]; known || len(m.moves.preferred) < maxPreferred {
		m.moves.preferred[tp] = d
	}
	return kafka.Errorf(kafka.ErrReplicaNotAvailable, "%s is not on this broker", tp)
}

// takePreferred returns the log dir that was asked for before the partition existed, or nil.
func (m *Manager) takePreferred(tp kafka.TopicPartition) *logDir {
	m.moves.mu.Lock()
	defer m.moves.mu.Unlock()
	d := m.moves.preferred[tp]
	delete(m.moves.preferred, tp)
	if d == nil || d.offline.Load() {
		return nil
	}
	return d
}

// NextMove returns the first move that is wanted, or nil.
func (m *Manager) NextMove() *Move {
	m.moves.mu.Lock()
	defer m.moves.mu.Unlock()
	var first *Move
	for _, v := range m.moves.all {
		if first == nil || compareLogs(v.log, first.log) < 0 {
			first = v
		}
	}
	return first
}

// futureOf returns the future log of a move and how far it is behind.
func (v *Move) futureOf() (future *Log, lag int64) {
	v.manager.moves.mu.Lock()
	future = v.future
	v.manager.moves.mu.Unlock()
	if future == nil {
		return nil, v.log.LogEndOffset() - v.log.LogStartOffset()
	}
	return future, max(0, v.log.LogEndOffset()-future.LogEndOffset())
}

// Copy copies the next chunk and returns its size, 0 when the future log has all that there is.
func (v *Move) Copy(nowMs int64) (sizeBytes int, err error) {
	if err := v.usable(); err != nil {
		return 0, err
	}
	future, _ := v.futureOf()
	from := v.log.LogStartOffset()
	if future != nil {
		from = max(from, future.LogEndOffset())
	}
	if v.log.isTruncatedSince(v.truncations) {
		return 0, errMoveOvertaken
	}
	end := v.log.LogEndOffset()
	read, err := v.log.Read(ReadRequest{Offset: from, MaxBytes: int(min(moveChunkBytes, v.log.Config().SegmentBytes)), MinOneBatch: true, UpTo: end})
	if kafka.CodeOf(err) == kafka.ErrOffsetOutOfRange && v.log.LogStartOffset() > from {
		return v.Copy(nowMs) // retention went past it
	}
	if err != nil {
		return 0, err
	}
	if future == nil {
		if future, err = v.begin(read.Records, end, nowMs); err != nil {
			return 0, err
		}
	}
	if err := future.copyIn(read.Records, nowMs); err != nil {
		return 0, err
	}
	if len(read.Records) == 0 && future.LogEndOffset() < end {
		return 0, future.skipTo(end, nowMs) // compaction or retention has left nothing there
	}
	return len(read.Records), nil
}

func (v *Move) usable() error {
	v.manager.moves.mu.Lock()
	ended := v.ended
	v.manager.moves.mu.Unlock()
	if ended {
		return errMoveEnded
	}
	if err := v.log.usable(); err != nil {
		return err
	}
	return v.target.offlineError()
}

// Lag is how many offsets are left to copy.
func (v *Move) Lag() int64 { _, lag := v.futureOf(); return lag }

// Pause keeps the compaction away from the log, or reports that it must end first.
func (v *Move) Pause() bool {
	v.log.mu.Lock()
	defer v.log.mu.Unlock()
	v.manager.moves.mu.Lock()
	defer v.manager.moves.mu.Unlock()
	if v.paused || v.ended {
		return true
	}
	if v.log.clean.running {
		return false
	}
	v.log.clean.running, v.paused, v.truncations = true, true, v.log.clean.truncations
	return true
}

// begin makes the future log, which starts with the first batch that there is.
func (v *Move) begin(records []byte, end, nowMs int64) (*Log, error) {
	m, d, tp := v.manager, v.target, v.log.tp
	base := end
	if len(records) > 0 {
		base = record.Batch(records).BaseOffset()
	}
	future := newLogAt(d, tp, v.log.TopicID(), v.folder, v.log.Config())
	doing := "creating the future log of"
	if err := future.writeTopicID(v.log.TopicID()); err != nil {
		return nil, future.mayFail(doing, err)
	}
	first, err := segment.Create(future.folder, base)
	if err != nil {
		return nil, future.mayFail(doing, err)
	}
	future.segments.Store(&segmentList{[]*segment.Segment{first}})
	future.startOffset.Store(base)
	future.endOffset.Store(base)
	future.recoveryPoint.Store(base)
	future.flushedOffset.Store(base)
	future.countedOffset.Store(base)
	future.clean.running = true // it is nobody's business
	future.startActive(nowMs)
	m.moves.mu.Lock()
	defer m.moves.mu.Unlock()
	if v.ended {
		return nil, errors.Join(errMoveEnded, d.checked(d.shared.fs.RemoveAll(future.folder.Path())))
	}
	v.future = future
	return future, nil
}

// copyIn appends batches as they are. Only the move appends to a future log.
func (l *Log) copyIn(records []byte, nowMs int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.appendAsTheyAre(records, nowMs); err != nil {
		return err
	}
	l.highWatermark.Store(l.endOffset.Load()) // so that transactions which have ended are not kept in memory
	return nil
}

// copyable returns the first of the batches that fit into one segment by their offsets, which compaction may have put far apart.
func copyable(records []byte) (preparedAppend, error) {
	p := preparedAppend{maxTimestampMs: kafka.NoTimestamp}
	size, base := 0, record.Batch(records).BaseOffset()
	for rest := records; len(rest) > 0; {
		b, next, err := record.Next(rest)
		if err != nil {
			return p, err
		}
		if size > 0 && b.LastOffset()-base > math.MaxInt32 {
			break
		}
		p.maxTimestampMs = max(p.maxTimestampMs, b.MaxTimestamp())
		size, rest = size+len(b), next
	}
	p.records = records[:size]
	return p, nil
}

func (l *Log) copyPart(p preparedAppend, nowMs int64) error {
	if base := record.Batch(p.records).BaseOffset(); base > l.endOffset.Load() {
		l.endOffset.Store(base) // a roll begins with the batch
	}
	end := endOf(p.records)
	if all := l.segments.Load().all; len(all) == 1 && all[0].SizeBytes() == 0 && !all[0].FitsOffset(end-1) { // nothing to roll away from
		if err := l.replaceEmpty(all[0], nowMs); err != nil {
			return err
		}
	}
	if err := l.activeFor(nowMs, p, end-1, l.Config()); err != nil {
		return err
	}
	if err := l.dir.takeSpace(len(p.records), OriginInternal); err != nil {
		return err
	}
	active := l.segments.Load().last()
	wasEmpty := active.SizeBytes() == 0
	l.markDirty(nowMs, len(p.records))
	if err := active.Append(p.records); err != nil {
		return l.mayFail("copying", err)
	}
	if wasEmpty {
		l.firstTimestampMs = record.Batch(p.records).MaxTimestamp()
	}
	for rest := p.records; len(rest) > 0; {
		b, next, err := record.Next(rest)
		if err != nil {
			break // copyable has walked them
		}
		l.noteEpoch(b.PartitionLeaderEpoch(), b.BaseOffset())
		rest = next
	}
	if _, err := l.applyProducers(p.records, active); err != nil {
		return l.failed("writing the transaction index of", err)
	}
	l.snapshots.bytesSince += int64(len(p.records))
	l.appendedBytes += int64(len(p.records))
	l.endOffset.Store(end)
	return nil
}

// skipTo has a future log end at an offset up to which there is no batch.
func (l *Log) skipTo(end, nowMs int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	l.endOffset.Store(end)
	if err := l.activate(); err != nil {
		return err
	}
	return l.roll(nowMs)
}
