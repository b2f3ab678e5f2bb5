package sim

import (
	"fmt"

	"github.com/moldau/moldau/internal/group"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/shard"
)

// groupPlane is what the coordinator's runtime does: it loads shards from their partitions,
// runs requests on them, appends their records and releases the answers when these are
// committed. A failed append drops the shard's state and loads it again.
type groupPlane struct {
	p       *process
	config  group.Config
	metrics *group.Metrics
	shards  map[int32]*hostedShard
	count   int32 // partitions of the topic
}

// hostedShard is one shard in one leader epoch.
type hostedShard struct {
	plane       *groupPlane
	tp          kafka.TopicPartition
	leaderEpoch int32
	closed      bool

	shard     *group.Shard // nil while it is not loaded
	queue     []groupRequest
	waiting   map[shard.Token]groupDone
	nextToken shard.Token
	endOffset int64 // after the last record in the shard's state
	planned   bool
	alarmMs   int64 // when a turn for the next deadline is planned; 0: none
}

type (
	groupStep = func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects
	groupDone = func(value any, err error)
)

type groupRequest struct {
	step groupStep
	done groupDone // nil where nobody waits
}

func newGroupPlane(p *process, registry *metrics.Registry) *groupPlane {
	c := group.DefaultConfig()
	c.InitialRebalanceDelayMs = 300
	// The expiry of empty groups would excuse generations that begin again.
	c.RetentionCheckIntervalMs = producerExpirationMs
	return &groupPlane{p: p, config: c, metrics: group.NewMetrics(registry), shards: map[int32]*hostedShard{}}
}

// publish follows the metadata, after the replicas have.
func (g *groupPlane) publish(image *metadata.Image, delta *metadata.Delta) {
	g.count = 0
	if topic := image.TopicByName(kafka.ConsumerOffsetsTopic); topic != nil {
		g.count = int32(len(topic.Partitions))
	}
	for _, change := range delta.ChangedPartitions() {
		if change.Topic != kafka.ConsumerOffsetsTopic {
			continue
		}
		if old := g.shards[change.ID]; old != nil {
			old.close()
			delete(g.shards, change.ID)
		}
		if change.New != nil && change.New.Leader == g.p.node.id {
			h := &hostedShard{plane: g, tp: kafka.TopicPartition{Topic: change.Topic, Partition: change.ID}, leaderEpoch: change.New.LeaderEpoch, waiting: map[shard.Token]groupDone{}}
			g.shards[change.ID] = h
			h.plan()
		}
	}
	var deleted []group.DeletedTopic
	for _, topic := range delta.DeletedTopics() {
		deleted = append(deleted, group.DeletedTopic{Name: topic.Name, ID: topic.ID})
	}
	for i := int32(0); len(deleted) > 0 && i < g.count; i++ {
		if h := g.shards[i]; h != nil {
			h.enqueue(func(s *group.Shard, _ shard.Token, nowMs int64) shard.Effects { return s.DeleteTopics(deleted, nowMs) }, nil)
		}
	}
}

// do runs step on the shard of a group; done is called once, when the answer may leave.
func (g *groupPlane) do(groupID string, step groupStep, done groupDone) {
	if g.count == 0 {
		done(nil, kafka.ErrCoordinatorNotAvailable)
		return
	}
	h := g.shards[kafka.CoordinatorPartition(groupID, g.count)]
	switch {
	case h == nil:
		done(nil, kafka.ErrNotCoordinator)
	case h.shard == nil:
		done(nil, kafka.ErrCoordinatorLoadInProgress)
	default:
		h.enqueue(step, done)
	}
}

func (h *hostedShard) enqueue(step groupStep, done groupDone) {
	h.queue = append(h.queue, groupRequest{step, done})
	h.plan()
}

// plan gives the shard a turn soon, in which it handles whatever is queued by then.
func (h *hostedShard) plan() {
	if h.planned {
		return
	}
	h.planned = true
	w := h.plane.p.node.w
	w.after(w.between(0, 4), func() {
		h.planned = false
		h.run()
	})
}

// run is one turn.
func (h *hostedShard) run() {
	p := h.plane.p
	if !p.touch() || h.closed {
		return
	}
	if h.shard == nil {
		if err := h.load(); err != nil {
			if p.touch() && !p.disk.failed {
				p.node.w.fail("the shard of %s cannot be loaded: %w", h.tp, err)
			}
			return
		}
	}
	nowMs := p.nowMs()
	var effects shard.Effects
	take := func(e shard.Effects) {
		effects.Records = append(effects.Records, e.Records...)
		effects.Responses = append(effects.Responses, e.Responses...)
	}
	if h.shard.NextDeadlineMs() <= nowMs {
		take(h.shard.Tick(nowMs))
	}
	queue := h.queue
	h.queue = nil
	for _, q := range queue {
		token := shard.Token(0)
		if q.done != nil {
			h.nextToken++
			token = h.nextToken
			h.waiting[token] = q.done
		}
		take(q.step(h.shard, token, nowMs))
	}
	h.apply(effects)
	if p.touch() && !h.closed {
		h.arm()
	}
}

