package storage

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/storage/epoch"
	"github.com/moldau/moldau/internal/storage/producerstate"
	"github.com/moldau/moldau/internal/storage/segment"
)

// Log is one replica's data. All methods may be called concurrently. An idle log costs this
// struct and one Segment: no goroutine, timer or open file.
type Log struct {
	tp      kafka.TopicPartition
	topicID atomic.Pointer[kafka.UUID]
	dir     *logDir
	folder  *segment.Dir
	config  atomic.Pointer[LogConfig]

	// segments is never empty; a list is never changed once it is stored.
	segments atomic.Pointer[segmentList]
	epochs   atomic.Pointer[epoch.List]

	startOffset   atomic.Int64
	endOffset     atomic.Int64
	highWatermark atomic.Int64
	recoveryPoint atomic.Int64
	flushedOffset atomic.Int64 // everything below is durable; at or above the recovery point
	countedOffset atomic.Int64
	cleanedOffset atomic.Int64 // where the next compaction begins
	unstable      atomic.Pointer[unstable]
	closed        atomic.Pointer[kafka.Error]

	// unconfigured is set until somebody says what the topic's configs are: Load knew only defaults,
	// by which nothing may be deleted.
	unconfigured atomic.Bool

	dirty          atomic.Bool // in dir.dirty
	dirtySinceMs   atomic.Int64
	unflushedBytes atomic.Int64

	onCounted   atomic.Pointer[func(bytes int64, ended bool)]
	commitAsked atomic.Bool  // in dir.commits.asked
	commitDueMs atomic.Int64 // when flush.ms is over; never: not in dir.commits.later
	commitIndex int          // in dir.commits.later, whose lock guards it

	suspects segment.Suspects

	flushMu sync.Mutex // taken before mu
	mu      sync.Mutex // guards everything below, and every change of what is above
	// active is false until the last segment is ready for appends: opening thousands of idle
	// logs reads no index.
	active           bool
	epochsChanged    bool // records of an epoch exist that the checkpoint file does not know
	unsyncedFolder   bool // the folder and its topic id may not be durable
	recovered        bool // and not flushed since
	doubtfulEpochs   bool // recovery has them from the batches, which no checksum covers
	producers        producerstate.Manager
	snapshots        snapshotSet
	firstTimestampMs int64 // of the active segment; unknownTimestamp until it is needed
	activeSinceMs    int64
	rollShare        uint64
	clean            cleanState
	// What was appended since the log was opened, what of it is counted, and what flushed.
	appendedBytes, countedBytes, flushedBytes int64
	uncountedMarker                           bool                      // a transaction's end is not counted yet
	noted                                     *atomic.Pointer[unstable] // what is unstable: l.unstable, unless that is built anew
}

const unknownTimestamp int64 = math.MinInt64

// segmentList is a log's segments in the order of their offsets.
type segmentList struct{ all []*segment.Segment }

func (s *segmentList) last() *segment.Segment { return s.all[len(s.all)-1] }

// indexOf returns the position of the segment whose range includes offset: the last one that
// begins at or before it, else the first.
func (s *segmentList) indexOf(offset int64) int {
	low, high := 0, len(s.all)
	for high-low > 1 {
		if mid := (low + high) / 2; s.all[mid].BaseOffset() <= offset {
			low = mid
		} else {
			high = mid
		}
	}
	return low
}

// endOf returns the first offset that does not belong to segment i of the log.
func (s *segmentList) endOf(i int, endOffset int64) int64 {
	if i+1 < len(s.all) {
		return s.all[i+1].BaseOffset()
	}
	return endOffset
}

// TopicPartition names the log's partition.
func (l *Log) TopicPartition() kafka.TopicPartition { return l.tp }

// TopicID is the topic's id; zero if the folder does not say, as power loss may leave it when
// nothing of the log was flushed yet.
func (l *Log) TopicID() kafka.UUID { return *l.topicID.Load() }

// Dir is the log dir that holds the log's folder.
func (l *Log) Dir() string { return l.dir.path }

// DirectoryID is the id of that log dir.
func (l *Log) DirectoryID() kafka.UUID { return l.dir.id }

// Config returns the config in use.
func (l *Log) Config() *LogConfig { return l.config.Load() }

// UpdateConfig replaces the config; what is stored already stays as it is. Appends that wait for
// a flush are counted if the new config does not ask for it.
func (l *Log) UpdateConfig(config *LogConfig) {
	l.folder.SetIndexLimits(config.IndexIntervalBytes, config.IndexMaxBytes)
	l.mu.Lock()
	l.config.Store(config)
	l.unconfigured.Store(false)
	c, asksForFlush := l.count(), config.asksForFlush() && l.flushedOffset.Load() < l.endOffset.Load()
	l.mu.Unlock()
	if asksForFlush {
		l.dir.commits.ask(l)
	}
	l.tellCounted(c)
}

// LogStartOffset is the first offset that may be read.
func (l *Log) LogStartOffset() int64 { return l.startOffset.Load() }

// LogEndOffset is the offset that the next record gets.
func (l *Log) LogEndOffset() int64 { return l.endOffset.Load() }

// HighWatermark is the first offset that is not known to be replicated.
func (l *Log) HighWatermark() int64 { return l.highWatermark.Load() }

