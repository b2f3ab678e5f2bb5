package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/storage/checkpoint"
	"github.com/moldau/moldau/internal/storage/folders"
	"github.com/moldau/moldau/internal/storage/segment"
)

// Options configure a Manager.
type Options struct {
	FS vfs.FS
	// Dirs are the log dirs. They exist, and the caller holds their lock files.
	Dirs []string
	// DirectoryIDs are the ids of the log dirs (KIP-858), by path.
	DirectoryIDs map[string]kafka.UUID
	// Failed are the log dirs that cannot be used, and why: they are offline from the start.
	Failed map[string]error
	// Defaults is the config of logs whose topic has none.
	Defaults *LogConfig
	Metrics  *metrics.Registry
	Random   env.Random
	Clock    env.Clock // times disk calls for metrics; what is stored takes arguments
	// ProducerExpirationMs is producer.id.expiration.ms, until SetProducerExpiration.
	ProducerExpirationMs int64
	// OpenFilesPerDir bounds the file descriptors kept open per log dir.
	OpenFilesPerDir int
	// ReserveBytes is how many bytes of a log dir's volume clients may not fill; 0 turns the
	// guard off.
	ReserveBytes int64
	// OnDirOffline is called once for each log dir that fails; it may be nil.
	OnDirOffline func(dir string, err error)
	// OnLoss is called once, before Load cuts off what tells it that something is lost (HasLost); it may be nil.
	OnLoss func()
}

// Manager owns the logs of all log dirs. All methods may be called concurrently, except that
// Load comes first and Shutdown last.
type Manager struct {
	options Options
	shared  *shared
	dirs    []*logDir

	brokerEpoch int64 // of the last clean shutdown

	changing sync.Mutex // one creation or deletion at a time; before log.mu
	sorted   atomic.Pointer[[]*Log]
	moves    moves
}

// OpenManager returns a Manager without logs. Load must follow.
func OpenManager(o Options) (*Manager, error) {
	if len(o.Dirs) == 0 {
		return nil, errors.New("log.dirs is empty: at least one log dir is needed")
	}
	m := &Manager{options: o, brokerEpoch: -1}
	m.shared = &shared{fs: o.FS, clock: o.Clock, onDirOffline: o.OnDirOffline, reserveBytes: o.ReserveBytes, random: o.Random, togetherFrom: togetherFrom, loss: checkpoint.Loss{Tell: o.OnLoss}}
	m.shared.producerExpirationMs.Store(o.ProducerExpirationMs)
	m.moves.all, m.moves.preferred = map[kafka.TopicPartition]*Move{}, map[kafka.TopicPartition]*logDir{}
	o.Metrics.GaugeFunc("log_dir_moves", "Replicas that are moved to another log dir, or wait for it.", func() float64 {
		m.moves.mu.Lock()
		defer m.moves.mu.Unlock()
		return float64(len(m.moves.all))
	})
	shared := newDirMetrics(o.Metrics)
	m.shared.cleaning.register(o.Metrics)
	for i, dir := range o.Dirs {
		cache := segment.NewFileCache(segment.FileCacheOptions{FS: o.FS, MaxOpen: o.OpenFilesPerDir, Metrics: o.Metrics, LogDir: dir})
		d := newLogDir(i, dir, m.shared, cache, shared)
		d.id = o.DirectoryIDs[dir]
		if v, err := o.FS.OpenVolume(dir); err == nil { // else file by file; Load finds out what is wrong with the dir
			d.volume = v
		}
		m.dirs = append(m.dirs, d)
	}
	o.Metrics.GaugeFunc("log_group_commit_waiting_logs", "Logs that wait for the group commit of their log dir.", func() float64 {
		waiting := 0
		for _, d := range m.dirs {
			waiting += d.commits.len()
		}
		return float64(waiting)
	})
	return m, nil
}

