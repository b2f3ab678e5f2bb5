package replica

import (
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/purgatory"
	"github.com/moldau/moldau/internal/replica/plan"
	"github.com/moldau/moldau/internal/storage"
)

// TopicConfig is what a partition needs of its topic's configs.
type TopicConfig struct {
	Log               *storage.LogConfig // shared by the topic's logs
	MinInSyncReplicas int
}

// Options configure a Manager.
type Options struct {
	NodeID  int32
	Storage *storage.Manager
	Metrics *metrics.Registry
	Clock   env.Clock
	// TopicConfig returns the configs of a topic as image has them.
	TopicConfig func(image *metadata.Image, topic string) TopicConfig
	// OnMisplaced is called when TakeMisplaced has something new; it must not block.
	OnMisplaced func()
	// MaxWaiting bounds the fetches, and the appends, that wait at a time.
	MaxWaiting int
	// FetchMemoryBytes is how much the responses of all fetches may take together, beyond a first
	// batch each.
	FetchMemoryBytes int64
	// Cluster is what replicas on several brokers need; nil on a node that is alone.
	Cluster *Cluster
}

// Manager hosts the replicas of this broker.
type Manager struct {
	options Options
	fetches *purgatory.Purgatory
	commits *purgatory.Purgatory

	fetchMemory fetchMemory

	// news counts what followers must hear of at once though nothing is appended: this broker begins to lead what
	// they follow, or has deleted records on request. Their fetches wait for it, too.
	news        atomic.Int64
	newsWaiters purgatory.List
	// followers are, by broker, those that have fetched from here or have a replica of what is here.
	followers sync.Map // int32 to *follower
	// followersHeard are, by broker, when was heard of those that fetch from here; the Manager's time begins at since.
	followersHeard sync.Map // int32 to *followerContact
	since          time.Time
	anyAbandoned   atomic.Bool // of the replicas, as NoteAbandoned has found them

	applying sync.Mutex // taken first
	started  bool
	image    atomic.Pointer[metadata.Image] // the last one that Apply was given

	mu       sync.RWMutex
	replicas table
	// misplaced are the replicas of which the metadata names another log dir, or none.
	misplaced map[kafka.TopicIDPartition]kafka.UUID
}

// Replica is a partition on this broker and who waits for it.
type Replica struct {
	*partition.Partition
	// offline is why there is no Partition: its log could not be opened.
	offline *kafka.Error
	topicID kafka.UUID
	number  int32 // of the partition

	fetchWaiters  purgatory.List
	commitWaiters purgatory.List
	followers     atomic.Pointer[[]*follower] // of Manager.followers, those with the other replicas
	// committedBytes counts what was announced, partition.Everything included, so that a fetch finds out what it
	// missed between reading and waiting.
	committedBytes atomic.Int64
	// lostFrom is one more than the leader epoch in which another broker took the leadership over from this one.
	lostFrom atomic.Int32
	// reportedMs is when a failed read was logged last.
	reportedMs atomic.Int64
	// abandoned says that another broker may lead the partition by now, as NoteAbandoned has found last.
	abandoned atomic.Bool
}

const reportIntervalMs = 60_000

// ReportReadError logs why records cannot be read, at most once a minute per partition: consumers
// ask again as fast as they are answered.
func (r *Replica) ReportReadError(err error, nowMs int64) {
	last := r.reportedMs.Load()
	if nowMs-last >= reportIntervalMs && r.reportedMs.CompareAndSwap(last, nowMs) {
		slog.Error("cannot read a partition; this is said once a minute", "partition", r.TopicPartition().String(), "error", err)
	}
}

// Usable returns why the replica's data cannot be reached, or nil. A log dir may fail at any time.
func (r *Replica) Usable() error {
	if r.offline != nil {
		return r.offline
	}
	return r.Log().Usable()
}

func (r *Replica) advanced(bytes int64) {
	r.committedBytes.Add(bytes)
	r.fetchWaiters.Notify(bytes)
	r.commitWaiters.Notify(bytes)
}

// release lets everybody go who waits for the replica: what they wait for may not come.
func (r *Replica) release() {
	r.fetchWaiters.CompleteAll()
	r.call(r.followers.Load())
	r.commitWaiters.CompleteAll()
}