// FlushedOffset is the first offset that is not known to be durable. The recovery point, up to
// which indexes and producers' state are durable too, is there or below.
func (l *Log) FlushedOffset() int64 { return l.flushedOffset.Load() }

// AdvanceHighWatermark raises the high watermark to offset, at most to the log end offset,
// and reports whether it rose. It never lowers it.
func (l *Log) AdvanceHighWatermark(offset int64) bool {
	offset = min(offset, l.endOffset.Load())
	for {
		old := l.highWatermark.Load()
		if offset <= old {
			return false
		}
		if l.highWatermark.CompareAndSwap(old, offset) {
			l.dir.highWatermarks.markChanged()
			return true
		}
	}
}

// AdvanceLogStartOffset raises the log start offset, at most to the high watermark
// (DeleteRecords). Whole segments below it go with the next retention pass.
func (l *Log) AdvanceLogStartOffset(offset int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	if hw := l.highWatermark.Load(); offset < 0 || offset > hw {
		return kafka.Errorf(kafka.ErrOffsetOutOfRange, "the log start of %s cannot move to %d: the high watermark is %d", l.tp, offset, hw)
	}
	l.raiseStartOffset(offset)
	return nil
}

func (l *Log) raiseStartOffset(offset int64) {
	if offset <= l.startOffset.Load() {
		return
	}
	l.startOffset.Store(offset)
	l.epochs.Store(l.epochs.Load().WithoutStart(offset))
	l.dir.logStarts.markChanged()
}

// SizeBytes is the size of all segments.
func (l *Log) SizeBytes() int64 {
	var size int64
	for _, s := range l.segments.Load().all {
		size += s.SizeBytes()
	}
	return size
}

// SegmentCount is the number of segments.
func (l *Log) SegmentCount() int { return len(l.segments.Load().all) }

// ProducerCount is the number of idempotent producers remembered.
func (l *Log) ProducerCount() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.producers.Len()
}

// ExpireProducers forgets the producers that wrote nothing for producer.id.expiration.ms.
func (l *Log) ExpireProducers(nowMs int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.producers.Expire(nowMs, l.dir.shared.producerExpirationMs.Load())
}

// LatestEpoch returns the newest leader epoch in the log, or -1.
func (l *Log) LatestEpoch() int32 { return l.epochs.Load().Latest() }

// EpochForOffset returns the leader epoch in which offset was written, or -1.
func (l *Log) EpochForOffset(offset int64) int32 { return l.epochs.Load().At(offset) }

// EndOffsetForEpoch answers OffsetForLeaderEpoch: the largest epoch at most leaderEpoch and
// the offset after its last record, or -1, -1.
func (l *Log) EndOffsetForEpoch(leaderEpoch int32) (epoch int32, endOffset int64) {
	return l.epochs.Load().EndOffset(leaderEpoch, l.endOffset.Load())
}

// AssignEpochStart records on becoming leader that leaderEpoch begins at startOffset. It is
// remembered in memory only; the checkpoint file follows when records of the epoch exist,
// before the recovery point passes them, so becoming leader of many partitions costs no I/O.
func (l *Log) AssignEpochStart(leaderEpoch int32, startOffset int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	l.epochs.Store(l.epochs.Load().With(leaderEpoch, startOffset))
	return nil
}

// LimitEpochs says which leader epoch there is now. One that recovery has found to be newer is none.
func (l *Log) LimitEpochs(latest int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if epochs := l.epochs.Load(); l.doubtfulEpochs && epochs.Latest() > latest {
		l.epochs.Store(epochs.WithoutAbove(latest))
		l.epochsChanged = true
	}
	l.doubtfulEpochs = false
}

// Usable returns why the log cannot be used, or nil: also where it was moved, as then another has
// taken its place.
func (l *Log) Usable() error {
	if err := l.writable(); !errors.Is(err, ErrMoved) {
		return err
	}
	return nil
}

// writable returns why nothing can be written, or nil: also while the disk does not answer, as what has waited
// behind a call that hung would wait for its own.
func (l *Log) writable() error { return cmp.Or(l.usable(), l.dir.offlineError()) }

// usable returns why the log cannot be used, or nil.
func (l *Log) usable() error {
	if err := l.closed.Load(); err != nil {
		return err
	}
	if l.dir.offline.Load() {
		return kafka.Errorf(kafka.ErrKafkaStorageError, "log dir %s is offline, so %s cannot be used", l.dir.path, l.tp)
	}
	return nil
}

// failed takes the log dir offline after a write or sync whose outcome is unknown.
func (l *Log) failed(doing string, err error) error {
	l.dir.fail(fmt.Errorf("%s %s: %w", doing, l.tp, err))
	return l.storageError(doing, err)
}

// mayFail is failed where err says that the disk is to blame, and only this log's error where a
// file is missing, there is no room, or too many files are open.
func (l *Log) mayFail(doing string, err error) error {
	if vfs.IsDiskFailure(err) {
		return l.failed(doing, err)
	}
	return l.storageError(doing, err)
}

func (l *Log) storageError(doing string, err error) error {
	return &kafka.Error{Code: kafka.ErrKafkaStorageError, Message: fmt.Sprintf("the disk failed while %s %s", doing, l.tp), Cause: err}
}

var closedByShutdown = kafka.Errorf(kafka.ErrNotLeaderOrFollower, "the broker is shutting down")
