package storage

import (
	"fmt"

	"github.com/moldau/moldau/internal/kafka"
)

// Placement says where a replica's log is expected.
type Placement struct {
	// Directory is the log dir that the metadata names (KIP-858).
	Directory kafka.UUID
	// New says that the partition has just been created: its log cannot be anywhere yet.
	New bool
}

// anywhere places a new partition.
var anywhere = Placement{Directory: kafka.DirectoryUnassigned, New: true}

func (p Placement) isAssigned() bool {
	return p.Directory != kafka.DirectoryUnassigned && p.Directory != kafka.DirectoryMigrating
}

// GetOrCreate returns the log of tp, creating it in the log dir with the fewest logs. A log of another topic id under the same name is
// an INCONSISTENT_TOPIC_ID error; call HandleStrays and Delete first.
func (m *Manager) GetOrCreate(tp kafka.TopicIDPartition, config *LogConfig, nowMs int64) (*Log, error) {
	return m.Place(tp, anywhere, config, nowMs)
}

// Place is GetOrCreate for a log that may exist already, in a log dir that is offline now: then it is not created a second time, empty, elsewhere (as in Kafka).
func (m *Manager) Place(tp kafka.TopicIDPartition, p Placement, config *LogConfig, nowMs int64) (*Log, error) {
	m.changing.Lock()
	defer m.changing.Unlock()
	if l := m.Log(tp.TopicPartition); l != nil {
		if err := l.dir.offlineError(); err != nil {
			return l, err // before its locks, which calls on a disk that does not answer may hold
		}
		if err := l.adopt(tp.TopicID); err != nil {
			return l, err
		}
		l.UpdateConfig(config) // Load knew only the defaults
		return l, nil
	}
	if _, err := m.damageOf(tp.TopicPartition); err != nil {
		return nil, &kafka.Error{Code: kafka.ErrKafkaStorageError, Message: fmt.Sprintf("the files of %s are damaged", tp.TopicPartition), Cause: err}
	}
	if path := m.waitingFor(tp.TopicPartition); path != "" && !p.New {
		return nil, kafka.Errorf(kafka.ErrKafkaStorageError, "the log of %s may be in a log dir that is offline, and a copy of it is in %s: repair that log dir and restart", tp, path)
	}
	for {
		d, err := m.dirFor(tp.TopicPartition, p)
		if err != nil {
			return nil, err
		}
		var l *Log
		if err = m.retireLate(d, nowMs); err == nil {
			l, err = d.create(tp, config, nowMs)
		}
		if err == nil {
			d.put(l)
			m.sorted.Store(nil)
			return l, nil
		}
		if !d.offline.Load() {
			return nil, err
		}
		// The dir has just failed, and the next one may do.
	}
}

// waitingFor returns the log dir with a complete future log of tp that was left alone, else "".
func (m *Manager) waitingFor(tp kafka.TopicPartition) string {
	for _, d := range m.dirs {
		d.mu.Lock()
		waiting := d.waiting[tp]
		d.mu.Unlock()
		if waiting {
			return d.path
		}
	}
	return ""
}

func (d *logDir) create(tp kafka.TopicIDPartition, config *LogConfig, nowMs int64) (*Log, error) {
	d.mu.Lock()
	delete(d.waiting, tp.TopicPartition) // of another topic
	d.mu.Unlock()
	if err := d.checked(d.forgetLines(tp.TopicPartition)); err != nil {
		return nil, &kafka.Error{Code: kafka.ErrKafkaStorageError, Message: fmt.Sprintf("the disk failed while creating %s", tp.TopicPartition), Cause: err}
	}
	return createLog(d, tp, config, nowMs)
}

// dirFor chooses the log dir of a log that no log dir in use has.
func (m *Manager) dirFor(tp kafka.TopicPartition, p Placement) (best *logDir, err error) {
	if preferred := m.takePreferred(tp); preferred != nil && p.New && !p.isAssigned() {
		return preferred, nil
	}
	offline := ""
	for _, d := range m.dirs {
		switch {
		case d.offlineError() != nil:
			offline = d.path
		case p.isAssigned() && d.id == p.Directory:
			return d, nil
		case best == nil, best.cordoned.Load() && !d.cordoned.Load(), best.cordoned.Load() == d.cordoned.Load() && d.logCount() < best.logCount():
			best = d
		}
	}
	switch {
	case best == nil:
		return nil, kafka.Errorf(kafka.ErrKafkaStorageError, "every log dir is offline, so %s cannot be created", tp)
	case p.New:
		return best, nil
	case offline != "":
		return nil, kafka.Errorf(kafka.ErrKafkaStorageError, "the log of %s may be in log dir %s, which is offline: repair that and restart", tp, offline)
	case p.isAssigned():
		return nil, kafka.Errorf(kafka.ErrKafkaStorageError, "the log of %s is in none of log.dirs: it was in the one with directory.id %s. Mount or restore that folder and restart, or delete the topic", tp, p.Directory)
	}
	return best, nil
}

// SetCordoned says which log dirs get no new logs as long as there are others.
func (m *Manager) SetCordoned(cordoned func(path string) bool) {
	for _, d := range m.dirs {
		d.cordoned.Store(cordoned(d.path))
	}
}

// Directories returns the ids of the log dirs that are offline, or of those that are not, in the order of log.dirs, as far as they are known.
func (m *Manager) Directories(offline bool) (ids []kafka.UUID) {
	for _, d := range m.dirs {
		if d.offline.Load() == offline && !d.id.IsZero() {
			ids = append(ids, d.id)
		}
	}
	return ids
}
