package replica

import (
	"slices"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/storage"
)

// noteMisplaced has the controller told in which log dir a replica lies.
func (m *Manager) noteMisplaced(tp kafka.TopicIDPartition, directory kafka.UUID) {
	if directory.IsZero() || m.options.OnMisplaced == nil {
		return
	}
	m.mu.Lock()
	m.misplaced[tp] = directory
	m.mu.Unlock()
	m.options.OnMisplaced()
}

// TakeMisplaced returns the replicas whose log dir the metadata does not know, and which it is.
// They are told once; the metadata's next change of the partition finds out whether that helped.
func (m *Manager) TakeMisplaced() map[kafka.TopicIDPartition]kafka.UUID {
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := m.misplaced
	m.misplaced = map[kafka.TopicIDPartition]kafka.UUID{}
	return taken
}

// PutMisplaced takes back what could not be told.
func (m *Manager) PutMisplaced(misplaced map[kafka.TopicIDPartition]kafka.UUID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for tp, directory := range misplaced {
		if _, newer := m.misplaced[tp]; !newer {
			m.misplaced[tp] = directory
		}
	}
}

// WakeOffline lets those go who wait for replicas in log dirs that have failed.
func (m *Manager) WakeOffline() {
	m.mu.RLock()
	var offline []*Replica
	for _, r := range m.replicas.all() {
		if r.Usable() != nil {
			offline = append(offline, r)
		}
	}
	m.mu.RUnlock()
	for _, r := range offline {
		r.release()
	}
}

// Reapply hosts everything again as the metadata has it, after a log dir did not answer for a while
// and changes of its partitions were left out.
func (m *Manager) Reapply() {
	m.applying.Lock()
	defer m.applying.Unlock()
	image := m.image.Load()
	for t := range image.Topics() {
		config := m.options.TopicConfig(image, t.Name)
		for _, p := range t.Partitions {
			tp := kafka.TopicIDPartition{TopicID: t.ID, TopicPartition: kafka.TopicPartition{Topic: t.Name, Partition: p.ID}}
			if !slices.Contains(p.Replicas, m.options.NodeID) {
				continue
			}
			m.host(tp, p, config, false)
			if r, err := m.Lookup(tp.TopicPartition); err == nil {
				r.Log().UpdateConfig(config.Log)
			}
		}
	}
}

// MoveReplica has the replica of tp moved to the log dir at the absolute path dir, or created there
// if it comes to exist; then the error is REPLICA_NOT_AVAILABLE, as in Kafka.
func (m *Manager) MoveReplica(tp kafka.TopicPartition, dir string) error {
	if len(tp.String())+len(".0123456789abcdef0123456789abcdef-future") > 255 {
		return kafka.Errorf(kafka.ErrInvalidTopicException, "the topic name of %s is too long for a move to another log dir", tp)
	}
	if err := m.options.Storage.CheckDir(dir); err != nil {
		return err
	}
	_, unknown := m.Lookup(tp)
	if kafka.CodeOf(unknown) == kafka.ErrKafkaStorageError {
		return unknown
	}
	err := m.options.Storage.Move(tp, dir)
	if kafka.CodeOf(unknown) == kafka.ErrUnknownTopicOrPartition {
		return unknown
	}
	return err
}

// FinishMove puts the replica's log in its new log dir in the place of the old one.
func (m *Manager) FinishMove(v *storage.Move) error {
	tp := kafka.TopicIDPartition{TopicID: v.Log().TopicID(), TopicPartition: v.Log().TopicPartition()}
	r, err := m.Lookup(tp.TopicPartition)
	if err != nil {
		return err
	}
	if r.TopicID() != tp.TopicID {
		return kafka.Errorf(kafka.ErrInconsistentTopicID, "%s is another topic now", tp.TopicPartition)
	}
	if err := r.SwapLog(func() (*storage.Log, error) { return v.Finish(m.options.Clock.Now().UnixMilli()) }); err != nil {
		return err
	}
	m.watchDamage(r)
	m.applying.Lock()
	defer m.applying.Unlock()
	r.Log().UpdateConfig(m.options.TopicConfig(m.image.Load(), tp.Topic).Log) // it may have changed in between
	m.noteMisplaced(tp, r.Log().DirectoryID())
	return nil
}
