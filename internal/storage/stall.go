package storage

import "log/slog"

// SetStalled says whether calls on the disk of a log dir return. While they do not, what would only
// wait behind them is refused with KAFKA_STORAGE_ERROR, which clients retry.
func (m *Manager) SetStalled(path string, stalled bool) (changed bool) {
	for _, d := range m.dirs {
		if d.path != path || d.offline.Load() || d.stalled.Swap(stalled) == stalled {
			continue
		}
		changed = true
		if stalled {
			d.metrics.stalledDirs.Add(1)
			slog.Error("a log dir does not answer: its partitions are refused until it does; look at the disk", "dir", d.path)
		} else {
			d.metrics.stalledDirs.Add(-1)
			slog.Warn("a log dir answers again", "dir", d.path)
		}
	}
	return changed
}

// FailDir takes a log dir offline.
func (m *Manager) FailDir(path string, err error) {
	for _, d := range m.dirs {
		if d.path == path {
			d.fail(err)
		}
	}
}
