package storage

import (
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/storage/checkpoint"
	"github.com/moldau/moldau/internal/storage/segment"
)

// shared is what all log dirs of a Manager have in common.
type shared struct {
	fs                   vfs.FS
	clock                env.Clock
	producerExpirationMs atomic.Int64
	onDirOffline         func(dir string, err error)
	reserveBytes         int64
	shutdownParallel     func(count int, work func(i int)) // nil: one by one
	foreground           atomic.Int64                      // appends and reads of clients so far
	cleaning             cleanGauges
	wakeCommits          atomic.Pointer[func(dir int)]
	loss                 checkpoint.Loss

	togetherFrom int // how many logs are flushed as a group

	randomMu sync.Mutex
	random   env.Random
}

func (s *shared) randomUint64() uint64 {
	s.randomMu.Lock()
	defer s.randomMu.Unlock()
	return s.random.Uint64()
}

// logDir is one folder of log.dirs. It fails as a whole: after a write or sync whose outcome
// is unknown nothing below it can be trusted, and its logs answer KAFKA_STORAGE_ERROR.
type logDir struct {
	path              string
	id                kafka.UUID
	shared            *shared
	cache             *segment.FileCache
	metrics           *dirMetrics
	offline, cordoned atomic.Bool // the latter: for no new logs, where another log dir can have them (KIP-1066)
	stalled           atomic.Bool // calls on the disk do not return at the moment
	volume            vfs.Volume  // nil where the system cannot sync one
	space             space
	commits           commitQueue

	recoveryPoints offsetCheckpoint
	highWatermarks offsetCheckpoint
	logStarts      offsetCheckpoint
	cleanedOffsets offsetCheckpoint

	unsyncedNames atomic.Bool // folders were retired

	together sync.Mutex // one group of flushes at a time; before log.flushMu

	mu       sync.Mutex // taken last
	logs     map[kafka.TopicPartition]*Log
	arriving *Log // by a move; in the checkpoint files already
	dirty    []*Log
	removals []removal
	// deletedBytes are those of removals that are not done yet.
	deletedBytes int64
	// damaged are the logs that cannot be opened, and why. Their folders and their lines in the
	// checkpoint files stay as they are: another start may open them.
	damaged   map[kafka.TopicPartition]error
	unretired []*Log // closed, in folders that have their names yet, since the disk did not answer
	// waiting are the partitions of future logs that a later start may take for the log.
	waiting map[kafka.TopicPartition]bool
	// unrecovered says that a damaged log has not been recovered after an unclean shutdown.
	unrecovered bool
}

// removal is a deleted segment or folder whose data waits for file.delete.delay.ms.
type removal struct {
	remove    func() error
	sizeBytes int64
	atMs      int64
}

// offsetCheckpoint is one of a log dir's four checkpoint files.
type offsetCheckpoint struct {
	path    string
	changed atomic.Bool
	writing sync.Mutex // after log.mu, before dir.mu; guards lines
	// lines is what the file says, also of logs that are gone.
	lines map[kafka.TopicPartition]int64
	// value returns a log's line, false if it has none.
	value func(l *Log) (int64, bool)
}

func newLogDir(index int, path string, s *shared, cache *segment.FileCache, metrics *dirMetrics) *logDir {
	d := &logDir{path: path, shared: s, cache: cache, metrics: metrics, logs: map[kafka.TopicPartition]*Log{}, damaged: map[kafka.TopicPartition]error{}, waiting: map[kafka.TopicPartition]bool{}}
	d.commits.wake = func() {
		if wake := s.wakeCommits.Load(); wake != nil {
			(*wake)(index)
		}
	}
	d.recoveryPoints.path = filepath.Join(path, checkpoint.RecoveryPointFileName)
	d.recoveryPoints.value = func(l *Log) (int64, bool) { return l.recoveryPoint.Load(), true }
	d.highWatermarks.path = filepath.Join(path, checkpoint.HighWatermarkFileName)
	d.highWatermarks.value = func(l *Log) (int64, bool) { return l.highWatermark.Load(), true }
	d.logStarts.path = filepath.Join(path, checkpoint.LogStartOffsetFileName)
	d.logStarts.value = func(l *Log) (int64, bool) {
		// Where the log begins with its first segment the file's name says so already.
		// Not above what is durable: then a log never ends below its line, unless files are lost.
		start := min(l.startOffset.Load(), l.recoveryPoint.Load())
		return start, start > l.segments.Load().all[0].BaseOffset()
	}
	d.space.left.Store(math.MaxInt64)
	d.cleanedOffsets.path = filepath.Join(path, checkpoint.CleanerOffsetFileName)
	d.cleanedOffsets.value = func(l *Log) (int64, bool) {
		cleaned := l.cleanedOffset.Load()
		return cleaned, cleaned > 0
	}
	return d
}

// markChanged makes the next pass write the file.
func (c *offsetCheckpoint) markChanged() {
	if !c.changed.Load() { // spares the hot path the contended write
		c.changed.Store(true)
	}
}

