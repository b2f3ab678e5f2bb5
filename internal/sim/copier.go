package sim

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/group"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/replica"
	"github.com/moldau/moldau/internal/shard"
	"github.com/moldau/moldau/internal/txn"
)

const (
	inputTopic  = "input"
	outputTopic = "output"
	// copiers is how many transactional ids there are; each has two clients that take turns without
	// knowing of each other, so that there is always one that may be a zombie.
	copiers = 2
	// outputsPerCopier partitions get the same records: a transaction must be whole.
	outputsPerCopier = 2
	copierTimeoutMs  = 4000
)

// copyStage is what a copier does next.
type copyStage int

const (
	copyInit copyStage = iota
	copyResume
	copyRead
	copyAddPartitions // version 1 only
	copyProduce
	copyCommitOffset
	copyEnd
	copyRest
)

// copier is a client that copies an input partition to output partitions in transactions, its place
// in the input included (consume-transform-produce). It repeats requests whose answer it did not get.
type copier struct {
	w       *World
	conn    *connection
	number  int // of the transactional id
	version int16
	stage   copyStage

	producer    txn.Producer
	sequence    [outputsPerCopier]int32
	position    int64
	records     []Seen // copied in this transaction
	transaction int64  // number of this transaction, over all copiers
	written     int    // outputs that have the records
	commit      bool   // how the transaction is to end
	askedCommit bool   // the commit may have been heard
	waiting     bool
}

func (w *World) addCopier(number int, version int16) {
	c := &copier{w: w, number: number, version: version}
	c.conn = w.connect(fmt.Sprintf("copier-%d-%d", number, len(w.copiers)), true, func() { c.plan(w.between(10, 300)) })
	w.copiers = append(w.copiers, c)
	c.plan(w.between(0, 500))
}

func (c *copier) id() string    { return fmt.Sprintf("copy-%d", c.number) }
func (c *copier) group() string { return fmt.Sprintf("copiers-%d", c.number) }

func (c *copier) input() kafka.TopicPartition {
	return kafka.TopicPartition{Topic: inputTopic, Partition: int32(c.number)}
}

func (c *copier) output(i int) kafka.TopicPartition {
	return kafka.TopicPartition{Topic: outputTopic, Partition: int32(c.number*outputsPerCopier + i)}
}

func (c *copier) history(i int) *CopyHistory { return c.w.copies[c.number*outputsPerCopier+i] }

func (c *copier) plan(delayMs int64) {
	if c.waiting {
		return
	}
	c.waiting = true
	c.w.after(delayMs, func() {
		c.waiting = false
		if c.conn.inFlight == 0 && !c.w.copiesVoid {
			c.step()
		}
	})
}

func (c *copier) step() {
	w := c.w
	if !w.healing && w.oneIn(50) {
		pause := w.between(100, 3*copierTimeoutMs)
		w.note("%s pauses for %d ms", c.conn.name, pause)
		c.plan(pause)
		return
	}
	switch c.stage {
	case copyInit:
		c.init()
	case copyResume:
		c.resume()
	case copyRead:
		c.read()
	case copyAddPartitions:
		c.addPartitions()
	case copyProduce:
		c.produce()
	case copyCommitOffset:
		c.commitOffset()
	case copyEnd:
		c.end()
	case copyRest:
		// Fenced: the other client with this transactional id is the younger one. Some time later
		// this one is started anew.
		c.stage = copyInit
		c.plan(w.between(500, 6000))
	}
}

// send sends one request; its answer's code goes to done, at the client.
func (c *copier) send(name string, handle func(p *process, answer func(error)), done func(kafka.ErrorCode)) {
	var code kafka.ErrorCode
	c.conn.send(name, func(p *process, answer func()) {
		handle(p, func(err error) {
			code = kafka.CodeOf(err)
			c.w.note("%s %s as %v: %v", c.conn.name, name, c.producer, err)
			answer()
		})
	}, func() { done(code) })
}

// goOn takes the answer to a request of a transaction: next, the same again, an abort or a new start.
func (c *copier) goOn(code kafka.ErrorCode, next func()) {
	switch code {
	case kafka.ErrNone:
		next()
	case kafka.ErrCoordinatorLoadInProgress, kafka.ErrCoordinatorNotAvailable, kafka.ErrNotCoordinator, kafka.ErrConcurrentTransactions, kafka.ErrNotLeaderOrFollower,
		kafka.ErrKafkaStorageError, kafka.ErrNotController, kafka.ErrNotEnoughReplicas, kafka.ErrRequestTimedOut, kafka.ErrUnknownTopicOrPartition:
		c.plan(c.w.between(20, 300))
		return
	case kafka.ErrTransactionAbortable, kafka.ErrInvalidTxnState:
		if c.stage == copyEnd && !c.commit || c.version < txn.Version2 && code == kafka.ErrInvalidTxnState {
			c.startOver(copyInit) // nothing left to be aborted, or unknown to version 1
			break
		}
		c.commit, c.stage = false, copyEnd
	case kafka.ErrProducerFenced, kafka.ErrInvalidProducerEpoch, kafka.ErrInvalidProducerIDMapping:
		c.startOver(copyRest)
	default:
		c.w.fail("%s: stage %d was refused with %v", c.conn.name, c.stage, code)
		return
	}
	c.plan(c.w.between(1, 60))
}

