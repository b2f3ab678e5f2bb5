package sim

import (
	"github.com/moldau/moldau/internal/coordinator"
	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/group"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/replica"
	"github.com/moldau/moldau/internal/shard"
	"github.com/moldau/moldau/internal/txn"
)

const (
	// CoordinatorPartitions is how many partitions the coordinators' topics have.
	CoordinatorPartitions = 2
	// ProducerExpirationMs is more than a run takes: a producer that expires, or offsets that do, would excuse what the
	// checkers forbid.
	ProducerExpirationMs = 30 * 24 * 3_600_000
	// mostTurns is more than anything needs that comes at once.
	mostTurns = 10_000
)

// CoordinatorsOptions are what the coordinators need of their process.
type CoordinatorsOptions struct {
	Loop     Loop
	NodeID   int32
	Clock    env.Clock
	Random   env.Random
	Metrics  *metrics.Registry
	Replicas *replica.Manager
	Log      coordinator.Log // the replicas
	// IsAlive reports whether the process can still be heard.
	IsAlive func() bool
	// After plans something that does not happen if the process has ended by then.
	After func(delayMs int64, f func())
	// OnDisk runs what needs the disk: now, or when that answers again.
	OnDisk func(f func())
	// Appended is told that there may be something new for followers.
	Appended      func()
	NewProducerID func(done func(id int64, err error))
	// WriteMarkers has markers written by the leaders of partitions, and AddToTransaction a partition added by the
	// coordinator of a transaction, wherever these are.
	WriteMarkers     func(marker shard.Marker, partitions []kafka.TopicPartition, done func([]kafka.ErrorCode))
	AddToTransaction func(r txn.AddRequest, done func(kafka.ErrorCode))
}

// Coordinators are those of a process, and what the handlers do on the way to them.
type Coordinators struct {
	CoordinatorsOptions
	Groups       *Shards[*group.Shard]
	Transactions *Transactions
	image        *metadata.Image
}

// NewCoordinators returns the coordinators of a process that coordinates nothing yet.
func NewCoordinators(o CoordinatorsOptions) *Coordinators {
	c := &Coordinators{CoordinatorsOptions: o, image: metadata.EmptyImage()}
	m := group.NewMetrics(o.Metrics)
	c.Groups = newShards(c, coordinator.RuntimeOptions{Name: "group", Topic: kafka.ConsumerOffsetsTopic}, func() *group.Shard { return group.NewShard(groupConfig(), o.Random, m) })
	c.Transactions = newTransactions(c)
	return c
}

func groupConfig() group.Config {
	c := group.DefaultConfig()
	c.InitialRebalanceDelayMs = 100
	// The expiry of empty groups would excuse generations that begin again.
	c.RetentionCheckIntervalMs = ProducerExpirationMs
	return c
}

// Publish follows the metadata, after the replicas have.
func (c *Coordinators) Publish(image *metadata.Image, delta *metadata.Delta) {
	c.image = image
	c.Groups.publish(image, delta)
	var deleted []group.DeletedTopic
	for _, topic := range delta.DeletedTopics() {
		deleted = append(deleted, group.DeletedTopic{Name: topic.Name, ID: topic.ID})
	}
	if len(deleted) > 0 {
		c.Groups.runtime.Broadcast(func(s *group.Shard, _ shard.Token, nowMs int64) shard.Effects { return s.DeleteTopics(deleted, nowMs) })
	}
	c.Transactions.publish(image, delta)
}

// CheckLogs has all shards see whether another broker may coordinate by now.
func (c *Coordinators) CheckLogs() {
	c.Groups.runtime.CheckAppends()
	c.Transactions.runtime.CheckAppends()
}

// Shards drives the runtime of a coordinator, in the place of its workers and timer.
type Shards[S shard.Shard] struct {
	c       *Coordinators
	topic   string
	runtime *coordinator.Runtime[S]
	count   int32 // partitions of the topic, 0 while it does not exist
	turns   *Alarm
	timer   *Alarm
}

func newShards[S shard.Shard](c *Coordinators, o coordinator.RuntimeOptions, newShard func() S) *Shards[S] {
	s := &Shards[S]{c: c, topic: o.Topic}
	s.turns = NewAlarm(c.Loop.NowMs, c.After, func() { c.OnDisk(s.turn) })
	s.timer = NewAlarm(c.Loop.NowMs, c.After, s.due)
	o.Log, o.Clock, o.SteadyMs, o.Metrics = c.Log, c.Clock, c.Loop.NowMs, c.Metrics
	o.Wake = func() { s.turns.In(c.Loop.Between(0, 3)) }
	o.MaxBatchSizeBytes = func() int32 { return 1 << 20 }
	s.runtime = coordinator.NewRuntime(o, newShard)
	return s
}

func (s *Shards[S]) turn() {
	for turns := 0; s.c.IsAlive() && s.runtime.Turn(); turns++ {
		if turns == mostTurns {
			s.c.Loop.Fail("the coordinator of %s on node %d does not rest", s.topic, s.c.NodeID)
			return
		}
	}
	if s.c.IsAlive() {
		s.c.Appended()
		s.due()
	}
}

func (s *Shards[S]) due() {
	if next := s.runtime.ScheduleDue(); next != shard.NoDeadline {
		s.timer.In(max(1, next-s.c.Loop.NowMs()))
	}
}

func (s *Shards[S]) publish(image *metadata.Image, delta *metadata.Delta) {
	s.count = 0
	if topic := image.TopicByName(s.topic); topic != nil {
		s.count = int32(len(topic.Partitions))
	}
	for _, change := range delta.ChangedPartitions() {
		switch {
		case change.Topic != s.topic:
		case change.New != nil && change.New.Leader == s.c.NodeID:
			s.runtime.Elect(change.ID, change.New.LeaderEpoch)
		default:
			s.runtime.Resign(change.ID)
		}
	}
}

// do runs step on the shard that owns key; done is called once, when the answer may leave.
func (s *Shards[S]) do(key string, step coordinator.Step[S], done func(any, error)) {
	if s.count == 0 {
		done(nil, kafka.ErrCoordinatorNotAvailable)
		return
	}
	s.doIn(kafka.CoordinatorPartition(key, s.count), step, done)
}

// doIn is do for a known partition.
func (s *Shards[S]) doIn(partition int32, step coordinator.Step[S], done func(any, error)) {
	code := s.runtime.Enqueue(partition, step, func(r shard.Response) { done(r.Value, r.Err) })
	if code != kafka.ErrNone {
		done(nil, code)
	}
}

// Loaded returns the shard of a partition if it is loaded, after it has done what was to be done.
func (s *Shards[S]) Loaded(partition int32) (found S, ok bool) {
	s.doIn(partition, func(state S, token shard.Token, _ int64) shard.Effects {
		found, ok = state, true
		return shard.Effects{Responses: []shard.Response{{Token: token}}}
	}, func(any, error) {})
	s.turn()
	return found, ok
}