// write replaces the file unless nothing has changed since the last time.
func (c *offsetCheckpoint) write(d *logDir) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if !c.changed.Swap(false) {
		return nil
	}
	offsets := map[kafka.TopicPartition]int64{}
	d.mu.Lock()
	for tp, offset := range c.lines {
		if d.waiting[tp] || d.damaged[tp] != nil {
			offsets[tp] = offset
		}
	}
	for tp, l := range d.logs {
		if offset, ok := c.value(l); ok {
			offsets[tp] = offset
		}
	}
	if d.arriving != nil {
		if offset, ok := c.value(d.arriving); ok {
			offsets[d.arriving.tp] = offset
		}
	}
	d.mu.Unlock()
	if err := checkpoint.WriteOffsets(d.shared.fs, c.path, offsets); err != nil {
		c.changed.Store(true)
		return fmt.Errorf("write %s: %w", c.path, err)
	}
	c.lines = offsets
	return nil
}

// read returns what the file says. What a damaged one said is not known, so it counts as empty: more is recovered, and less is known to be replicated, than need be.
func (c *offsetCheckpoint) read(d *logDir) (map[kafka.TopicPartition]int64, error) {
	offsets, err := checkpoint.ReadOffsets(d.shared.fs, c.path)
	if checkpoint.IsMalformed(err) {
		slog.Warn("ignored a damaged checkpoint file", "path", c.path, "error", err)
		return nil, nil
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	c.lines = offsets
	return offsets, err
}

// forgetLines takes the lines of a deleted log out of the files before another log of its name is created: recovery would take them for the new one's.
func (d *logDir) forgetLines(tp kafka.TopicPartition) error {
	for _, c := range []*offsetCheckpoint{&d.recoveryPoints, &d.highWatermarks, &d.logStarts, &d.cleanedOffsets} {
		c.writing.Lock()
		_, stale := c.lines[tp]
		c.writing.Unlock()
		if !stale {
			continue
		}
		c.markChanged()
		if err := c.write(d); err != nil {
			return err
		}
	}
	return nil
}

func (d *logDir) checkpointRecoveryPoints() error { return d.recoveryPoints.write(d) }

// fail takes the dir offline.
func (d *logDir) fail(err error) {
	if d.offline.Swap(true) {
		return
	}
	d.metrics.offlineDirs.Add(1)
	slog.Error("log dir failed and is offline: its partitions cannot be used; repair the disk and restart", "dir", d.path, "error", err)
	if d.shared.onDirOffline != nil {
		d.shared.onDirOffline(d.path, err)
	}
}

// offlineError returns why nothing new is to be begun in the dir, or nil. What is under way in a stalled one goes on as soon as the disk does.
func (d *logDir) offlineError() error {
	switch {
	case d.offline.Load():
		return kafka.Errorf(kafka.ErrKafkaStorageError, "log dir %s is offline", d.path)
	case d.stalled.Load():
		return kafka.Errorf(kafka.ErrKafkaStorageError, "log dir %s does not answer at the moment", d.path)
	}
	return nil
}

// setDamaged keeps a log that cannot be opened out of use; the others of the dir go on.
func (d *logDir) setDamaged(tp kafka.TopicPartition, clean bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.damaged[tp] = err
	d.unrecovered = d.unrecovered || !clean
	d.metrics.damagedLogs.Add(1)
	slog.Error("a log cannot be opened: its partition is offline, the others are not; see the manual, trouble, on damaged partitions", "dir", d.path, "partition", tp.String(), "error", err)
}

// DamagedLogs is the number of logs that cannot be opened.
func (m *Manager) DamagedLogs() (n int) {
	for _, d := range m.dirs {
		d.mu.Lock()
		n += len(d.damaged)
		d.mu.Unlock()
	}
	return n
}

// damageOf returns why the log of tp cannot be opened, nil for another log.
func (m *Manager) damageOf(tp kafka.TopicPartition) (*logDir, error) {
	for _, d := range m.dirs {
		d.mu.Lock()
		err := d.damaged[tp]
		d.mu.Unlock()
		if err != nil {
			return d, err
		}
	}
	return nil, nil
}

func (d *logDir) addDirty(l *Log) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dirty = append(d.dirty, l)
}

func (d *logDir) removeLater(r removal) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.removals, d.deletedBytes = append(d.removals, r), d.deletedBytes+r.sizeBytes
}

func (d *logDir) removalOf(path string, sizeBytes, atMs int64) removal {
	return removal{func() error { return d.shared.fs.RemoveAll(path) }, sizeBytes, atMs}
}

// snapshotOfLogs returns the dir's logs sorted by topic and partition.
func (d *logDir) snapshotOfLogs() []*Log {
	d.mu.Lock()
	logs := make([]*Log, 0, len(d.logs))
	for _, l := range d.logs {
		logs = append(logs, l)
	}
	d.mu.Unlock()
	sortLogs(logs)
	return logs
}

func (d *logDir) put(l *Log) {
	d.mu.Lock()
	d.logs[l.tp] = l
	d.mu.Unlock()
	d.markAllChanged()
}

func (d *logDir) forget(l *Log) {
	d.mu.Lock()
	if d.logs[l.tp] == l {
		delete(d.logs, l.tp)
	}
	d.mu.Unlock()
	d.commits.forget(l)
	d.markAllChanged()
}

func (d *logDir) markAllChanged() {
	d.recoveryPoints.markChanged()
	d.highWatermarks.markChanged()
	d.logStarts.markChanged()
	d.cleanedOffsets.markChanged()
}
