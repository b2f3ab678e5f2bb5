package cluster

import (
	"fmt"
	"slices"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/sim"
	"github.com/moldau/moldau/internal/storage"
)

const (
	maxInFlight    = 3
	produceVersion = 13
)

// producer is a client that writes to one partition. An idempotent one has several batches in flight, and sends all of them
// again, in order and with the same sequence numbers, when it is not sure of one. Others send each batch once and forget it.
type producer struct {
	client
	number     int
	idempotent bool
	acks       int16
	tp         kafka.TopicPartition

	producerID int64 // -1 while it has none
	epoch      int16
	sequence   int32
	unsent     []*batch // in the order of their sequence numbers
	sent       []*batch // in flight
	to         int32    // where they are
	round      int      // of sending: answers to older ones are void
	next       int      // number of the next record
	began      bool     // the first batch is acknowledged: a leader that knows nothing of a producer takes any as its first
	busy       bool     // a step is planned, or a question is out
}

// batch is some records with their place in the producer's sequence.
type batch struct {
	ids      []sim.RecordID
	sequence int32
	atMs     int64
}

func (w *World) addProducer(idempotent bool, acks int16, tp kafka.TopicPartition) {
	p := &producer{client: newClient(w, fmt.Sprintf("producer-%d", len(w.producers))), number: len(w.producers), idempotent: idempotent, acks: acks, tp: tp,
		producerID: kafka.NoProducerID, epoch: kafka.NoProducerEpoch, to: kafka.NoLeader}
	w.producers = append(w.producers, p)
	p.plan(w.between(0, 100))
}

func (p *producer) plan(delayMs int64) {
	if p.busy {
		return
	}
	p.busy = true
	p.w.after(delayMs, func() {
		p.busy = false
		p.step()
	})
}

// isDone reports whether nothing is left to be written.
func (p *producer) isDone() bool { return len(p.unsent) == 0 && len(p.sent) == 0 }

func (p *producer) step() {
	w := p.w
	if p.idempotent && p.producerID == kafka.NoProducerID {
		p.askForID()
		return
	}
	if p.to == kafka.NoLeader {
		p.busy = true
		p.refresh(func() {
			p.busy = false
			if p.to = p.leader(p.tp); p.to == kafka.NoLeader {
				p.plan(w.between(20, 100))
				return
			}
			p.step()
		})
		return
	}
	inFlight := maxInFlight
	if p.idempotent && !p.began {
		inFlight = 1
	}
	if !w.healing && len(p.unsent) == 0 && len(p.sent) < inFlight {
		p.create()
	}
	for len(p.unsent) > 0 && len(p.sent) < inFlight && p.to != kafka.NoLeader {
		b := p.unsent[0]
		p.unsent = p.unsent[1:]
		p.sent = append(p.sent, b)
		p.send(b)
	}
	p.plan(w.between(5, 120))
}

// create makes a new batch.
func (p *producer) create() {
	w := p.w
	b := &batch{sequence: kafka.NoSequence, atMs: w.nowMs}
	for range w.between(1, 3) {
		b.ids = append(b.ids, sim.RecordID{Producer: p.number, Number: p.next})
		p.next++
	}
	if p.idempotent {
		b.sequence = p.sequence
		p.sequence += int32(len(b.ids))
	}
	p.unsent = append(p.unsent, b)
}

// encode builds the batch anew: the broker writes into what it is given.
func (p *producer) encode(b *batch) []byte {
	o := record.NoProducer(record.CodecNone)
	if p.idempotent {
		o.ProducerID, o.ProducerEpoch, o.BaseSequence = p.producerID, p.epoch, b.sequence
	}
	return sim.EncodeRecords(o, b.atMs, b.ids)
}

func (p *producer) send(b *batch) {
	round, data := p.round, p.encode(b)
	p.ask(p.to, func(at *process, answer func(any)) {
		at.produce(produceCall{tp: p.tp, records: data, acks: p.acks, ids: b.ids, idempotent: p.idempotent}, func(r storage.AppendResult, err error) {
			p.w.note("%s produces %s.. sequence %d to %s on node %d: offset %d duplicate %v, %v", p.name, b.ids[0], b.sequence, p.tp, at.node.id, r.BaseOffset, r.Duplicate, err)
			if err != nil {
				answer(kafka.CodeOf(err))
				return
			}
			answer(nil)
		})
	}, func(_ any, err error) {
		if round == p.round {
			p.answered(b, err)
		}
	})
}