// CleanShutdownBrokerEpoch returns the broker epoch that the last shutdown wrote to every log
// dir, or -1 if it was not a clean one, or what was there then is not there now. Load reads it.
func (m *Manager) CleanShutdownBrokerEpoch() int64 {
	if m.HasLost() || len(m.OfflineDirs()) > 0 {
		return -1
	}
	return m.brokerEpoch
}

// HasLost reports whether Load cut off more than a write that a kill has interrupted, or has missed what was flushed: what was there is lost.
func (m *Manager) HasLost() bool { return m.shared.loss.Found() }

// SetProducerExpiration changes producer.id.expiration.ms.
func (m *Manager) SetProducerExpiration(ms int64) { m.shared.producerExpirationMs.Store(ms) }

// ForegroundLoad counts the appends and reads so far: while it grows, clients are served.
func (m *Manager) ForegroundLoad() int64 { return m.shared.foreground.Load() }

// OfflineDirs returns the log dirs that have failed.
func (m *Manager) OfflineDirs() []string {
	var offline []string
	for _, d := range m.dirs {
		if d.offline.Load() {
			offline = append(offline, d.path)
		}
	}
	return offline
}

// Log returns the log of tp, or nil.
func (m *Manager) Log(tp kafka.TopicPartition) *Log {
	for _, d := range m.dirs {
		d.mu.Lock()
		l := d.logs[tp]
		d.mu.Unlock()
		if l != nil {
			return l
		}
	}
	return nil
}

// Logs returns all logs sorted by topic and partition. The slice is shared: do not change it.
func (m *Manager) Logs() []*Log {
	if sorted := m.sorted.Load(); sorted != nil {
		return *sorted
	}
	m.changing.Lock()
	defer m.changing.Unlock()
	return m.sortLogs()
}

func (m *Manager) sortLogs() []*Log {
	var logs []*Log
	for _, d := range m.dirs {
		logs = append(logs, d.snapshotOfLogs()...)
	}
	sortLogs(logs)
	m.sorted.Store(&logs)
	return logs
}

func sortLogs(logs []*Log) { slices.SortFunc(logs, compareLogs) }

func compareLogs(a, b *Log) int { return a.tp.Compare(b.tp) }

// adopt gives a log without topic id the one under which it is used from now on.
func (l *Log) adopt(id kafka.UUID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	known := l.TopicID()
	if known.IsMisreadOf(id) {
		slog.Warn("the topic id in a file differs in one character from the cluster's: it was damaged, and is written again", "path", l.metadataPath(), "found", known.String(), "topic_id", id.String())
		known = kafka.ZeroUUID
	}
	switch known {
	case id:
		return nil
	case kafka.ZeroUUID:
		if err := l.writeTopicID(id); err != nil {
			return l.storageError("writing the topic id of", err)
		}
		return nil
	default:
		return kafka.Errorf(kafka.ErrInconsistentTopicID, "the folder of %s belongs to topic id %s and not to %s", l.tp, known, id)
	}
}

func (d *logDir) logCount() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.logs)
}

// Delete takes the log of tp out of use and renames its folder, so that it stays deleted after
// kill -9. RemoveDeleted makes that durable, once for a topic of thousands of partitions, and
// removes the data after file.delete.delay.ms. Should power loss bring the folder back, its topic
// id is one that the metadata does not know any more, which makes it a stray.
func (m *Manager) Delete(tp kafka.TopicPartition, nowMs int64) error {
	m.changing.Lock()
	defer m.changing.Unlock()
	l := m.Log(tp)
	if l == nil {
		return nil
	}
	path, err := m.retire(l, folders.DeleteSuffix)
	if err != nil {
		return err
	}
	l.dir.removeLater(l.dir.removalOf(path, l.SizeBytes(), nowMs+l.Config().FileDeleteDelayMs))
	return nil
}

