package sim

import (
	"errors"
	"fmt"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/replica"
	"github.com/moldau/moldau/internal/shard"
	"github.com/moldau/moldau/internal/storage/producerstate"
)

// plane is what the coordinator's runtime does for the shards of one topic: it loads shards
// from their partitions, runs requests on them, appends their records and releases the answers
// when these are committed. A failed append drops the shard's state and loads it again.
type plane[S shard.Shard] struct {
	p        *process
	topic    string
	newShard func() S
	onNotice func(partition, leaderEpoch int32, notice any)
	shards   map[int32]*hostedShard[S]
	count    int32 // partitions of the topic
}

// hostedShard is one shard in one leader epoch.
type hostedShard[S shard.Shard] struct {
	plane       *plane[S]
	tp          kafka.TopicPartition
	leaderEpoch int32
	closed      bool

	shard     S
	loaded    bool
	queue     []shardRequest[S]
	waiting   map[shard.Token]shardDone
	nextToken shard.Token
	endOffset int64 // after the last record in the shard's state
	pending   []pendingRelease
	awaiting  bool // the first of them waits for its commit
	planned   bool
	alarmMs   int64 // when a turn for the next deadline is planned; 0: none
}

// pendingRelease is what leaves once the log is committed up to endOffset.
type pendingRelease struct {
	endOffset int64
	effects   shard.Effects
}

type (
	shardStep[S shard.Shard] = func(s S, token shard.Token, nowMs int64) shard.Effects
	shardDone                = func(value any, err error)
)

type shardRequest[S shard.Shard] struct {
	step shardStep[S]
	done shardDone // nil where nobody waits
}

func newPlane[S shard.Shard](p *process, topic string, newShard func() S) *plane[S] {
	return &plane[S]{p: p, topic: topic, newShard: newShard, shards: map[int32]*hostedShard[S]{}}
}

// publish follows the metadata, after the replicas have.
func (g *plane[S]) publish(image *metadata.Image, delta *metadata.Delta) {
	g.count = 0
	if topic := image.TopicByName(g.topic); topic != nil {
		g.count = int32(len(topic.Partitions))
	}
	for _, change := range delta.ChangedPartitions() {
		if change.Topic != g.topic {
			continue
		}
		if old := g.shards[change.ID]; old != nil {
			old.close()
			delete(g.shards, change.ID)
		}
		if change.New != nil && change.New.Leader == g.p.node.id {
			h := &hostedShard[S]{plane: g, tp: kafka.TopicPartition{Topic: change.Topic, Partition: change.ID}, leaderEpoch: change.New.LeaderEpoch, waiting: map[shard.Token]shardDone{}}
			g.shards[change.ID] = h
			h.plan()
		}
	}
}

// do runs step on the shard that owns key; done is called once, when the answer may leave.
func (g *plane[S]) do(key string, step shardStep[S], done shardDone) {
	if g.count == 0 {
		done(nil, kafka.ErrCoordinatorNotAvailable)
		return
	}
	g.doIn(kafka.CoordinatorPartition(key, g.count), step, done)
}

// doIn is do for a known partition.
func (g *plane[S]) doIn(partition int32, step shardStep[S], done shardDone) {
	h := g.shards[partition]
	switch {
	case h == nil:
		done(nil, kafka.ErrNotCoordinator)
	case !h.loaded:
		done(nil, kafka.ErrCoordinatorLoadInProgress)
	default:
		h.enqueue(step, done)
	}
}

// loadedShard returns the shard of a partition if it is loaded.
func (g *plane[S]) loadedShard(partition int32) (s S, ok bool) {
	h := g.shards[partition]
	if h == nil || !h.loaded {
		return s, false
	}
	return h.shard, true
}

func (h *hostedShard[S]) enqueue(step shardStep[S], done shardDone) {
	h.queue = append(h.queue, shardRequest[S]{step, done})
	h.plan()
}