// New returns a Manager without replicas. Register Apply with the metadata loader, and call
// Start once the loader has caught up.
func New(o Options) *Manager {
	m := &Manager{
		options:  o,
		since:    o.Clock.Now(),
		fetches:  purgatory.New("fetch", o.MaxWaiting, o.Metrics),
		commits:  purgatory.New("produce", o.MaxWaiting, o.Metrics),
		replicas: table{}, misplaced: map[kafka.TopicIDPartition]kafka.UUID{},
	}
	m.fetchMemory.limit = o.FetchMemoryBytes
	o.Metrics.GaugeFunc("moldau_fetch_memory_bytes", "Memory that the responses of fetches take until they are written.", func() float64 { return float64(m.fetchMemory.used.Load()) })
	m.image.Store(metadata.EmptyImage())
	count := func(counts func(r *Replica) bool) func() float64 {
		return func() float64 { return float64(m.count(counts)) }
	}
	o.Metrics.GaugeFunc("moldau_partitions", "Replicas on this broker.", count(func(*Replica) bool { return true }))
	o.Metrics.GaugeFunc("moldau_leader_partitions", "Partitions that this broker leads.", count(func(r *Replica) bool { return r.Usable() == nil && r.IsLeader() }))
	o.Metrics.GaugeFunc("moldau_offline_replicas", "Replicas whose log cannot be used.", count(func(r *Replica) bool { return r.Usable() != nil }))
	m.registerReplication(count)
	return m
}

func (m *Manager) count(counts func(r *Replica) bool) (n int) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, r := range m.replicas.all() {
		if counts(r) {
			n++
		}
	}
	return n
}

// Image returns the latest metadata that Apply was given.
func (m *Manager) Image() *metadata.Image { return m.image.Load() }

// Lookup returns the replica of tp. Where there is none, the error tells a partition that
// does not exist from one that lives elsewhere: a client looks for the leader only in the
// second case.
func (m *Manager) Lookup(tp kafka.TopicPartition) (*Replica, error) {
	r := m.find(tp)
	switch {
	case r == nil && m.image.Load().Partition(tp.Topic, tp.Partition) == nil:
		return nil, kafka.Errorf(kafka.ErrUnknownTopicOrPartition, "partition %s does not exist", tp)
	case r == nil:
		return nil, kafka.Errorf(kafka.ErrNotLeaderOrFollower, "broker %d has no replica of %s", m.options.NodeID, tp)
	}
	if err := r.Usable(); err != nil {
		return nil, err
	}
	return r, nil
}

// find returns the replica of tp, usable or not, or nil.
func (m *Manager) find(tp kafka.TopicPartition) *Replica {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.replicas.get(tp)
}

// Start hosts what the last applied image assigns to this broker, after setting aside the
// logs of topics that the image does not know. Before Start, Apply only remembers the image:
// replaying a long metadata log must not create and delete what has long been gone, nor take
// a log for a stray because its topic has not come up yet.
func (m *Manager) Start() error {
	m.applying.Lock()
	defer m.applying.Unlock()
	image := m.image.Load()
	strays, err := m.options.Storage.HandleStrays(func(tp kafka.TopicIDPartition) bool {
		t := image.TopicByID(tp.TopicID)
		if named := image.TopicByName(tp.Topic); t == nil && named != nil && (tp.TopicID.IsZero() || tp.TopicID.IsMisreadOf(named.ID)) {
			// From before topic ids, or the file with the id is damaged: the metadata, which is
			// always on disk, knows the topic by its name.
			t = named
		}
		p := (*metadata.Partition)(nil)
		if t != nil && t.Name == tp.Topic {
			p = t.Partition(tp.Partition)
		}
		if p != nil && tp.TopicID.IsZero() && m.hasOthersInSync(p) {
			// A power loss took the file with the id, and so nothing here was durable. It may be an earlier
			// topic's of the same name, whose folder is back, too: others have what counts.
			return false
		}
		return p != nil && slices.Contains(p.Replicas, m.options.NodeID)
	})
	if err != nil {
		return err
	}
	for _, tp := range strays {
		slog.Warn("set a log aside: the cluster does not have this partition on this broker; its folder ends in -stray and may be deleted", "partition", tp.String(), "topic_id", tp.TopicID.String())
	}
	for t := range image.Topics() {
		config := m.options.TopicConfig(image, t.Name)
		for _, p := range t.Partitions {
			if slices.Contains(p.Replicas, m.options.NodeID) {
				m.host(kafka.TopicIDPartition{TopicID: t.ID, TopicPartition: kafka.TopicPartition{Topic: t.Name, Partition: p.ID}}, p, config, false)
			}
		}
	}
	m.started = true
	return nil
}