// DeleteDamaged takes the folder of a log that could not be opened away, if there is one.
func (m *Manager) DeleteDamaged(tp kafka.TopicPartition) error {
	m.changing.Lock()
	defer m.changing.Unlock()
	d, err := m.damageOf(tp)
	if err == nil {
		return nil
	}
	m.shared.randomMu.Lock()
	path := filepath.Join(d.path, folders.Retired(tp, folders.DeleteSuffix, m.shared.random))
	m.shared.randomMu.Unlock()
	if err := errors.Join(m.shared.fs.Rename(filepath.Join(d.path, tp.String()), path), m.shared.fs.SyncDir(d.path)); err != nil {
		return d.checked(err)
	}
	d.metrics.damagedLogs.Add(-1)
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.damaged, tp)
	d.removals = append(d.removals, d.removalOf(path, 0, 0))
	return nil
}

// retire closes a log and gives its folder a name that no live log has.
func (m *Manager) retire(l *Log, suffix string) (newPath string, err error) {
	gone := kafka.Errorf(kafka.ErrUnknownTopicOrPartition, "%s is no longer on this broker", l.tp)
	if err := l.dir.offlineError(); err != nil {
		// Its locks may be held by calls on a disk that does not answer.
		l.closed.Store(gone)
		l.dir.forget(l)
		l.dir.setUnretired(l)
		m.sorted.Store(nil)
		return "", err
	}
	m.moves.mu.Lock()
	move := m.moves.all[l.tp]
	m.moves.mu.Unlock()
	if move != nil && move.log == l {
		m.endMove(move, true) // first, or a start might take the future log for the log
	}
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed.Store(gone)
	l.dir.forget(l)
	m.sorted.Store(nil)
	m.shared.randomMu.Lock()
	newPath = filepath.Join(l.dir.path, folders.Retired(l.tp, suffix, m.shared.random))
	m.shared.randomMu.Unlock()
	if err := l.folder.Rename(newPath, l.segments.Load().all); err != nil {
		return "", l.failed("renaming the folder of", err)
	}
	l.dir.unsyncedNames.Store(true)
	for _, s := range l.segments.Load().all {
		s.ReleaseFiles()
	}
	return newPath, nil
}

func (d *logDir) setUnretired(logs ...*Log) {
	d.mu.Lock()
	d.unretired = append(d.unretired, logs...)
	d.mu.Unlock()
}

// retireLate retires the logs that were deleted while the disk did not answer: another of such a name would share files with them.
func (m *Manager) retireLate(d *logDir, nowMs int64) error {
	d.mu.Lock()
	late := d.unretired
	d.unretired = nil
	d.mu.Unlock()
	for i, l := range late {
		path, err := m.retire(l, folders.DeleteSuffix)
		if err != nil {
			d.setUnretired(late[i+1:]...)
			return err
		}
		d.removeLater(d.removalOf(path, l.SizeBytes(), nowMs+l.Config().FileDeleteDelayMs))
	}
	return nil
}

// syncNames makes durable that folders were retired.
func (d *logDir) syncNames() error {
	if !d.unsyncedNames.Swap(false) {
		return nil
	}
	return d.shared.fs.SyncDir(d.path)
}

// HandleStrays takes logs that isKnown denies out of use and renames their folders to
// -stray: the cluster no longer has them, but nobody decided to destroy their data.
func (m *Manager) HandleStrays(isKnown func(kafka.TopicIDPartition) bool) ([]kafka.TopicIDPartition, error) {
	logs := m.Logs()
	m.changing.Lock()
	defer m.changing.Unlock()
	var strays []kafka.TopicIDPartition
	for _, l := range logs {
		tp := kafka.TopicIDPartition{TopicID: l.TopicID(), TopicPartition: l.tp}
		// With two logs of one name each is judged by its own topic id: one may come from a log dir
		// that was offline while the topic was deleted and created again.
		if l.closed.Load() != nil || l.dir.offline.Load() || isKnown(tp) {
			continue
		}
		if _, err := m.retire(l, folders.StraySuffix); err != nil {
			return strays, fmt.Errorf("set aside the stray log %s: %w", l.tp, err)
		}
		strays = append(strays, tp)
	}
	return strays, m.eachDir((*logDir).syncNames)
}