func (c *copier) startOver(stage copyStage) {
	c.forsake()
	c.stage = stage
}

// forsake ends the client's part in a transaction whose commit it never asked for: it can only be
// aborted.
func (c *copier) forsake() {
	if c.transaction != 0 && !c.askedCommit {
		for i := range outputsPerCopier {
			c.history(i).Aborted(c.transaction)
		}
	}
	c.transaction = 0
}

func (c *copier) init() {
	var result txn.Result
	c.send("init", func(p *process, answer func(error)) {
		p.transactions.withProducerID(c.id(), func(s *txn.Shard, token shard.Token, freshID, nowMs int64) shard.Effects {
			return s.InitProducerID(token, txn.InitRequest{TransactionalID: c.id(), TimeoutMs: copierTimeoutMs, FreshID: freshID}, nowMs)
		}, func(r txn.Result) {
			result = r
			if r.Code == kafka.ErrNone && p.alive() && !c.w.copiesVoid {
				c.w.check(c.w.levels.ObserveNew(fmt.Sprintf("the epoch of producer %d", r.Producer.ID), int64(r.Producer.Epoch)))
			}
			answer(errorOf(int16(r.Code)))
		})
	}, func(code kafka.ErrorCode) {
		c.goOn(code, func() {
			c.producer, c.sequence = result.Producer, [outputsPerCopier]int32{}
			c.stage = copyResume
		})
	})
}

// resume asks for the committed place in the input, as a consumer of committed offsets does.
func (c *copier) resume() {
	w := c.w
	req := kmsg.NewOffsetFetchRequestGroup()
	req.Group = c.group()
	req.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: inputTopic, Partitions: []int32{c.input().Partition}}}
	var offset int64
	c.send("fetch offset", func(p *process, answer func(error)) {
		p.groups.do(c.group(), func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
			return s.FetchOffsets(token, &req, true, nowMs)
		}, func(value any, err error) {
			if err == nil {
				r := value.(*kmsg.OffsetFetchResponseGroup)
				if err = errorOf(r.ErrorCode); err == nil {
					err = errorOf(r.Topics[0].Partitions[0].ErrorCode)
				}
				offset = max(0, r.Topics[0].Partitions[0].Offset)
				for i := range outputsPerCopier {
					if err == nil && p.alive() {
						w.check(c.history(i).Resumed(offset))
					}
				}
			}
			answer(err)
		})
	}, func(code kafka.ErrorCode) {
		if code == kafka.ErrUnstableOffsetCommit {
			c.plan(w.between(10, 100))
			return
		}
		c.goOn(code, func() { c.position, c.stage = offset, copyRead })
	})
}

func (c *copier) read() {
	w := c.w
	var seen []Seen
	c.send("read", func(p *process, answer func(error)) {
		var buffers replica.Buffers
		result := p.replicas.Fetch(context.Background(), &replica.FetchRequest{MinBytes: 1, MaxBytes: int(w.between(1, 1500)), Isolation: kafka.ReadCommitted, Partitions: []replica.FetchPartition{{
			TopicPartition: c.input(), Offset: c.position, MaxBytes: 1 << 20, CurrentLeaderEpoch: kafka.NoLeaderEpoch, LastFetchedEpoch: kafka.NoLeaderEpoch,
		}}}, &buffers)[0]
		err := result.Err
		if err == nil {
			if seen, err = RecordsOf(result.Records, c.position); err == nil && p.alive() {
				for i := range outputsPerCopier {
					w.check(c.history(i).Consumed(seen))
				}
			}
		}
		buffers.Release()
		answer(err)
	}, func(code kafka.ErrorCode) {
		c.goOn(code, func() {
			if len(seen) == 0 {
				c.plan(w.between(50, 300))
				return
			}
			w.transactions++
			c.records, c.transaction, c.written, c.askedCommit = seen, w.transactions, 0, false
			c.commit = w.healing || !w.oneIn(6)
			c.stage = copyProduce
			if c.version < txn.Version2 {
				c.stage = copyAddPartitions
			}
		})
	})
}