// answered takes the answer to a batch in flight.
func (p *producer) answered(b *batch, err error) {
	w := p.w
	if err == nil || !p.idempotent {
		p.began = p.began || err == nil
		p.sent = slices.DeleteFunc(p.sent, func(s *batch) bool { return s == b })
		if err != nil {
			p.to = kafka.NoLeader
		}
		p.plan(w.between(0, 50))
		return
	}
	code := kafka.CodeOf(err)
	switch code {
	case kafka.ErrOutOfOrderSequenceNumber, kafka.ErrInvalidProducerEpoch, kafka.ErrUnknownProducerID, kafka.ErrDuplicateSequenceNumber:
		if w.mayForget(p.tp.Topic) {
			p.restart()
			return
		}
		w.fail("%s: sequence %d in %s was refused with %v although nothing was lost", p.name, b.sequence, p.tp, code)
	}
	// Who is not sure of one sends all of them again, to whoever leads then.
	p.unsent = append(p.sent, p.unsent...)
	p.sent, p.to = nil, kafka.NoLeader
	p.round++
	p.plan(w.between(10, 150))
}

// restart numbers what is left in a new epoch, as clients do when the broker has lost the records before it.
func (p *producer) restart() {
	p.unsent = append(p.sent, p.unsent...)
	p.sent, p.to = nil, kafka.NoLeader
	p.round++
	p.epoch++
	p.sequence = 0
	for _, b := range p.unsent {
		b.sequence = p.sequence
		p.sequence += int32(len(b.ids))
	}
	p.plan(p.w.between(10, 150))
}

func (p *producer) askForID() {
	p.busy = true
	node := int32(1 + p.w.random.IntN(len(p.w.nodes)))
	p.ask(node, func(at *process, answer func(any)) {
		at.newProducerID(func(id int64, err error) {
			if err != nil {
				answer(kafka.CodeOf(err))
				return
			}
			p.w.demand(p.w.check.newProducerID(id))
			answer(id)
		})
	}, func(answer any, err error) {
		p.busy = false
		if id, ok := answer.(int64); ok && err == nil {
			p.producerID, p.epoch = id, 0
		}
		p.plan(p.w.between(5, 100))
	})
}

// produceCall is one partition of a Produce request.
type produceCall struct {
	tp         kafka.TopicPartition
	records    []byte
	acks       int16
	ids        []sim.RecordID
	idempotent bool
}

// produce does what the handler of Produce does, and tells the checkers what it promised.
func (p *process) produce(c produceCall, done func(storage.AppendResult, error)) {
	p.onDisk(func() {
		w := p.w
		r, err := p.replicas.Lookup(c.tp)
		if err == nil && c.acks == -1 {
			err = p.replicas.CheckAbandoned(c.tp)
		}
		if err != nil {
			done(storage.AppendResult{}, err)
			return
		}
		history := w.check.history(kafka.TopicIDPartition{TopicID: r.TopicID(), TopicPartition: c.tp})
		history.sent(c.ids, c.idempotent)
		leaderEpoch := r.Assignment().LeaderEpoch
		result, err := r.Append(partition.AppendRequest{
			AppendRequest: storage.AppendRequest{Records: c.records, Origin: storage.OriginClient, NowMs: p.nowMs(), ProduceVersion: produceVersion},
			RequiredAcks:  c.acks, CurrentLeaderEpoch: kafka.NoLeaderEpoch,
		})
		if err == nil {
			w.demand(history.appended(leaderEpoch, p.node.id))
			p.replication.wake()
		}
		acknowledge := func(err error) {
			if err == nil && p.alive() && c.acks == -1 {
				w.count["acked"] += len(c.ids)
				w.demand(history.acked(result.BaseOffset, c.ids))
			}
			done(result, err)
		}
		switch {
		case err != nil || c.acks == 0 || w.options.lie == acksEarly:
			acknowledge(err)
		case c.acks == 1:
			p.replicas.WhenCounted(c.tp, leaderEpoch, result.LastOffset+1, acknowledge)
		default:
			p.replicas.WhenCommitted(c.tp, leaderEpoch, result.LastOffset+1, acknowledge)
		}
	})
}
