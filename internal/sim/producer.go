package sim

import (
	"fmt"
	"slices"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage"
)

const (
	maxInFlight    = 5
	produceVersion = 9
)

// producer is a client that writes. An idempotent one has up to five batches in flight on one
// partition, and sends all of them again, in order and with the same sequence numbers, when
// it is not sure of one. Others send each batch once and forget it.
type producer struct {
	w          *World
	conn       *connection
	number     int
	idempotent bool
	acks       int16
	codec      record.Codec

	tp         kafka.TopicPartition
	pinned     bool  // it never goes to another partition
	producerID int64 // -1 while it has none
	asking     bool  // for an id
	epoch      int16
	sequence   map[kafka.TopicPartition]int32
	// powerLosses are those of the node when the sequence numbers began: only power loss may
	// take away what the broker knows of them.
	powerLosses int
	unsent      []*batch // in the order of their sequence numbers
	sent        []*batch // in flight
	failed      bool     // one in flight was refused: the others come first, then all again
	next        int      // number of the next record
	waiting     bool     // a step is planned
}

// batch is some records with their place in the producer's sequence.
type batch struct {
	ids       []RecordID
	createdMs int64
	sequence  int32
	answered  bool
	// code is why an answered batch was refused.
	code kafka.ErrorCode
}

func (w *World) addProducer(idempotent bool, acks int16) {
	p := &producer{w: w, number: len(w.producers), idempotent: idempotent, acks: acks, producerID: kafka.NoProducerID, epoch: kafka.NoProducerEpoch,
		sequence: map[kafka.TopicPartition]int32{}}
	if w.OneIn(4) {
		p.codec = record.Codec(w.random.IntN(5)) // compressing takes most of the time
	}
	p.conn = w.connect(fmt.Sprintf("producer-%d", p.number), idempotent, p.broken)
	p.tp = w.somePartition()
	w.producers = append(w.producers, p)
	p.plan(w.Between(0, 200))
}

// pin has it write to tp alone.
func (p *producer) pin(tp kafka.TopicPartition) { p.tp, p.pinned = tp, true }

func (p *producer) plan(delayMs int64) {
	if p.waiting {
		return
	}
	p.waiting = true
	p.w.After(delayMs, func() {
		p.waiting = false
		p.step()
	})
}

// isDone reports whether nothing is left to be written.
func (p *producer) isDone() bool { return len(p.unsent) == 0 && len(p.sent) == 0 }

// broken means for every batch in flight that its fate is unknown.
func (p *producer) broken() {
	p.asking = false
	if p.idempotent {
		p.unsent = append(p.sent, p.unsent...)
	}
	p.sent, p.failed = nil, false
	for _, b := range p.unsent {
		b.answered = false
	}
	p.plan(p.w.Between(10, 300))
}

func (p *producer) step() {
	w := p.w
	switch {
	case p.asking, p.failed:
		return
	case p.idempotent && p.producerID == kafka.NoProducerID:
		p.askForID()
		return
	}
	if !w.healing && len(p.unsent) == 0 {
		if len(p.sent) == 0 && !p.pinned && w.OneIn(20) {
			p.tp = w.somePartition()
		}
		p.create()
	}
	for len(p.unsent) > 0 && len(p.sent) < maxInFlight {
		b := p.unsent[0]
		p.unsent = p.unsent[1:]
		p.sent = append(p.sent, b)
		p.send(b)
	}
	p.plan(w.Between(1, 150))
}

// create makes a new batch.
func (p *producer) create() {
	w := p.w
	b := &batch{createdMs: w.nowMs, sequence: kafka.NoSequence}
	for range w.Between(1, 4) {
		b.ids = append(b.ids, RecordID{p.number, p.next})
		p.next++
	}
	if p.idempotent {
		b.sequence = p.sequence[p.tp]
		p.sequence[p.tp] += int32(len(b.ids))
	}
	p.unsent = append(p.unsent, b)
}

// encode builds the batch anew: the broker writes into what it is given.
func (p *producer) encode(b *batch) []byte {
	o := record.NoProducer(p.codec)
	if p.idempotent {
		o.ProducerID, o.ProducerEpoch, o.BaseSequence = p.producerID, p.epoch, b.sequence
	}
	return EncodeRecords(o, b.createdMs, b.ids)
}

func (p *producer) send(b *batch) {
	w := p.w
	data, tp := p.encode(b), p.tp
	var code kafka.ErrorCode
	p.conn.send("produce", func(at *process, answer func()) {
		at.produce(produceCall{tp: tp, records: data, acks: p.acks, ids: b.ids}, func(r storage.AppendResult, err error) {
			code = kafka.CodeOf(err)
			w.Note("%s produces %s.. sequence %d to %s: offset %d duplicate %v, %v", p.conn.name, b.ids[0], b.sequence, tp, r.BaseOffset, r.Duplicate, err)
			answer()
		})
	}, func() { p.answered(b, code) })
}

// answered takes the answer to a batch in flight.
func (p *producer) answered(b *batch, code kafka.ErrorCode) {
	b.answered, b.code = true, code
	if !p.idempotent {
		p.sent = slices.DeleteFunc(p.sent, func(s *batch) bool { return s == b })
		p.plan(p.w.Between(1, 100))
		return
	}
	for len(p.sent) > 0 && p.sent[0].answered && p.sent[0].code == kafka.ErrNone {
		p.sent = p.sent[1:]
	}
	for _, s := range p.sent {
		p.failed = p.failed || s.answered
	}
	if !p.failed {
		p.plan(p.w.Between(0, 50))
		return
	}
	for _, s := range p.sent {
		if !s.answered {
			return // the others are awaited, so that nothing overtakes what is sent again
		}
	}
	p.refused(p.sent[0].code)
}

