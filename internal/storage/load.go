package storage

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/storage/checkpoint"
	"github.com/moldau/moldau/internal/storage/folders"
	"github.com/moldau/moldau/internal/storage/segment"
)

// LoadOptions tell Load how to open the logs it finds.
type LoadOptions struct {
	NowMs int64
	// TopicConfig returns the config of a topic; nil means Defaults.
	TopicConfig func(topic string) *LogConfig
	// Parallel runs work(0..count-1) and returns when all are done, as host.Parallel does; nil
	// runs them one by one.
	Parallel func(count int, work func(i int))
	// ShutdownParallel is the same for Shutdown, which waits for the disk only: syncs that run at
	// the same time share the file system's writes.
	ShutdownParallel func(count int, work func(i int))
}

func oneByOne(count int, work func(i int)) {
	for i := range count {
		work(i)
	}
}

// foundLog is a folder that Load is to open.
type foundLog struct {
	dir   *logDir
	tp    kafka.TopicPartition
	known knownOffsets
}

// Load opens and, where the last shutdown was not clean, recovers every log. A log dir that
// cannot be read goes offline; without any other one that is an error.
func (m *Manager) Load(o LoadOptions) error {
	var found []foundLog
	var futures []foundFuture
	var firstError error
	epochs := map[int64]bool{}
	for _, d := range m.dirs {
		if err := m.options.Failed[d.path]; err != nil {
			firstError = cmp.Or(firstError, err)
			d.fail(err)
			continue
		}
		if err := d.releaseBallast(); err != nil {
			slog.Warn("cannot make room in a log dir", "dir", d.path, "error", err)
		}
		inDir, inDirFutures, brokerEpoch, err := d.scan()
		epochs[brokerEpoch] = true
		if err != nil {
			firstError = cmp.Or(firstError, err)
			d.fail(err)
			continue
		}
		found, futures = append(found, inDir...), append(futures, inDirFutures...)
	}
	promoted, again := m.settleFutures(futures, found)
	found = append(found, promoted...)
	if len(epochs) == 1 {
		for epoch := range epochs {
			m.brokerEpoch = epoch
		}
	}
	run := o.Parallel
	if run == nil {
		run = oneByOne
	}
	m.shared.shutdownParallel = o.ShutdownParallel
	var failure atomic.Pointer[error]
	run(len(found), func(i int) {
		f := found[i]
		if f.dir.offline.Load() {
			return
		}
		l, err := openLog(f.dir, f.tp, m.configOf(o, f.tp.Topic), f.known, o.NowMs)
		if err != nil {
			err = fmt.Errorf("open log %s: %w", filepath.Join(f.dir.path, f.tp.String()), err)
			if _, corrupt := errors.AsType[*segment.CorruptionError](err); corrupt || checkpoint.IsMalformed(err) || vfs.IsFull(err) {
				f.dir.setDamaged(f.tp, f.known.clean, err)
				return
			}
			failure.CompareAndSwap(nil, &err)
			f.dir.fail(err)
			return
		}
		l.unconfigured.Store(o.TopicConfig == nil)
		f.dir.put(l)
	})
	if p := failure.Load(); p != nil {
		firstError = cmp.Or(firstError, *p)
	}
	firstError = cmp.Or(firstError, m.lowerRecoveryPoints(found))
	m.sorted.Store(nil)
	if err := m.checkDoubles(); err != nil {
		return err
	}
	m.resume(again)
	if err := m.CheckSpace(); err != nil {
		return err
	}
	if len(m.OfflineDirs()) == len(m.dirs) {
		return fmt.Errorf("no log dir can be used: %w", firstError)
	}
	return nil
}

// lowerRecoveryPoints corrects the files of log dirs where a log ends below its recovery point
// on disk, since files were lost or damaged. What is appended from now on must not pass for
// flushed after a crash.
func (m *Manager) lowerRecoveryPoints(found []foundLog) (err error) {
	for _, f := range found {
		if l := m.Log(f.tp); l != nil && l.recoveryPoint.Load() < f.known.recoveryPoint {
			m.shared.loss.Note()
			err = cmp.Or(err, l.dir.checked(l.dir.checkpointRecoveryPoints()))
		}
	}
	return err
}

func (m *Manager) configOf(o LoadOptions, topic string) *LogConfig {
	if o.TopicConfig != nil {
		if config := o.TopicConfig(topic); config != nil {
			return config
		}
	}
	return m.options.Defaults
}

// scan reads a log dir's own files and lists its logs. The clean-shutdown file is removed
// first: if the process ends during loading, the next start must not take it for its own.
func (d *logDir) scan() (found []foundLog, futures []foundFuture, brokerEpoch int64, err error) {
	fsys := d.shared.fs
	cleanPath := filepath.Join(d.path, checkpoint.CleanShutdownFileName)
	brokerEpoch, clean := checkpoint.ReadCleanShutdown(fsys, cleanPath)
	if !clean {
		brokerEpoch = -1
	}
	if err := checkpoint.RemoveCleanShutdown(fsys, cleanPath); err != nil {
		return nil, nil, -1, err
	}
	recoveryPoints, err := d.recoveryPoints.read(d)
	if err != nil {
		return nil, nil, brokerEpoch, err
	}
	highWatermarks, err := d.highWatermarks.read(d)
	if err != nil {
		return nil, nil, brokerEpoch, err
	}
	logStarts, err := d.logStarts.read(d)
	if err != nil {
		return nil, nil, brokerEpoch, err
	}
	cleanedOffsets, err := d.cleanedOffsets.read(d)
	if err != nil {
		return nil, nil, brokerEpoch, err
	}
	entries, err := fsys.ReadDir(d.path)
	if err != nil {
		return nil, nil, brokerEpoch, err
	}
	live, retired := map[string]bool{}, map[string]bool{}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		live[e.Name()], retired[e.Name()[:max(0, strings.LastIndexByte(e.Name(), '.'))]] = true, true
		if tp, ok := folders.Parse(e.Name()); ok {
			found = append(found, foundLog{d, tp, knownOffsets{recoveryPoints[tp], highWatermarks[tp], logStarts[tp], cleanedOffsets[tp], clean}})
		} else if f, ok := d.parseFuture(e.Name()); ok {
			futures = append(futures, f)
		} else if strings.HasSuffix(e.Name(), folders.DeleteSuffix) {
			d.removals = append(d.removals, d.removalOf(filepath.Join(d.path, e.Name()), 0, 0))
		}
	}
	for tp, flushed := range recoveryPoints {
		if flushed == 0 || live[tp.String()] {
			continue
		}
		d.recoveryPoints.markChanged() // else a later start finds it lost, if nothing else changes here
		if !folders.IsRetired(retired, tp) {
			d.shared.loss.Note()
			slog.Error("the folder of a log is gone, and it had records on disk: other replicas may have them", "dir", d.path, "partition", tp.String(), "flushed_up_to", flushed)
		}
	}
	slog.Info("loading logs", "dir", d.path, "logs", len(found), "clean_shutdown", clean)
	return found, futures, brokerEpoch, nil
}
