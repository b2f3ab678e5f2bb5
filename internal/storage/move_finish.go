package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/storage/folders"
)

// endMove forgets a move. With discard, the future log's folder is removed, unless its disk does not let it: the next start does. It needs changing.
func (m *Manager) endMove(v *Move, discard bool) {
	locked := v.log.mu.TryLock()
	if !locked && v.log.dir.offlineError() == nil { // else a call on a dead disk may hold it for ever
		v.log.mu.Lock()
		locked = true
	}
	m.moves.mu.Lock()
	if m.moves.all[v.log.tp] == v {
		delete(m.moves.all, v.log.tp)
	}
	v.ended = true
	if v.paused && locked {
		v.log.clean.running, v.paused = false, false
	}
	future := v.future
	m.moves.mu.Unlock()
	if locked {
		v.log.mu.Unlock()
	}
	if !discard || v.target.offlineError() != nil {
		return
	}
	if future == nil {
		_ = v.target.checked(m.shared.fs.RemoveAll(filepath.Join(v.target.path, v.folder)))
		return
	}
	path, err := m.retire(future, folders.DeleteSuffix)
	if err == nil {
		err = future.dir.checked(future.dir.syncNames())
	}
	if err != nil {
		slog.Error("cannot remove the future log of a move that has ended; the next start does", "partition", v.log.tp.String(), "error", err)
		return
	}
	future.dir.removeLater(future.dir.removalOf(path, 0, 0))
}

// Abort ends the move after err. What was copied is thrown away, except where the log itself has
// been lost with its log dir. One whose log was truncated begins again.
func (v *Move) Abort(err error) {
	m := v.manager
	m.changing.Lock()
	defer m.changing.Unlock()
	m.moves.mu.Lock()
	ended := v.ended
	m.moves.mu.Unlock()
	if ended {
		return
	}
	m.endMove(v, !v.log.dir.offline.Load())
	if errors.Is(err, errMoveOvertaken) {
		if err = m.want(v.log, v.target); err == nil {
			return
		}
	}
	slog.Error("a log is not moved to another log dir; it stays where it is", "partition", v.log.tp.String(), "dir", v.log.dir.path, "target", v.target.path, "error", err)
}

// Finish copies what is left and puts the future log in the log's place. The caller keeps appends
// and deletions of records away until it returns. The log that it returns is the partition's.
func (v *Move) Finish(nowMs int64) (*Log, error) {
	m := v.manager
	m.changing.Lock()
	defer m.changing.Unlock()
	for v.Lag() > 0 || v.future == nil {
		if _, err := v.Copy(nowMs); err != nil {
			return nil, err
		}
	}
	if err := v.usable(); err != nil {
		return nil, err
	}
	if err := m.retireLate(v.target, nowMs); err != nil {
		return nil, err
	}
	old, future := v.log, v.future
	old.flushMu.Lock() // against flush, retention and truncation
	defer old.flushMu.Unlock()
	if old.isTruncatedSince(v.truncations) {
		return nil, errMoveOvertaken
	}
	defer v.target.setArriving(nil) // not before it is one of the dir's logs: others write the files, too
	if err := v.makeDurable(); err != nil {
		return nil, err
	}
	oldName := old.folder.Path()
	m.shared.randomMu.Lock()
	deleted := filepath.Join(old.dir.path, folders.Retired(old.tp, folders.DeleteSuffix, m.shared.random))
	m.shared.randomMu.Unlock()
	fsys := m.shared.fs
	if err := errors.Join(old.folder.Rename(deleted, old.segments.Load().all), fsys.SyncDir(old.dir.path)); err != nil {
		return nil, old.failed("renaming the folder of", err)
	}
	live := filepath.Join(future.dir.path, future.tp.String())
	if err := future.folder.Rename(live, future.segments.Load().all); err != nil {
		err = future.failed("renaming the folder of", err)
		if back := errors.Join(old.folder.Rename(oldName, old.segments.Load().all), fsys.SyncDir(old.dir.path)); back != nil {
			return nil, old.failed("renaming the folder of", back)
		}
		return nil, err
	}
	// Should power loss take the renaming back, the next start completes it.
	_ = future.dir.checked(fsys.SyncDir(future.dir.path))
	v.takeOver()
	for _, s := range old.segments.Load().all {
		s.ReleaseFiles()
	}
	old.dir.removeLater(old.dir.removalOf(deleted, old.SizeBytes(), nowMs+old.Config().FileDeleteDelayMs))
	m.endMove(v, false)
	_ = future.dir.checked(fsys.Remove(filepath.Join(live, moveCompleteFile))) // it says nothing about a live log
	slog.Info("moved a log to another log dir", "partition", old.tp.String(), "from", old.dir.path, "to", future.dir.path)
	return future, nil
}

// makeDurable gives the future log what is not in the batches, and makes it, the checkpoint files
// of its log dir and the mark of its completeness durable. It needs the old log's flushMu.
func (v *Move) makeDurable() error {
	old, future, d := v.log, v.future, v.target
	old.mu.Lock()
	var snapshot []byte
	if old.producers.Len() > 0 {
		snapshot = old.producers.EncodeSnapshot()
	}
	old.mu.Unlock()
	future.mu.Lock()
	future.startOffset.Store(old.startOffset.Load())
	future.highWatermark.Store(old.highWatermark.Load())
	future.cleanedOffset.Store(min(old.cleanedOffset.Load(), future.endOffset.Load()))
	future.epochs.Store(old.epochs.Load())
	future.epochsChanged, future.unsyncedFolder = true, true
	future.mu.Unlock()
	future.flushMu.Lock()
	err := future.flush()
	future.flushMu.Unlock()
	if err != nil {
		return err
	}
	fsys, folder := d.shared.fs, future.folder.Path()
	end := future.endOffset.Load()
	if snapshot != nil {
		// What the batches say of producers is less: some have gone below the log start offset.
		if err := vfs.WriteFileAtomic(fsys, snapshotPath(folder, end), snapshot); err != nil {
			return future.failed("writing the producer snapshot of", err)
		}
		future.mu.Lock()
		if at, found := slices.BinarySearch(future.snapshots.onDisk, end); !found {
			future.snapshots.onDisk = slices.Insert(future.snapshots.onDisk, at, end)
		}
		future.mu.Unlock()
	}
	d.setArriving(future)
	d.markAllChanged()
	for _, c := range []*offsetCheckpoint{&d.recoveryPoints, &d.highWatermarks, &d.logStarts, &d.cleanedOffsets} {
		if err := d.checked(c.write(d)); err != nil {
			return fmt.Errorf("note the offsets of %s: %w", old.tp, err)
		}
	}
	if err := vfs.WriteFileAtomic(fsys, filepath.Join(folder, moveCompleteFile), nil); err != nil {
		return future.failed("completing the move of", err)
	}
	return nil
}

func (d *logDir) setArriving(l *Log) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.arriving = l
}

// takeOver makes the future log the live one in memory.
func (v *Move) takeOver() {
	m, old, future := v.manager, v.log, v.future
	old.mu.Lock()
	future.mu.Lock()
	future.producers, old.producers = old.producers, future.producers
	future.unstable.Store(old.unstable.Load())
	future.config.Store(old.config.Load())
	future.clean = cleanState{}
	old.closed.Store(ErrMoved)
	future.mu.Unlock()
	old.mu.Unlock()
	future.dir.put(future)
	old.dir.forget(old)
	m.sorted.Store(nil)
}
