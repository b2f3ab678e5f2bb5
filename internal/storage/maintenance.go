package storage

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/storage/checkpoint"
	"github.com/moldau/moldau/internal/storage/segment"
)

// DirCount is the number of log dirs; FlushDir takes their indexes.
func (m *Manager) DirCount() int { return len(m.dirs) }

// FlushDir advances the recovery points of those dirty logs of log dir i for which 64 MiB
// have piled up or 5 s have passed, then writes the checkpoint file once for all of them.
// It looks at dirty logs only, so idle ones cost nothing. Of very many the rest waits for the next
// pass, so that a stop does not wait for all.
func (m *Manager) FlushDir(i int, nowMs int64) error {
	d := m.dirs[i]
	if d.offline.Load() {
		return nil
	}
	d.mu.Lock()
	var due []*Log
	waiting := d.dirty[:0]
	for _, l := range d.dirty {
		if len(due) < flushesAtOnce && l.isFlushDue(nowMs) {
			due = append(due, l)
		} else {
			waiting = append(waiting, l)
		}
	}
	clear(d.dirty[len(waiting):])
	d.dirty = waiting
	d.mu.Unlock()
	for _, l := range due {
		l.dirty.Store(false) // before the flush looks: what is appended from now on is dirty again
	}
	failures := d.flushAll(due)
	if d.offline.Load() {
		return failures
	}
	return errors.Join(failures, d.checked(d.checkpointRecoveryPoints()))
}

// flushAll flushes logs. Where the disk is full, the rest of them still are, and those that failed
// are dirty again.
func (d *logDir) flushAll(logs []*Log) error {
	var failures error
	if d.flushesTogether(len(logs)) {
		var together []*Log
		together, logs = apart(logs)
		failures = d.flushTogether(together, false)
		if d.offline.Load() {
			return failures
		}
	}
	for _, l := range logs {
		if err := l.Flush(); err != nil && l.closed.Load() == nil {
			if d.offline.Load() {
				return err
			}
			failures = errors.Join(failures, err)
		}
	}
	return failures
}

// apart takes the logs out of a group whose acknowledgements wait for fsync: while a group is
// flushed, a group commit of its logs has to wait until the whole volume is synced. Where they are
// many themselves they stay.
func apart(logs []*Log) (together, alone []*Log) {
	for _, l := range logs {
		if _, waits := l.Config().MaxUnflushed(); waits && len(alone) < togetherMost {
			alone = append(alone, l)
		} else {
			together = append(together, l)
		}
	}
	return together, alone
}

// CheckpointHighWatermarks writes the high watermarks of every log dir where one has changed.
func (m *Manager) CheckpointHighWatermarks() error {
	return m.eachDir(func(d *logDir) error { return d.highWatermarks.write(d) })
}

// CheckpointLogStartOffsets writes the log start offsets of every log dir where one has changed.
// What lies below one is made durable before.
func (m *Manager) CheckpointLogStartOffsets() error {
	return m.eachDir(func(d *logDir) error {
		if !d.logStarts.changed.Load() {
			return nil
		}
		for _, l := range d.snapshotOfLogs() {
			if l.startOffset.Load() <= l.recoveryPoint.Load() || l.usable() != nil {
				continue
			}
			if err := l.Flush(); err != nil && l.closed.Load() == nil {
				return err
			}
		}
		return d.logStarts.write(d)
	})
}

// CleanupRetention applies retention to every log whose topic's configs are known and returns how
// many segments went. A log that fails does not keep the others from theirs.
func (m *Manager) CleanupRetention(nowMs int64) (segments int, err error) {
	for _, l := range m.Logs() {
		if l.usable() != nil || l.unconfigured.Load() {
			continue
		}
		n, failure := l.DeleteOldSegments(nowMs)
		segments += n
		err = errors.Join(err, failure)
	}
	return segments, err
}

// ExpireProducers forgets idle producers of every log.
func (m *Manager) ExpireProducers(nowMs int64) {
	for _, l := range m.Logs() {
		l.ExpireProducers(nowMs)
	}
}

// CloseIdleFiles closes the files of log dirs that nobody has used since the call before.
func (m *Manager) CloseIdleFiles() {
	for _, d := range m.dirs {
		d.cache.CloseIdle()
	}
}

