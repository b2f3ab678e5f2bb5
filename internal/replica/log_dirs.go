package replica

import "github.com/moldau/moldau/internal/kafka"

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
	for _, r := range m.replicas {
		if r.usable() != nil {
			offline = append(offline, r)
		}
	}
	m.mu.RUnlock()
	for _, r := range offline {
		r.fetchWaiters.CompleteAll()
		r.commitWaiters.CompleteAll()
	}
}