// load replays the whole log into a new shard.
func (h *hostedShard) load() error {
	p := h.plane.p
	s := group.NewShard(h.plane.config, p.random, h.plane.metrics)
	start, end, err := p.replicas.Bounds(h.tp, h.leaderEpoch)
	if err != nil {
		return err
	}
	for next := start; next < end; {
		data, err := p.replicas.Read(h.tp, h.leaderEpoch, next, 4096)
		if err != nil {
			return err
		}
		if len(data) == 0 {
			return fmt.Errorf("nothing to read at %d of %d", next, end)
		}
		if next, err = replayBatches(s, data, next); err != nil {
			return err
		}
	}
	h.shard, h.endOffset = s, end
	h.apply(s.Activate(p.nowMs()))
	return nil
}

// replayBatches replays the records from offset next on and returns the offset after them.
func replayBatches(s *group.Shard, data []byte, next int64) (int64, error) {
	for len(data) > 0 {
		b, rest, err := record.Next(data)
		if err != nil {
			return next, err
		}
		data = rest
		for r, err := range b.Records(record.UncompressedLimit(b.SizeBytes())) {
			if err != nil {
				return next, err
			}
			if offset := b.BaseOffset() + int64(r.OffsetDelta); offset >= next {
				if err := s.Replay(shard.Position{Offset: offset, ProducerID: kafka.NoProducerID}, shard.Record{Key: r.Key, Value: r.Value}); err != nil {
					return next, err
				}
			}
		}
		next = max(next, b.NextOffset())
	}
	return next, nil
}

// apply appends the records of a turn and releases its answers at their commit.
func (h *hostedShard) apply(effects shard.Effects) {
	p := h.plane.p
	if len(effects.Records) > 0 {
		b := record.NewBuilder(record.NoProducer(record.CodecNone))
		for _, r := range effects.Records {
			b.Append(p.nowMs(), r.Key, r.Value, nil)
		}
		batch, err := b.Build()
		if err == nil {
			var end int64
			if end, err = p.replicas.Append(h.tp, h.leaderEpoch, batch); err == nil {
				h.endOffset = end
			}
		}
		if err != nil {
			h.drop(err)
			return
		}
	}
	if len(effects.Responses) == 0 {
		return
	}
	called := 0
	p.replicas.WhenCommitted(h.tp, h.leaderEpoch, h.endOffset, func(err error) {
		if called++; called > 1 {
			p.node.w.fail("WhenCommitted of %s up to %d calls %d times", h.tp, h.endOffset, called)
			return
		}
		if err != nil {
			h.drop(err)
			return
		}
		for _, r := range effects.Responses {
			h.deliver(r)
		}
	})
}

func (h *hostedShard) deliver(r shard.Response) {
	done := h.waiting[r.Token]
	if done == nil {
		h.plane.p.node.w.fail("the shard of %s answers request %d, which does not wait", h.tp, r.Token)
		return
	}
	delete(h.waiting, r.Token)
	done(r.Value, r.Err)
}

// drop gives up the state that the log does not confirm.
func (h *hostedShard) drop(err error) {
	if p := h.plane.p; p.alive() && !p.disk.failed {
		p.node.w.fail("an append of the coordinator to %s failed: %w", h.tp, err)
	}
	h.failAll()
	h.plan()
}

func (h *hostedShard) failAll() {
	if h.shard != nil {
		h.shard.Deactivate()
		h.shard = nil
	}
	for token := shard.Token(1); token <= h.nextToken; token++ {
		if done := h.waiting[token]; done != nil {
			delete(h.waiting, token)
			done(nil, kafka.ErrNotCoordinator)
		}
	}
	queue := h.queue
	h.queue = nil
	for _, q := range queue {
		if q.done != nil {
			q.done(nil, kafka.ErrNotCoordinator)
		} else {
			h.queue = append(h.queue, q)
		}
	}
}

func (h *hostedShard) close() {
	h.failAll()
	h.closed = true
}

// arm plans the turn in which the next deadline is due.
func (h *hostedShard) arm() {
	if h.shard == nil {
		return
	}
	w, deadlineMs := h.plane.p.node.w, h.shard.NextDeadlineMs()
	if deadlineMs == shard.NoDeadline || h.alarmMs > w.nowMs && h.alarmMs <= deadlineMs {
		return
	}
	h.alarmMs = max(deadlineMs, w.nowMs+1)
	at := h.alarmMs
	w.after(at-w.nowMs, func() {
		if h.alarmMs == at {
			h.alarmMs = 0
		}
		if h.plane.p.node.process == h.plane.p && !h.closed && h.shard != nil {
			h.run()
		}
	})
}
