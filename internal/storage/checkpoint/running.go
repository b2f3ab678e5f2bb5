package checkpoint

import (
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/moldau/moldau/internal/env/vfs"
)

// RunningFileName is the file in a log dir that says in which broker epoch, and since which start of the machine,
// a broker has used it. Kafka has no such file, and does not look at it.
const RunningFileName = ".moldau_running"

// running is the content of such a file.
type running struct {
	Version     int    `json:"version"`
	BrokerEpoch *int64 `json:"brokerEpoch"`
	BootID      string `json:"bootId"`
}

// WriteRunning notes in log dirs that a broker uses them in an epoch. bootID names the machine's start.
func WriteRunning(fsys vfs.FS, dirs []string, brokerEpoch int64, bootID string) error {
	data, err := json.Marshal(running{BrokerEpoch: &brokerEpoch, BootID: bootID})
	for _, dir := range dirs {
		if err == nil {
			err = vfs.WriteFileAtomic(fsys, filepath.Join(dir, RunningFileName), data)
		}
	}
	return err
}

// NoteCleanStop has log dirs that were left cleanly say so, too, to the start after the one that follows, which removes what says it now: that one may
// be killed before it has registered, and the machine may have been started anew before it.
func NoteCleanStop(fsys vfs.FS, dirs []string, bootID string) error {
	left := int64(noBrokerEpoch)
	for i, dir := range dirs {
		epoch, found := ReadCleanShutdown(fsys, filepath.Join(dir, CleanShutdownFileName))
		if !found || epoch == noBrokerEpoch || i > 0 && epoch != left {
			return nil
		}
		left = epoch
	}
	return WriteRunning(fsys, dirs, left, bootID)
}

// Loss is whether a start has found that something is lost. The start after it may not find that any more.
type Loss struct {
	Tell  func() // is called once, before what is damaged is cut off; may be nil
	once  sync.Once
	found atomic.Bool
}

// Note notes that something is lost. It returns when that was told.
func (l *Loss) Note() {
	l.once.Do(func() {
		l.found.Store(true)
		if l.Tell != nil {
			l.Tell()
		}
	})
}

// Found reports whether something is lost.
func (l *Loss) Found() bool { return l.found.Load() }

// KeptBrokerEpoch returns the broker epoch in which log dirs were used last, if they have everything that was
// written since, although the broker did not stop cleanly: what a killed process wrote is in the page cache as
// long as the machine runs. It is -1 where that is not certain.
func KeptBrokerEpoch(fsys vfs.FS, dirs []string, bootID string) int64 {
	kept := int64(noBrokerEpoch)
	for i, dir := range dirs {
		data, err := vfs.ReadFile(fsys, filepath.Join(dir, RunningFileName), maxSmallFileBytes)
		if err != nil {
			return noBrokerEpoch
		}
		epoch := parseRunning(data, bootID)
		if epoch == noBrokerEpoch || i > 0 && epoch != kept {
			return noBrokerEpoch
		}
		kept = epoch
	}
	return kept
}

func parseRunning(data []byte, bootID string) int64 {
	var r running
	if err := json.Unmarshal(data, &r); err != nil || r.Version != 0 || r.BrokerEpoch == nil || bootID == "" || r.BootID != bootID {
		return noBrokerEpoch
	}
	return *r.BrokerEpoch
}

// RemoveRunning forgets it: a disk has failed, which may have lost what was written.
func RemoveRunning(fsys vfs.FS, dirs []string) (err error) {
	for _, dir := range dirs {
		if removed := fsys.Remove(filepath.Join(dir, RunningFileName)); !errors.Is(removed, fs.ErrNotExist) {
			err = errors.Join(err, removed)
		}
	}
	return err
}