// RemoveDeleted removes the data of segments and logs whose file.delete.delay.ms is over.
// What readers still hold waits for the next call.
func (m *Manager) RemoveDeleted(nowMs int64) error {
	return m.eachDir(func(d *logDir) error {
		if err := d.syncNames(); err != nil {
			return err
		}
		d.mu.Lock()
		removals := d.removals
		d.removals = nil
		d.mu.Unlock()
		isDue := func(r removal) bool { return r.atMs <= nowMs || d.space.low.Load() } // a full disk does not wait
		var keep []removal
		var failure error
		if slices.ContainsFunc(removals, isDue) { // a start must not miss a folder that was deleted on purpose
			if failure = d.checkpointRecoveryPoints(); vfs.IsFull(failure) {
				failure = nil
			}
		}
		removedBytes := int64(0)
		for _, r := range removals {
			if !isDue(r) || failure != nil {
				keep = append(keep, r)
				continue
			}
			if err := r.remove(); errors.Is(err, segment.ErrInUse) {
				keep = append(keep, r)
			} else {
				failure, removedBytes = err, removedBytes+r.sizeBytes
			}
		}
		d.mu.Lock()
		d.removals, d.deletedBytes = append(d.removals, keep...), d.deletedBytes-removedBytes
		d.mu.Unlock()
		return failure
	})
}

func (m *Manager) eachDir(do func(d *logDir) error) error {
	var all error
	for _, d := range m.dirs {
		if d.offlineError() == nil {
			all = errors.Join(all, d.checked(do(d)))
		}
	}
	return all
}

// checked takes the dir offline if err says that its disk failed. A file that found no room on a
// full disk is written by a later pass.
func (d *logDir) checked(err error) error {
	if err != nil && !vfs.IsFull(err) {
		d.fail(err)
	}
	return err
}

// Shutdown makes everything durable and marks each log dir as cleanly shut down by the broker
// of brokerEpoch, so that the next start reads no log. No log may be in use any more. A dir
// where something fails stays unmarked and is recovered at the next start.
func (m *Manager) Shutdown(brokerEpoch int64) error {
	var all error
	for _, d := range m.dirs {
		if d.offlineError() == nil {
			all = errors.Join(all, d.checked(d.shutdown(brokerEpoch)))
		}
		if d.volume != nil {
			all = errors.Join(all, d.volume.Close())
		}
		d.cache.Close()
	}
	return all
}

func (d *logDir) shutdown(brokerEpoch int64) error {
	if err := d.shutdownLogs(d.snapshotOfLogs()); err != nil {
		return err
	}
	for _, c := range []*offsetCheckpoint{&d.recoveryPoints, &d.highWatermarks, &d.logStarts, &d.cleanedOffsets} {
		if err := c.write(d); err != nil {
			return err
		}
	}
	if d.unrecovered {
		return nil // the next start must not take such a log for whole
	}
	if err := checkpoint.WriteCleanShutdown(d.shared.fs, filepath.Join(d.path, checkpoint.CleanShutdownFileName), brokerEpoch); err != nil {
		return fmt.Errorf("mark %s as cleanly shut down: %w", d.path, err)
	}
	return nil
}

func (d *logDir) shutdownLogs(logs []*Log) error {
	if d.flushesTogether(len(logs)) {
		return d.flushTogether(logs, true)
	}
	run := d.shared.shutdownParallel
	if run == nil {
		run = oneByOne
	}
	var failure atomic.Pointer[error]
	var durable atomic.Int64
	run(len(logs), func(i int) {
		if failure.Load() != nil {
			return
		}
		if err := logs[i].shutdown(); err != nil {
			failure.CompareAndSwap(nil, &err)
			return
		}
		durable.Add(1)
	})
	if err := failure.Load(); err != nil {
		return *err
	}
	if n := durable.Load(); n != int64(len(logs)) { // a goroutine of run panicked
		return fmt.Errorf("only %d of %d logs of %s were made durable", n, len(logs), d.path)
	}
	return nil
}

// shutdown flushes the log and ends its use.
func (l *Log) shutdown() error {
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	if err := l.seal(); err != nil {
		return err
	}
	if err := l.flush(); err != nil {
		return err
	}
	if err := l.segments.Load().last().Flush(); err != nil {
		return l.failed("closing", err)
	}
	l.closed.Store(closedByShutdown)
	return nil
}

// seal closes the active segment like one that is rolled, so that its largest timestamp is in the
// time index and need not be looked for. It needs flushMu.
func (l *Log) seal() error {
	l.mu.Lock()
	last, active := l.segments.Load().last(), l.active
	l.active = false
	var err error
	if active {
		err = last.Seal()
	}
	l.mu.Unlock()
	if err != nil {
		return l.failed("closing", err)
	}
	return nil
}