// refused deals with the refusal of the oldest batch.
func (p *producer) refused(code kafka.ErrorCode) {
	w := p.w
	p.unsent = append(p.sent, p.unsent...)
	p.sent, p.failed = nil, false
	for _, b := range p.unsent {
		b.answered = false
	}
	switch code {
	case kafka.ErrUnknownTopicOrPartition:
		// The topic was deleted, and the records with it.
		p.unsent = nil
		p.tp = w.somePartition()
		p.restartSequence()
	case kafka.ErrOutOfOrderSequenceNumber:
		if w.nodes[0].powerLosses == p.powerLosses {
			w.Fail("%s: %s was refused with %v although nothing was lost", p.conn.name, p.tp, code)
			return
		}
		p.restartSequence()
	case kafka.ErrKafkaStorageError, kafka.ErrNotLeaderOrFollower, kafka.ErrRequestTimedOut:
	default:
		w.Fail("%s: a batch to %s was refused with %v", p.conn.name, p.tp, code)
		return
	}
	p.plan(w.Between(20, 300))
}

// restartSequence numbers what is left in a new epoch, as clients do when the broker has lost
// the records before it.
func (p *producer) restartSequence() {
	p.w.stats.ProducerResets++
	p.epoch++
	clear(p.sequence)
	p.powerLosses = p.w.nodes[0].powerLosses
	for _, b := range p.unsent {
		b.sequence = p.sequence[p.tp]
		p.sequence[p.tp] += int32(len(b.ids))
	}
	p.w.Note("%s begins epoch %d", p.conn.name, p.epoch)
}

func (p *producer) askForID() {
	w := p.w
	p.asking = true
	var id int64
	var failure error
	p.conn.send("init producer id", func(at *process, answer func()) {
		at.newProducerID(func(got int64, err error) {
			id, failure = got, err
			if err == nil && at.alive() {
				w.Check(w.levels.ObserveNew("the producer id", got))
			}
			answer()
		})
	}, func() {
		p.asking = false
		if failure == nil {
			p.producerID, p.epoch, p.powerLosses = id, 0, w.nodes[0].powerLosses
			w.Note("%s gets producer id %d", p.conn.name, id)
		}
		p.plan(w.Between(1, 100))
	})
}

// produceCall is one partition of a Produce request.
type produceCall struct {
	tp      kafka.TopicPartition
	records []byte
	acks    int16
	ids     []RecordID
}

// produce does what the handler of Produce does, and tells the checkers what it promised.
func (p *process) produce(c produceCall, done func(storage.AppendResult, error)) {
	w := p.node.w
	if p.metadata.image.Partition(c.tp.Topic, c.tp.Partition) == nil {
		done(storage.AppendResult{}, kafka.ErrUnknownTopicOrPartition)
		return
	}
	r, err := p.replicas.Lookup(c.tp)
	if err != nil {
		done(storage.AppendResult{}, err)
		return
	}
	history := w.history(kafka.TopicIDPartition{TopicID: r.TopicID(), TopicPartition: c.tp})
	history.Sent(c.ids)
	leaderEpoch := r.Assignment().LeaderEpoch
	result, err := r.Append(partition.AppendRequest{
		AppendRequest: storage.AppendRequest{Records: c.records, Origin: storage.OriginClient, NowMs: p.nowMs(), ProduceVersion: produceVersion},
		RequiredAcks:  c.acks, CurrentLeaderEpoch: kafka.NoLeaderEpoch,
	})
	acknowledge := func(err error) {
		if err == nil && p.alive() && c.acks != 0 {
			w.stats.AckedRecords += len(c.ids)
			if result.Duplicate {
				w.stats.Duplicates++
			}
			if result.LastOffset != result.BaseOffset+int64(len(c.ids))-1 {
				w.Fail("%s: %d records were acknowledged at offsets %d to %d", c.tp, len(c.ids), result.BaseOffset, result.LastOffset)
			}
			w.Check(history.Acked(result.BaseOffset, c.ids))
			if unflushed, limited := r.Log().Config().MaxUnflushed(); limited && !result.Duplicate {
				w.stats.PromisedRecords += len(c.ids)
				history.Promised(result.LastOffset + 1 - unflushed)
			}
		}
		done(result, err)
	}
	switch {
	case err != nil || c.acks == 0:
		acknowledge(err)
	case c.acks == 1:
		p.replicas.WhenCounted(c.tp, leaderEpoch, result.LastOffset+1, acknowledge)
	default:
		p.replicas.WhenCommitted(c.tp, leaderEpoch, result.LastOffset+1, acknowledge)
	}
}

// somePartition draws a partition that exists, now and then of a topic that comes and goes.
func (w *World) somePartition() kafka.TopicPartition {
	if n := w.nodes[0]; n.process != nil && n.process.serving && w.OneIn(4) {
		var all []*metadata.Topic
		for topic := range n.process.metadata.image.Topics() {
			if !slices.Contains(lastingTopics, topic.Name) {
				all = append(all, topic)
			}
		}
		if len(all) > 0 {
			topic := all[w.random.IntN(len(all))]
			return kafka.TopicPartition{Topic: topic.Name, Partition: int32(w.random.IntN(len(topic.Partitions)))}
		}
	}
	return kafka.TopicPartition{Topic: w.someTopic(), Partition: int32(w.random.IntN(ordersPartitions))}
}

func (w *World) someTopic() string { return permanentTopics[w.random.IntN(len(permanentTopics))] }
