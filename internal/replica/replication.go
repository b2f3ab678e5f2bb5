package replica

import (
	"log/slog"
	"slices"
	"time"

	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/quota"
)

// Cluster connects the replicas of this broker with those of others.
type Cluster struct {
	// LagMaxMs is replica.lag.time.max.ms.
	LagMaxMs int64
	// Follow has a partition fetched from its leader, and from nobody else; Unfollow from nobody. Flushed
	// says that partitions led by a broker may be fetched on. They are follower/host's, and do not block.
	Follow   func(p *partition.Partition, leader, leaderEpoch int32)
	Unfollow func(p *partition.Partition)
	Flushed  func(leader int32)
	// Propose takes a change of the in-sync replicas to the controller. It is isr/host's, and does not block.
	Propose func(p *partition.Partition, change *partition.ISRChange)
	// Throttle holds back what followers fetch that are not in sync, of the replicas that it covers; nil for none.
	Throttle *quota.Replication
	// Mend has what is damaged in the log of a partition mended with what other replicas have. It is repair/host's, and
	// does not block.
	Mend func(p *partition.Partition)
	// BrokerEpoch is the one in which this broker is registered.
	BrokerEpoch func() int64
	// NearestByRack has leaders send consumers to an in-sync replica in their rack (KIP-392).
	NearestByRack bool
	// Isolated reports whether no majority of the controllers has answered this broker for SessionTimeout, or it does not know yet what
	// they have decided since; nil for never.
	Isolated       func() bool
	SessionTimeout time.Duration
}

// follow has a replica fetch what its leader has.
func (m *Manager) follow(r *Replica, p *metadata.Partition) {
	if m.options.Cluster != nil {
		m.options.Cluster.Follow(r.Partition, p.Leader, p.LeaderEpoch)
	}
}

func (m *Manager) unfollow(r *Replica) {
	if m.options.Cluster != nil {
		m.options.Cluster.Unfollow(r.Partition)
	}
}

func (m *Manager) propose(r *Replica, change *partition.ISRChange) {
	if change != nil && m.options.Cluster != nil {
		m.options.Cluster.Propose(r.Partition, change)
	}
}

// watchDamage has damage in the replica's log mended, if others may have what was there.
func (m *Manager) watchDamage(r *Replica) {
	if c := m.options.Cluster; c != nil && c.Mend != nil {
		r.Log().OnDamage(func() {
			r.NoteDamage()
			c.Mend(r.Partition)
		})
	}
}

func (m *Manager) replicationOptions(r *Replica) partition.ReplicationOptions {
	mayJoin := func(broker int32, brokerEpoch int64) bool {
		return m.mayJoin(broker, brokerEpoch) && m.hasLogDir(r, broker)
	}
	o := partition.ReplicationOptions{MayJoin: mayJoin, Appended: r.appended, Moved: r.moved}
	if c := m.options.Cluster; c != nil {
		o.LagMaxMs, o.Flushed = c.LagMaxMs, c.Flushed
		o.IsRegistered = func() bool { return m.mayJoin(m.options.NodeID, c.BrokerEpoch()) }
	}
	return o
}

// mayJoin reports whether a broker may be in sync.
func (m *Manager) mayJoin(broker int32, brokerEpoch int64) bool {
	b := m.image.Load().Broker(broker)
	return b != nil && b.Epoch == brokerEpoch && b.Active()
}

// hasLogDir reports whether a broker can use the log dir that the metadata names of its replica. Where that has failed nobody
// fetches for it any more, though the broker lives on with another one: the controller would refuse it, and it is not to be waited for.
func (m *Manager) hasLogDir(r *Replica, broker int32) bool {
	image, tp := m.image.Load(), r.TopicPartition()
	topic, b := image.TopicByName(tp.Topic), image.Broker(broker)
	if topic == nil || topic.ID != r.topicID || b == nil {
		return false
	}
	p := topic.Partition(tp.Partition)
	if p == nil {
		return false
	}
	return !b.HasFailedDirectory(p)
}

// CheckLag proposes to take followers out of the in-sync replicas that have not caught up for too long. Replicas here
// step aside where others have room and they have not: leaders on a log dir that refuses producers, followers whose log
// did not take what they have fetched; and all on a log dir that does not answer.
func (m *Manager) CheckLag(nowMs int64) {
	m.mu.RLock()
	replicas := m.replicas.inOrder()
	m.mu.RUnlock()
	low, stalled, stepped := m.options.Storage.LowDirs(), m.options.Storage.StalledDirs(), 0
	stepAside := func(r *Replica) {
		if change := r.StepAside(nowMs); change != nil {
			stepped++
			m.propose(r, change)
		}
	}
	for _, r := range replicas {
		if r.Usable() != nil {
			if r.offline == nil && slices.Contains(stalled, r.Log().Dir()) {
				stepAside(r)
			}
			continue
		}
		m.propose(r, r.Lagging(nowMs))
		switch isLow := slices.Contains(low, r.Log().Dir()); {
		case r.IsLeader() && isLow || !r.IsLeader() && r.RefusesFetched() && !r.IsAside():
			stepAside(r)
		case !isLow:
			r.ComeBack(nowMs)
		}
	}
	if stepped > 0 {
		slog.Warn("replicas on log dirs that take no more step aside for others", "replicas", stepped)
	}
}

// registerReplication registers what tells whether the replicas of partitions are as they should be.
func (m *Manager) registerReplication(count func(counts func(r *Replica) bool) func() float64) {
	leads := func(counts func(a partition.Assignment) bool) func() float64 {
		return count(func(r *Replica) bool { return r.Usable() == nil && r.IsLeader() && counts(r.Assignment()) })
	}
	registry := m.options.Metrics
	registry.GaugeFunc("kafka_server_replicamanager_underreplicatedpartitions", "Partitions led here that have fewer in-sync replicas than replicas.", leads(lacksReplicas))
	registry.GaugeFunc("kafka_server_replicamanager_underminisrpartitioncount", "Partitions led here with fewer in-sync replicas than min.insync.replicas: acks=all is refused.",
		leads(func(a partition.Assignment) bool { return len(a.ISR) < a.EffectiveMinISR() }))
	registry.GaugeFunc("kafka_server_replicamanager_atminisrpartitioncount", "Partitions led here with as many in-sync replicas as min.insync.replicas: one less, and acks=all is refused.",
		leads(func(a partition.Assignment) bool { return len(a.ISR) == a.EffectiveMinISR() }))
	registry.GaugeFunc("kafka_server_replicafetchermanager_maxlag", "Records that the follower furthest behind here has not fetched of what its leader has committed.", m.maxLag)
	registry.AddSource(m.behind)
}

func (m *Manager) maxLag() float64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	most := int64(0)
	for _, r := range m.replicas.all() {
		if r.offline == nil && !r.IsLeader() {
			most = max(most, r.Lag())
		}
	}
	return float64(most)
}