// addPartitions is AddPartitionsToTxn, and AddOffsetsToTxn for the group's partition.
func (c *copier) addPartitions() {
	c.send("add partitions", func(p *process, answer func(error)) {
		r := txn.AddRequest{TransactionalID: c.id(), Producer: c.producer, Version: c.version, Partitions: []kafka.TopicPartition{
			{Topic: kafka.ConsumerOffsetsTopic, Partition: kafka.CoordinatorPartition(c.group(), offsetsPartitions)},
		}}
		for i := range outputsPerCopier {
			r.Partitions = append(r.Partitions, c.output(i))
		}
		p.transactions.do(c.id(), func(s *txn.Shard, token shard.Token, nowMs int64) shard.Effects {
			return s.AddPartitions(token, r, nowMs)
		}, func(value any, err error) {
			if err == nil {
				err = errorOf(int16(value.(txn.Result).Code))
			}
			answer(err)
		})
	}, func(code kafka.ErrorCode) { c.goOn(code, func() { c.stage = copyProduce }) })
}

// produce writes the records to the next output.
func (c *copier) produce() {
	i := c.written
	c.send("produce", func(p *process, answer func(error)) {
		p.transactions.produceTransactional(transactionalWrite{c.id(), c.producer, c.version, c.output(i), c.sequence[i], c.encode(i)}, answer)
	}, func(code kafka.ErrorCode) {
		c.goOn(code, func() {
			c.sequence[i] += int32(len(c.records))
			if c.written++; c.written == outputsPerCopier {
				c.stage = copyCommitOffset
			}
		})
	})
}

// encode makes a batch of copies: the input record and the transaction.
func (c *copier) encode(output int) []byte {
	o := record.NoProducer(record.CodecNone)
	o.Transactional, o.ProducerID, o.ProducerEpoch, o.BaseSequence = true, c.producer.ID, c.producer.Epoch, c.sequence[output]
	b := record.NewBuilder(o)
	for _, s := range c.records {
		value := make([]byte, 24)
		binary.BigEndian.PutUint64(value, uint64(s.ID.Producer))
		binary.BigEndian.PutUint64(value[8:], uint64(s.ID.Number))
		binary.BigEndian.PutUint64(value[16:], uint64(c.transaction))
		b.Append(c.w.nowMs, nil, value, nil)
	}
	data, err := b.Build()
	if err != nil {
		panic(fmt.Sprintf("BUG: a batch of the simulation: %v", err))
	}
	return data
}

func (c *copier) nextPosition() int64 { return c.records[len(c.records)-1].Offset + 1 }

func (c *copier) commitOffset() {
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group, req.ProducerID, req.ProducerEpoch, req.Generation = c.id(), c.group(), c.producer.ID, c.producer.Epoch, -1
	p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset = c.input().Partition, c.nextPosition()
	req.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: inputTopic, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{p}}}
	c.send("commit offset", func(p *process, answer func(error)) {
		p.transactions.commitOffset(req, c.version, answer)
	}, func(code kafka.ErrorCode) { c.goOn(code, func() { c.stage = copyEnd }) })
}

func (c *copier) end() {
	w := c.w
	commit, transaction, next, producer := c.commit, c.transaction, int64(0), c.producer
	if len(c.records) > 0 {
		next = c.nextPosition()
	}
	c.askedCommit = c.askedCommit || commit
	var result txn.Result
	name := "abort"
	if commit {
		name = "commit"
	}
	c.send(name, func(p *process, answer func(error)) {
		p.transactions.withProducerID(c.id(), func(s *txn.Shard, token shard.Token, freshID, nowMs int64) shard.Effects {
			return s.EndTransaction(token, txn.EndRequest{TransactionalID: c.id(), Producer: producer, Commit: commit, Version: c.version, FreshID: freshID}, nowMs)
		}, func(r txn.Result) {
			result = r
			if r.Code == kafka.ErrNone && p.alive() {
				w.stats.Transactions++
				for i := range outputsPerCopier {
					if commit {
						c.history(i).Committed(next)
					} else {
						c.history(i).Aborted(transaction)
					}
				}
			}
			answer(errorOf(int16(r.Code)))
		})
	}, func(code kafka.ErrorCode) {
		c.goOn(code, func() {
			c.transaction = 0
			if c.version >= txn.Version2 {
				if c.producer != result.Producer {
					c.sequence = [outputsPerCopier]int32{}
				}
				c.producer = result.Producer
			}
			c.stage = copyResume
			if commit {
				c.position, c.stage = next, copyRead
			}
			if !w.healing && w.oneIn(12) {
				c.stage = copyInit // a new instance of the client, which fences the other one
			}
		})
	})
}
