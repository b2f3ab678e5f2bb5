package cluster

import (
	"github.com/moldau/moldau/internal/coordinator"
	"github.com/moldau/moldau/internal/group"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/shard"
)

// mostTurns is more than anything needs that comes at once.
const mostTurns = 10_000

// shards drives the runtime of a coordinator, in the place of its workers and timer.
type shards[S shard.Shard] struct {
	p       *process
	topic   string
	runtime *coordinator.Runtime[S]
	count   int32 // partitions of the topic, 0 while it does not exist
	turns   *alarm
	timer   *alarm
}

func newShards[S shard.Shard](p *process, o coordinator.RuntimeOptions, newShard func() S) *shards[S] {
	s := &shards[S]{p: p, topic: o.Topic}
	s.turns = newAlarm(p, func() { p.onDisk(s.turn) })
	s.timer = newAlarm(p, s.due)
	o.Log, o.Clock, o.SteadyMs = p.replicas, p.node.clock, func() int64 { return p.w.nowMs }
	o.Wake = func() { s.turns.in(p.w.between(0, 3)) }
	o.MaxBatchSizeBytes = func() int32 { return 1 << 20 }
	s.runtime = coordinator.NewRuntime(o, newShard)
	return s
}

func (s *shards[S]) turn() {
	for turns := 0; s.p.alive() && s.runtime.Turn(); turns++ {
		if turns == mostTurns {
			s.p.w.fail("the coordinator of %s on node %d does not rest", s.topic, s.p.node.id)
			return
		}
	}
	if s.p.alive() {
		s.p.replication.wake() // something may have been appended
		s.due()
	}
}

func (s *shards[S]) due() {
	if next := s.runtime.ScheduleDue(); next != shard.NoDeadline {
		s.timer.in(max(1, next-s.p.w.nowMs))
	}
}

// publish follows the metadata, after the replicas have.
func (s *shards[S]) publish(image *metadata.Image, delta *metadata.Delta) {
	s.count = 0
	if topic := image.TopicByName(s.topic); topic != nil {
		s.count = int32(len(topic.Partitions))
	}
	for _, change := range delta.ChangedPartitions() {
		switch {
		case change.Topic != s.topic:
		case change.New != nil && change.New.Leader == s.p.node.id:
			s.runtime.Elect(change.ID, change.New.LeaderEpoch)
		default:
			s.runtime.Resign(change.ID)
		}
	}
}

// do runs step on the shard that owns key; done is called once, when the answer may leave.
func (s *shards[S]) do(key string, step coordinator.Step[S], done func(any, error)) {
	if s.count == 0 {
		done(nil, kafka.ErrCoordinatorNotAvailable)
		return
	}
	s.doIn(kafka.CoordinatorPartition(key, s.count), step, done)
}

// doIn is do for a known partition.
func (s *shards[S]) doIn(partition int32, step coordinator.Step[S], done func(any, error)) {
	code := s.runtime.Enqueue(partition, step, func(r shard.Response) { done(r.Value, r.Err) })
	if code != kafka.ErrNone {
		done(nil, code)
	}
}

func newGroups(p *process, registry *metrics.Registry) *shards[*group.Shard] {
	c, m := group.DefaultConfig(), group.NewMetrics(registry)
	c.InitialRebalanceDelayMs = 100
	// The expiry of empty groups would excuse generations that begin again.
	c.RetentionCheckIntervalMs = producerExpirationMs
	return newShards(p, coordinator.RuntimeOptions{Name: "group", Topic: kafka.ConsumerOffsetsTopic, Metrics: registry}, func() *group.Shard { return group.NewShard(c, p.random, m) })
}

// coordinatorOf is who coordinates a key as far as the client knows.
func (c *client) coordinatorOf(topic, key string) int32 {
	t := c.image.TopicByName(topic)
	if t == nil {
		return kafka.NoLeader
	}
	return c.leader(kafka.TopicPartition{Topic: topic, Partition: kafka.CoordinatorPartition(key, int32(len(t.Partitions)))})
}
