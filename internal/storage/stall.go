package storage

import "log/slog"

// SetStalled says whether calls on the disk of a log dir return. While they do not, what would only wait behind them is refused with KAFKA_STORAGE_ERROR, which clients retry.
func (m *Manager) SetStalled(path string, stalled bool) (changed bool) {
	for _, d := range m.dirs {
		if d.path != path || stalled && d.offline.Load() || d.stalled.Swap(stalled) == stalled {
			continue
		}
		d.metrics.stalledDirs.Add(map[bool]int64{true: 1, false: -1}[stalled])
		if changed = !d.offline.Load(); !changed {
			continue // it has not answered in time
		}
		slog.Error("a log dir does not answer, or does so again: until then its partitions are refused; look at the disk", "dir", d.path, "answers", !stalled)
	}
	return changed
}

// StalledDirs returns the log dirs on whose disks calls do not return at the moment.
func (m *Manager) StalledDirs() (stalled []string) {
	for _, d := range m.dirs {
		if d.stalled.Load() {
			stalled = append(stalled, d.path)
		}
	}
	return stalled
}

// FailDir takes a log dir offline.
func (m *Manager) FailDir(path string, err error) {
	for _, d := range m.dirs {
		if d.path == path {
			d.fail(err)
		}
	}
}