// plan gives the shard a turn soon, in which it handles whatever is queued by then.
func (h *hostedShard[S]) plan() {
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
func (h *hostedShard[S]) run() {
	p := h.plane.p
	if !p.touch() || h.closed {
		return
	}
	if !h.loaded {
		if err := h.load(); err != nil {
			if p.touch() && !p.disk.Failed {
				p.node.w.fail("the shard of %s cannot be loaded: %w", h.tp, err)
			}
			return
		}
	}
	nowMs := p.nowMs()
	var effects shard.Effects
	take := func(e shard.Effects) {
		if e.Producer != nil || e.Marker != nil {
			h.apply(effects)
			effects = shard.Effects{}
			h.applyTransactional(e)
			return
		}
		effects.Records = append(effects.Records, e.Records...)
		effects.Responses = append(effects.Responses, e.Responses...)
		effects.Notices = append(effects.Notices, e.Notices...)
	}
	if h.shard.NextDeadlineMs() <= nowMs {
		take(h.shard.Tick(nowMs))
	}
	queue := h.queue
	h.queue = nil
	for i, q := range queue {
		if !h.loaded { // an append failed earlier in this turn
			h.refuse(queue[i:])
			break
		}
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
func (h *hostedShard[S]) load() error {
	p := h.plane.p
	s := h.plane.newShard()
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
	h.shard, h.loaded, h.endOffset = s, true, end
	h.apply(s.Activate(p.nowMs()))
	return nil
}

// replayBatches replays the records from offset next on and returns the offset after them.
func replayBatches(s shard.Shard, data []byte, next int64) (int64, error) {
	for len(data) > 0 {
		b, rest, err := record.Next(data)
		if err != nil {
			return next, err
		}
		data = rest
		producerID := kafka.NoProducerID
		if b.IsTransactional() {
			producerID = b.ProducerID()
		}
		for r, err := range b.Records(record.UncompressedLimit(b.SizeBytes())) {
			if err != nil {
				return next, err
			}
			offset := b.BaseOffset() + int64(r.OffsetDelta)
			if offset < next {
				continue
			}
			if b.IsControl() {
				if kind, err := record.ParseControlKey(r.Key); err == nil {
					s.ReplayEndTransaction(producerID, kind == record.ControlCommit)
				}
				continue
			}
			if err := s.Replay(shard.Position{Offset: offset, ProducerID: producerID}, shard.Record{Key: r.Key, Value: r.Value}); err != nil {
				return next, err
			}
		}
		next = max(next, b.NextOffset())
	}
	return next, nil
}

// apply appends the records of a turn and releases its answers at their commit.
func (h *hostedShard[S]) apply(effects shard.Effects) {
	p := h.plane.p
	if !h.loaded {
		return
	}
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
	h.release(effects)
}

// release lets answers and notices leave, in their order, once everything in the shard's state is
// committed.
func (h *hostedShard[S]) release(effects shard.Effects) {
	if len(effects.Responses)+len(effects.Notices) == 0 {
		return
	}
	h.pending = append(h.pending, pendingRelease{h.endOffset, effects})
	h.awaitFirst()
}

func (h *hostedShard[S]) awaitFirst() {
	if h.awaiting || len(h.pending) == 0 {
		return
	}
	h.awaiting = true
	p, first, called := h.plane.p, h.pending[0], 0
	p.replicas.WhenCommitted(h.tp, h.leaderEpoch, first.endOffset, func(err error) {
		if called++; called > 1 {
			p.node.w.fail("WhenCommitted of %s up to %d calls %d times", h.tp, first.endOffset, called)
			return
		}
		h.awaiting = false
		if err != nil {
			h.drop(err)
			return
		}
		if len(h.pending) == 0 { // the shard was dropped meanwhile
			return
		}
		h.pending = h.pending[1:]
		for _, r := range first.effects.Responses {
			h.deliver(r)
		}
		for _, n := range first.effects.Notices {
			h.plane.onNotice(h.tp.Partition, h.leaderEpoch, n)
		}
		h.awaitFirst()
	})
}

// applyTransactional appends a batch of a transaction, or the marker that ends one: the log may
// refuse it, and only what was appended is replayed.
func (h *hostedShard[S]) applyTransactional(effects shard.Effects) {
	if !h.loaded {
		return
	}
	switch err := h.appendTransactional(effects); {
	case err == nil:
	case errors.Is(err, kafka.ErrInvalidProducerEpoch), errors.Is(err, kafka.ErrInvalidTxnState), errors.Is(err, kafka.ErrTransactionCoordinatorFenced):
		for i := range effects.Responses {
			effects.Responses[i] = shard.Response{Token: effects.Responses[i].Token, Err: err}
		}
	default:
		h.drop(err)
		return
	}
	h.release(effects)
}

func (h *hostedShard[S]) appendTransactional(effects shard.Effects) error {
	p := h.plane.p
	if k := effects.Marker; k != nil {
		batch, err := k.Batch(p.nowMs())
		if err != nil {
			return err
		}
		end, err := p.replicas.AppendTransactional(h.tp, h.leaderEpoch, batch, replica.TransactionalAppend{TransactionVersion: k.TransactionVersion})
		if err != nil {
			return err
		}
		h.endOffset = end
		h.shard.ReplayEndTransaction(k.ProducerID, k.Committed)
		return nil
	}
	o := record.NoProducer(record.CodecNone)
	o.Transactional, o.ProducerID, o.ProducerEpoch = true, effects.Producer.ID, effects.Producer.Epoch
	b := record.NewBuilder(o)
	for _, r := range effects.Records {
		b.Append(p.nowMs(), r.Key, r.Value, nil)
	}
	batch, err := b.Build()
	if err != nil {
		return err
	}
	end, err := p.replicas.AppendTransactional(h.tp, h.leaderEpoch, batch, replica.TransactionalAppend{Guard: producerstate.Guard(effects.Producer.Guard)})
	if err != nil {
		return err
	}
	h.endOffset = end
	for i, r := range effects.Records {
		position := shard.Position{Offset: end - int64(len(effects.Records)-i), ProducerID: effects.Producer.ID}
		if err := h.shard.Replay(position, r); err != nil {
			return err
		}
	}
	return nil
}

func (h *hostedShard[S]) deliver(r shard.Response) {
	done := h.waiting[r.Token]
	if done == nil {
		h.plane.p.node.w.fail("the shard of %s answers request %d, which does not wait", h.tp, r.Token)
		return
	}
	delete(h.waiting, r.Token)
	done(r.Value, r.Err)
}

// drop gives up the state that the log does not confirm.
func (h *hostedShard[S]) drop(err error) {
	if p := h.plane.p; p.alive() && p.serving && !p.disk.Failed {
		p.node.w.fail("an append of the coordinator to %s failed: %w", h.tp, err)
	}
	h.failAll()
	h.plan()
}

func (h *hostedShard[S]) failAll() {
	if h.loaded {
		h.shard.Deactivate()
		h.loaded = false
	}
	h.pending = nil
	for token := shard.Token(1); token <= h.nextToken; token++ {
		if done := h.waiting[token]; done != nil {
			delete(h.waiting, token)
			done(nil, kafka.ErrNotCoordinator)
		}
	}
	queue := h.queue
	h.queue = nil
	h.refuse(queue)
}

// refuse answers those who wait; what nobody would ask for again is kept.
func (h *hostedShard[S]) refuse(queue []shardRequest[S]) {
	for _, q := range queue {
		if q.done != nil {
			q.done(nil, kafka.ErrNotCoordinator)
		} else {
			h.queue = append(h.queue, q)
		}
	}
}

func (h *hostedShard[S]) close() {
	h.failAll()
	h.closed = true
}

// arm plans the turn in which the next deadline is due.
func (h *hostedShard[S]) arm() {
	if !h.loaded {
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
		if h.plane.p.node.process == h.plane.p && !h.closed && h.loaded {
			h.run()
		}
	})
}