// hasOthersInSync reports whether another broker leads a partition or may, with all that is committed.
func (m *Manager) hasOthersInSync(p *metadata.Partition) bool {
	return m.options.Cluster != nil && p.Leader != m.options.NodeID && slices.ContainsFunc(p.ISR, func(broker int32) bool { return broker != m.options.NodeID })
}

// Apply is the metadata publisher: it starts, changes and stops replicas as delta says.
func (m *Manager) Apply(image *metadata.Image, delta *metadata.Delta) {
	m.applying.Lock()
	defer m.applying.Unlock()
	// First of all: who is woken because its topic is gone must find it gone.
	m.image.Store(image)
	if !m.started {
		return
	}
	configs := map[string]TopicConfig{} // one per topic, since its logs share it
	config := func(topic string) TopicConfig {
		c, ok := configs[topic]
		if !ok {
			c = m.options.TopicConfig(image, topic)
			configs[topic] = c
		}
		return c
	}
	isElected := false
	for _, step := range plan.Steps(m.options.NodeID, delta.ChangedPartitions()) {
		if step.Role == plan.Stop {
			m.stop(step.PartitionChange)
			continue
		}
		m.host(kafka.TopicIDPartition{TopicID: step.TopicID, TopicPartition: kafka.TopicPartition{Topic: step.Topic, Partition: step.ID}},
			step.New, config(step.Topic), step.IsNew)
		isElected = isElected || step.IsElected
	}
	if isElected {
		m.tellFollowers()
	}
	m.applyConfigs(delta, config)
}

// host creates or changes a replica.
func (m *Manager) host(id kafka.TopicIDPartition, p *metadata.Partition, config TopicConfig, isNew bool) {
	tp := id.TopicPartition
	directory, _ := p.Directory(m.options.NodeID)
	r := m.find(tp)
	if r == nil || r.offline != nil || r.topicID != id.TopicID {
		r = m.open(id, storage.Placement{Directory: m.placeFor(p, directory), New: isNew}, config)
		m.mu.Lock()
		m.replicas.put(tp, r)
		m.mu.Unlock()
	}
	if r.offline != nil {
		return
	}
	if r.Log().DirectoryID() != directory {
		m.noteMisplaced(id, r.Log().DirectoryID())
	}
	if r.Usable() != nil {
		// Whatever the metadata says: it cannot be used, and an append that waits for its disk keeps
		// its role from changing.
		if p.Leader != m.options.NodeID {
			r.Depose()
		}
		r.release()
		m.unfollow(r)
		return
	}
	former, wasLeader := m.noteFollowers(r, p.Replicas), r.IsLeader()
	err := r.Apply(partition.Assignment{Leader: p.Leader, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch,
		Replicas: p.Replicas, Adding: len(p.AddingReplicas), ISR: p.ISR, MinInSyncReplicas: config.MinInSyncReplicas}, m.options.Clock.Now().UnixMilli())
	if err != nil {
		slog.Error("cannot take over a partition; it stays without leader until its log dir is repaired and the broker restarted", "partition", tp.String(), "error", err)
	}
	// Fetches come back with the new epoch, appends of an epoch that is over with an error.
	r.fetchWaiters.CompleteAll()
	if wasLeader && p.Leader != m.options.NodeID {
		r.lostFrom.Store(p.LeaderEpoch + 1)
	}
	if wasLeader {
		r.call(former) // also those that have no replica any more
		r.call(r.followers.Load())
	}
	r.abandoned.Store(false)
	r.commitWaiters.Notify(0)
	if plan.Of(m.options.NodeID, p) == plan.Follow {
		m.follow(r, p)
	} else {
		m.unfollow(r)
	}
}

// placeFor returns the log dir where the log of a partition is to be: the one that the metadata names, or any where the
// broker does not have that one any more. Its log begins anew only where others have all that is committed and
// this broker does not count as one that has it, since it would come to lead with nothing otherwise; and the storage
// refuses it while a log dir is offline.
func (m *Manager) placeFor(p *metadata.Partition, named kafka.UUID) kafka.UUID {
	self := m.options.NodeID
	if !m.hasOthersInSync(p) || p.Leader == kafka.NoLeader || slices.Contains(p.ISR, self) || slices.Contains(p.ELR, self) ||
		slices.Contains(m.options.Storage.Directories(false), named) {
		return named
	}
	return kafka.DirectoryUnassigned
}

