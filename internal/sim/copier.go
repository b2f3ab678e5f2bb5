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

const copierTimeoutMs = 2000

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
	*Copies
	line    Line
	name    string
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
	planned     bool   // a step is
}

func (c *copier) id() string    { return fmt.Sprintf("copy-%d", c.number) }
func (c *copier) group() string { return fmt.Sprintf("copiers-%d", c.number) }

func (c *copier) input() kafka.TopicPartition {
	return kafka.TopicPartition{Topic: InputTopic, Partition: int32(c.number)}
}

func (c *copier) output(i int) kafka.TopicPartition {
	return kafka.TopicPartition{Topic: OutputTopic, Partition: int32(c.number*outputsPerCopier + i)}
}

func (c *copier) history(i int) *CopyHistory { return c.histories[c.number*outputsPerCopier+i] }

// plan has the next step happen some time later, unless one is planned.
func (c *copier) plan(lowMs, highMs int64) {
	delayMs := c.Loop.Between(lowMs, highMs)
	if c.planned {
		return
	}
	c.planned = true
	c.Loop.After(delayMs, func() {
		c.planned = false
		c.step()
	})
}

func (c *copier) step() {
	if c.IsVoid() {
		return
	}
	if !c.Loop.IsHealing() && c.Loop.OneIn(50) {
		c.Loop.Note("%s pauses", c.name)
		c.plan(100, 3*copierTimeoutMs)
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
		c.plan(300, 2000)
	}
}

// target is the partition whose leader is to be asked in a stage.
func (c *copier) target() kafka.TopicPartition {
	switch c.stage {
	case copyResume, copyCommitOffset:
		return coordinatorPartition(kafka.ConsumerOffsetsTopic, c.group())
	case copyRead:
		return c.input()
	case copyProduce:
		return c.output(c.written)
	}
	return coordinatorPartition(kafka.TransactionStateTopic, c.id())
}

// copyAnswer is an answer that the copier deals with itself.
type copyAnswer struct{ code kafka.ErrorCode }

// send sends one request; its answer's code goes to done, at the client. One whose answer is lost is sent again, and so is
// one that is refused for the moment.
func (c *copier) send(name string, handle func(at *Coordinators, answer func(error)), done func(kafka.ErrorCode)) {
	to := c.target()
	if !c.line.Reaches(to, func() { c.plan(10, 100) }) {
		return
	}
	c.line.Ask(to, name, func(at *Coordinators, answer func(any)) {
		handle(at, func(err error) {
			c.Loop.Note("%s %s as %v: %v", c.name, name, c.producer, err)
			switch code := kafka.CodeOf(err); code {
			case kafka.ErrCoordinatorLoadInProgress, kafka.ErrCoordinatorNotAvailable, kafka.ErrNotCoordinator, kafka.ErrConcurrentTransactions, kafka.ErrNotLeaderOrFollower,
				kafka.ErrKafkaStorageError, kafka.ErrNotController, kafka.ErrNotEnoughReplicas, kafka.ErrRequestTimedOut, kafka.ErrUnknownTopicOrPartition,
				kafka.ErrBrokerNotAvailable, kafka.ErrLeaderNotAvailable, kafka.ErrNotEnoughReplicasAfterAppend, kafka.ErrOffsetNotAvailable, kafka.ErrFencedLeaderEpoch, kafka.ErrUnknownLeaderEpoch:
				answer(code)
			default:
				answer(copyAnswer{code})
			}
		})
	}, func(answer any) { done(answer.(copyAnswer).code) }, func() { c.plan(10, 150) })
}

// goOn takes the answer to a request of a transaction: next, an abort or a new start.
func (c *copier) goOn(code kafka.ErrorCode, next func()) {
	switch code {
	case kafka.ErrNone:
		next()
	case kafka.ErrTransactionAbortable, kafka.ErrInvalidTxnState:
		if c.stage == copyEnd && !c.commit || c.version < txn.Version2 && code == kafka.ErrInvalidTxnState {
			c.startOver(copyInit) // nothing left to be aborted, or unknown to version 1
			break
		}
		c.commit, c.stage = false, copyEnd
	case kafka.ErrProducerFenced, kafka.ErrInvalidProducerEpoch, kafka.ErrInvalidProducerIDMapping:
		c.startOver(copyRest)
	default:
		c.Loop.Fail("%s: stage %d was refused with %v", c.name, c.stage, code)
		return
	}
	c.plan(1, 60)
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
	c.send("init", func(at *Coordinators, answer func(error)) {
		at.Transactions.withProducerID(c.id(), func(s *txn.Shard, token shard.Token, freshID, nowMs int64) shard.Effects {
			return s.InitProducerID(token, txn.InitRequest{TransactionalID: c.id(), TimeoutMs: copierTimeoutMs, FreshID: freshID}, nowMs)
		}, func(r txn.Result) {
			result = r
			if r.Code == kafka.ErrNone && at.IsAlive() && !c.IsVoid() {
				c.Loop.Check(c.Levels.ObserveNew(fmt.Sprintf("the epoch of producer %d", r.Producer.ID), int64(r.Producer.Epoch)))
			}
			answer(errorOf(r.Code))
		})
	}, func(code kafka.ErrorCode) {
		c.goOn(code, func() {
			c.producer, c.sequence = result.Producer, [outputsPerCopier]int32{}
			c.stage = copyResume
		})
	})
}

// offsetsRequest asks for the committed place in the input.
func (c *copier) offsetsRequest() *kmsg.OffsetFetchRequestGroup {
	req := kmsg.NewOffsetFetchRequestGroup()
	req.Group = c.group()
	req.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: InputTopic, Partitions: []int32{c.input().Partition}}}
	return &req
}

