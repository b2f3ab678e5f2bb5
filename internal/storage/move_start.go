package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/storage/folders"
)

// foundFuture is a future folder that a start has found.
type foundFuture struct {
	dir      *logDir
	tp       kafka.TopicPartition
	path     string
	complete bool
}

// settleFutures takes complete future folders whose log is gone for that log, and returns those beside a live log, of which the move is to begin again. With a log
// dir missing it cannot be told whether the log is gone.
func (m *Manager) settleFutures(futures []foundFuture, found []foundLog) (promoted []foundLog, again []foundFuture) {
	live := map[kafka.TopicPartition]bool{}
	for _, f := range found {
		live[f.tp] = true
	}
	for _, f := range futures {
		switch {
		case f.dir.offline.Load():
		case live[f.tp]:
			if err := m.discard(f.dir, f.tp, f.path); err != nil {
				f.dir.fail(err)
				continue
			}
			again = append(again, f)
		case !f.complete || len(m.OfflineDirs()) > 0:
			f.dir.waiting[f.tp] = f.complete
			slog.Error("a future log has no log to take the place of, and may not be all of it: it is left alone until the log dir with the log is back", "path", f.path)
		default:
			if err := f.promote(); err != nil {
				f.dir.fail(err)
				continue
			}
			live[f.tp] = true
			known := func(c *offsetCheckpoint) int64 { return c.lines[f.tp] }
			promoted = append(promoted, foundLog{f.dir, f.tp, knownOffsets{known(&f.dir.recoveryPoints), known(&f.dir.highWatermarks), known(&f.dir.logStarts), known(&f.dir.cleanedOffsets), false}})
		}
	}
	return promoted, again
}

// discard gives a folder that is no log a name that says so.
func (m *Manager) discard(d *logDir, tp kafka.TopicPartition, path string) error {
	m.shared.randomMu.Lock()
	renamed := filepath.Join(d.path, folders.Retired(tp, folders.DeleteSuffix, m.shared.random))
	m.shared.randomMu.Unlock()
	if err := errors.Join(m.shared.fs.Rename(path, renamed), m.shared.fs.SyncDir(d.path)); err != nil {
		return err
	}
	d.removeLater(d.removalOf(renamed, 0, 0))
	return nil
}

func (f foundFuture) promote() error {
	fsys, live := f.dir.shared.fs, filepath.Join(f.dir.path, f.tp.String())
	slog.Warn("completed a move to another log dir that a crash had interrupted", "partition", f.tp.String(), "dir", f.dir.path)
	if err := errors.Join(fsys.Rename(f.path, live), fsys.SyncDir(f.dir.path)); err != nil {
		return err
	}
	return fsys.Remove(filepath.Join(live, moveCompleteFile))
}

// resume wants the moves again that a crash or a stop has interrupted.
func (m *Manager) resume(again []foundFuture) {
	for _, f := range again {
		if l := m.Log(f.tp); l != nil && l.dir != f.dir && len(m.OfflineDirs()) == 0 {
			if err := m.want(l, f.dir); err != nil {
				slog.Error("cannot go on moving a log to another log dir", "partition", f.tp.String(), "error", err)
			}
		}
	}
}

func (d *logDir) parseFuture(name string) (foundFuture, bool) {
	tp, ok := folders.ParseFuture(name)
	if !ok {
		return foundFuture{}, false
	}
	f := foundFuture{dir: d, tp: tp, path: filepath.Join(d.path, name)}
	_, err := d.shared.fs.Stat(filepath.Join(f.path, moveCompleteFile))
	f.complete = err == nil
	return f, true
}

// checkDoubles refuses two logs of one partition: which one clients were answered from cannot be told.
func (m *Manager) checkDoubles() error {
	at := map[kafka.TopicIDPartition]*Log{}
	for _, l := range m.Logs() {
		id := kafka.TopicIDPartition{TopicID: l.TopicID(), TopicPartition: l.tp}
		if other := at[id]; other != nil && !id.TopicID.IsZero() {
			return fmt.Errorf("the log of %s is in %s and in %s: move one of the two folders %s away", l.tp, other.dir.path, l.dir.path, l.tp)
		}
		at[id] = l
	}
	return nil
}