func (m *Manager) open(tp kafka.TopicIDPartition, place storage.Placement, config TopicConfig) *Replica {
	r := &Replica{topicID: tp.TopicID, number: tp.Partition}
	log, err := m.options.Storage.Place(tp, place, config.Log, m.options.Clock.Now().UnixMilli())
	if err != nil {
		slog.Error("cannot open the log of a partition; it is offline on this broker", "partition", tp.TopicPartition.String(), "topic_id", tp.TopicID.String(), "error", err)
		r.offline = &kafka.Error{Code: kafka.ErrKafkaStorageError, Message: "the log of " + tp.TopicPartition.String() + " cannot be opened on this broker", Cause: err}
		return r
	}
	r.Partition = partition.New(tp.TopicID, m.options.NodeID, log, m.replicationOptions(r), r.advanced)
	m.watchDamage(r)
	return r
}

// stop ends a replica whose topic was deleted or that was moved away, and deletes its log.
func (m *Manager) stop(change metadata.PartitionChange) {
	tp := kafka.TopicPartition{Topic: change.Topic, Partition: change.ID}
	m.mu.Lock()
	r := m.replicas.get(tp)
	if r == nil || r.topicID != change.TopicID {
		m.mu.Unlock()
		return // never here, or another topic of this name is
	}
	m.replicas.remove(tp)
	m.mu.Unlock()
	if r.offline != nil { // the folder of a log that could not be opened goes, too
		if err := m.options.Storage.DeleteDamaged(tp); err != nil {
			slog.Error("cannot delete the folder of a damaged partition: delete it by hand", "partition", tp.String(), "error", err)
		}
		return
	}
	why := kafka.Errorf(kafka.ErrNotLeaderOrFollower, "broker %d has no replica of %s any more", m.options.NodeID, tp)
	if change.New == nil {
		why = kafka.Errorf(kafka.ErrUnknownTopicOrPartition, "topic %s was deleted", tp.Topic)
	}
	r.Close(why)
	r.release()
	m.unfollow(r)
	if err := m.options.Storage.Delete(tp, m.options.Clock.Now().UnixMilli()); err != nil {
		slog.Error("cannot delete the log of a partition; it is set aside as a stray at the next start", "partition", tp.String(), "error", err)
	}
}

// applyConfigs hands changed configs to the logs. A change of a broker's configs may change
// the defaults of every topic.
func (m *Manager) applyConfigs(delta *metadata.Delta, config func(topic string) TopicConfig) {
	topics, everything := map[string]bool{}, false
	for _, change := range delta.ChangedConfigs() {
		switch change.Resource.Type {
		case kafka.ConfigResourceTopic:
			topics[change.Resource.Name] = true
		case kafka.ConfigResourceBroker:
			everything = true
		}
	}
	if !everything && len(topics) == 0 {
		return
	}
	m.mu.RLock()
	var changed []*Replica
	for tp, r := range m.replicas.all() {
		if r.Usable() == nil && (everything || topics[tp.Topic]) {
			changed = append(changed, r)
		}
	}
	m.mu.RUnlock()
	for _, r := range changed {
		c := config(r.TopicPartition().Topic)
		r.Log().UpdateConfig(c.Log)
		if a := r.Assignment(); a.MinInSyncReplicas != c.MinInSyncReplicas {
			a.MinInSyncReplicas = c.MinInSyncReplicas
			if err := r.Apply(a, m.options.Clock.Now().UnixMilli()); err != nil {
				slog.Error("cannot change min.insync.replicas of a partition", "partition", r.TopicPartition().String(), "error", err)
			}
		}
	}
}

// Stop lets everything that waits return. The metadata must not be applied any more.
func (m *Manager) Stop() {
	m.mu.RLock()
	replicas := m.replicas.inOrder() // so that who waits hears of it in the same order in every run of the simulation
	m.mu.RUnlock()
	for _, r := range replicas {
		if r.offline == nil {
			r.Close(kafka.Errorf(kafka.ErrNotLeaderOrFollower, "broker %d is stopping", m.options.NodeID))
			r.release()
			m.unfollow(r)
		}
	}
}