// resume asks for the committed place in the input, as a consumer of committed offsets does.
func (c *copier) resume() {
	offset, producer := int64(0), c.producer
	c.send("fetch offset", func(at *Coordinators, answer func(error)) {
		at.Groups.do(c.group(), func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
			return s.FetchOffsets(token, c.offsetsRequest(), true, nowMs)
		}, func(value any, err error) {
			if err == nil {
				r := value.(*kmsg.OffsetFetchResponseGroup)
				if err = errorOf(kafka.ErrorCode(r.ErrorCode)); err == nil {
					err = errorOf(kafka.ErrorCode(r.Topics[0].Partitions[0].ErrorCode))
				}
				offset = max(0, r.Topics[0].Partitions[0].Offset)
				for i := range outputsPerCopier {
					if err == nil && at.IsAlive() {
						c.Loop.Check(c.history(i).Resumed(offset, producer))
					}
				}
			}
			answer(err)
		})
	}, func(code kafka.ErrorCode) {
		if code == kafka.ErrUnstableOffsetCommit {
			c.plan(10, 100)
			return
		}
		c.goOn(code, func() { c.position, c.stage = offset, copyRead })
	})
}

func (c *copier) read() {
	var seen []Seen
	c.send("read", func(at *Coordinators, answer func(error)) {
		var buffers replica.Buffers
		result := at.Replicas.Fetch(context.Background(), &replica.FetchRequest{MinBytes: 1, MaxBytes: int(c.Loop.Between(1, 1500)), Isolation: kafka.ReadCommitted, Partitions: []replica.FetchPartition{{
			TopicPartition: c.input(), Offset: c.position, MaxBytes: 1 << 20, CurrentLeaderEpoch: kafka.NoLeaderEpoch, LastFetchedEpoch: kafka.NoLeaderEpoch,
		}}}, &buffers)[0]
		err := result.Err
		if err == nil {
			if seen, err = RecordsOf(result.Records, c.position); err == nil && at.IsAlive() {
				for i := range outputsPerCopier {
					c.Loop.Check(c.history(i).Consumed(seen))
				}
			}
		}
		buffers.Release()
		answer(err)
	}, func(code kafka.ErrorCode) {
		c.goOn(code, func() {
			if len(seen) == 0 {
				c.plan(50, 300)
				return
			}
			c.begun++
			c.records, c.transaction, c.written, c.askedCommit = seen, c.begun, 0, false
			c.commit = c.Loop.IsHealing() || !c.Loop.OneIn(6)
			c.stage = copyProduce
			if c.version < txn.Version2 {
				c.stage = copyAddPartitions
			}
		})
	})
}

// addPartitions is AddPartitionsToTxn, and AddOffsetsToTxn for the group's partition.
func (c *copier) addPartitions() {
	c.send("add partitions", func(at *Coordinators, answer func(error)) {
		r := txn.AddRequest{TransactionalID: c.id(), Producer: c.producer, Version: c.version, Partitions: []kafka.TopicPartition{
			{Topic: kafka.ConsumerOffsetsTopic, Partition: kafka.CoordinatorPartition(c.group(), CoordinatorPartitions)},
		}}
		for i := range outputsPerCopier {
			r.Partitions = append(r.Partitions, c.output(i))
		}
		at.Transactions.do(c.id(), func(s *txn.Shard, token shard.Token, nowMs int64) shard.Effects {
			return s.AddPartitions(token, r, nowMs)
		}, func(value any, err error) {
			if err == nil {
				err = errorOf(value.(txn.Result).Code)
			}
			answer(err)
		})
	}, func(code kafka.ErrorCode) { c.goOn(code, func() { c.stage = copyProduce }) })
}

// produce writes the records to the next output.
func (c *copier) produce() {
	i := c.written
	write := transactionalWrite{c.id(), c.producer, c.version, c.output(i), c.sequence[i], c.encode(i)} // as it is now: it may arrive much later
	c.send("produce", func(at *Coordinators, answer func(error)) {
		at.Transactions.produce(write, answer)
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
		b.Append(c.Loop.NowMs(), nil, binary.BigEndian.AppendUint64(encodeID(s.ID, 24), uint64(c.transaction)), nil)
	}
	return built(b)
}

func (c *copier) nextPosition() int64 { return c.records[len(c.records)-1].Offset + 1 }

func (c *copier) commitOffset() {
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group, req.ProducerID, req.ProducerEpoch, req.Generation = c.id(), c.group(), c.producer.ID, c.producer.Epoch, -1
	p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset = c.input().Partition, c.nextPosition()
	req.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: InputTopic, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{p}}}
	c.send("commit offset", func(at *Coordinators, answer func(error)) {
		at.Transactions.commitOffset(req, c.version, answer)
	}, func(code kafka.ErrorCode) { c.goOn(code, func() { c.stage = copyEnd }) })
}

func (c *copier) end() {
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
	c.send(name, func(at *Coordinators, answer func(error)) {
		at.Transactions.withProducerID(c.id(), func(s *txn.Shard, token shard.Token, freshID, nowMs int64) shard.Effects {
			return s.EndTransaction(token, txn.EndRequest{TransactionalID: c.id(), Producer: producer, Commit: commit, Version: c.version, FreshID: freshID}, nowMs)
		}, func(r txn.Result) {
			result = r
			if r.Code == kafka.ErrNone && at.IsAlive() {
				c.Ended++
				for i := range outputsPerCopier {
					if commit {
						c.history(i).Committed(next, producer)
					} else {
						c.history(i).Aborted(transaction)
					}
				}
			}
			answer(errorOf(r.Code))
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
			if !c.Loop.IsHealing() && c.Loop.OneIn(12) {
				c.stage = copyInit // a new instance of the client, which fences the other one
			}
		})
	})
}
