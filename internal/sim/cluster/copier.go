package cluster

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
	"github.com/moldau/moldau/internal/sim"
	"github.com/moldau/moldau/internal/txn"
)

const (
	coordinatorPartitions = 2
	inputTopic            = "input"
	outputTopic           = "output"
	// copiers is how many transactional ids there are; each has two clients that take turns without
	// knowing of each other, so that there is always one that may be a zombie.
	copiers = 2
	// outputsPerCopier partitions get the same records: a transaction must be whole.
	outputsPerCopier = 2
	copierTimeoutMs  = 2000
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
	client
	number  int // of the transactional id
	version int16
	stage   copyStage

	producer    txn.Producer
	sequence    [outputsPerCopier]int32
	position    int64
	records     []sim.Seen // copied in this transaction
	transaction int64      // number of this transaction, over all copiers
	written     int        // outputs that have the records
	commit      bool       // how the transaction is to end
	askedCommit bool       // the commit may have been heard
	waiting     bool
}

func (w *World) addCopier(number int, version int16) {
	c := &copier{client: newClient(w, fmt.Sprintf("copier-%d-%d", number, len(w.copiers))), number: number, version: version}
	w.copiers = append(w.copiers, c)
	c.plan(w.between(0, 300))
}

func (c *copier) id() string    { return fmt.Sprintf("copy-%d", c.number) }
func (c *copier) group() string { return fmt.Sprintf("copiers-%d", c.number) }

func (c *copier) input() kafka.TopicPartition {
	return kafka.TopicPartition{Topic: inputTopic, Partition: int32(c.number)}
}

func (c *copier) output(i int) kafka.TopicPartition {
	return kafka.TopicPartition{Topic: outputTopic, Partition: int32(c.number*outputsPerCopier + i)}
}

func (c *copier) history(i int) *sim.CopyHistory { return c.w.copies[c.number*outputsPerCopier+i] }

func (c *copier) plan(delayMs int64) {
	if c.waiting {
		return
	}
	c.waiting = true
	c.w.after(delayMs, func() {
		c.waiting = false
		if !c.w.budget.isExceeded {
			c.step()
		}
	})
}

func (c *copier) step() {
	w := c.w
	if !w.healing && w.oneIn(50) {
		pause := w.between(100, 3*copierTimeoutMs)
		w.note("%s pauses for %d ms", c.name, pause)
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
		c.plan(w.between(300, 2000))
	}
}

// target is who is to be asked in a stage, as far as the client knows.
func (c *copier) target() int32 {
	switch c.stage {
	case copyResume, copyCommitOffset:
		return c.coordinatorOf(kafka.ConsumerOffsetsTopic, c.group())
	case copyRead:
		return c.leader(c.input())
	case copyProduce:
		return c.leader(c.output(c.written))
	}
	return c.coordinatorOf(kafka.TransactionStateTopic, c.id())
}

// send sends one request; its answer's code goes to done, at the client. One whose answer is lost is sent again.
func (c *copier) send(name string, handle func(p *process, answer func(error)), done func(kafka.ErrorCode)) {
	to := c.target()
	if to == kafka.NoLeader {
		c.refresh(func() { c.plan(c.w.between(10, 100)) })
		return
	}
	c.ask(to, func(p *process, answer func(any)) {
		handle(p, func(err error) {
			c.w.note("%s %s as %v: %v", c.name, name, c.producer, err)
			answer(kafka.CodeOf(err))
		})
	}, func(answer any, err error) {
		code, answered := answer.(kafka.ErrorCode)
		if !answered {
			c.refresh(func() { c.plan(c.w.between(10, 150)) })
			return
		}
		done(code)
	})
}

// goOn takes the answer to a request of a transaction: next, the same again, an abort or a new start.
func (c *copier) goOn(code kafka.ErrorCode, next func()) {
	switch code {
	case kafka.ErrNone:
		next()
	case kafka.ErrCoordinatorLoadInProgress, kafka.ErrCoordinatorNotAvailable, kafka.ErrNotCoordinator, kafka.ErrConcurrentTransactions, kafka.ErrNotLeaderOrFollower,
		kafka.ErrKafkaStorageError, kafka.ErrNotController, kafka.ErrNotEnoughReplicas, kafka.ErrRequestTimedOut, kafka.ErrUnknownTopicOrPartition,
		kafka.ErrBrokerNotAvailable, kafka.ErrLeaderNotAvailable, kafka.ErrNotEnoughReplicasAfterAppend, kafka.ErrOffsetNotAvailable, kafka.ErrFencedLeaderEpoch, kafka.ErrUnknownLeaderEpoch:
		c.refresh(func() { c.plan(c.w.between(10, 150)) })
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
		c.w.fail("%s: stage %d was refused with %v", c.name, c.stage, code)
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
			if r.Code == kafka.ErrNone && p.alive() && !c.w.budget.isExceeded {
				c.w.group(c.w.check.levels.ObserveNew(fmt.Sprintf("the epoch of producer %d", r.Producer.ID), int64(r.Producer.Epoch)))
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
				if err = errorOf(kafka.ErrorCode(r.ErrorCode)); err == nil {
					err = errorOf(kafka.ErrorCode(r.Topics[0].Partitions[0].ErrorCode))
				}
				offset = max(0, r.Topics[0].Partitions[0].Offset)
				for i := range outputsPerCopier {
					if err == nil && p.alive() {
						w.group(c.history(i).Resumed(offset))
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
	var seen []sim.Seen
	c.send("read", func(p *process, answer func(error)) {
		var buffers replica.Buffers
		result := p.replicas.Fetch(context.Background(), &replica.FetchRequest{MinBytes: 1, MaxBytes: int(w.between(1, 1500)), Isolation: kafka.ReadCommitted, Partitions: []replica.FetchPartition{{
			TopicPartition: c.input(), Offset: c.position, MaxBytes: 1 << 20, CurrentLeaderEpoch: kafka.NoLeaderEpoch, LastFetchedEpoch: kafka.NoLeaderEpoch,
		}}}, &buffers)[0]
		err := result.Err
		if err == nil {
			if seen, err = sim.RecordsOf(result.Records, c.position); err == nil && p.alive() {
				for i := range outputsPerCopier {
					w.group(c.history(i).Consumed(seen))
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
			{Topic: kafka.ConsumerOffsetsTopic, Partition: kafka.CoordinatorPartition(c.group(), coordinatorPartitions)},
		}}
		for i := range outputsPerCopier {
			r.Partitions = append(r.Partitions, c.output(i))
		}
		p.transactions.do(c.id(), func(s *txn.Shard, token shard.Token, nowMs int64) shard.Effects {
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
				w.count["transactions"]++
				for i := range outputsPerCopier {
					if commit {
						c.history(i).Committed(next)
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
			if !w.healing && w.oneIn(12) {
				c.stage = copyInit // a new instance of the client, which fences the other one
			}
		})
	})
}

func errorOf(code kafka.ErrorCode) error {
	if code == kafka.ErrNone {
		return nil
	}
	return code
}

// copyReader is a consumer of committed data without a group: it leaves out what the broker says
// is aborted, as consumers do, and tells the checker what remains.
type copyReader struct {
	client
	tp       kafka.TopicPartition
	history  *sim.CopyHistory
	position int64
	buffers  replica.Buffers
}

func (w *World) addCopyReader(partition int32) {
	r := &copyReader{client: newClient(w, fmt.Sprintf("copy-reader-%d", partition)), tp: kafka.TopicPartition{Topic: outputTopic, Partition: partition}, history: w.copies[partition]}
	w.copyReaders = append(w.copyReaders, r)
	w.after(w.between(0, 200), r.step)
}

func (r *copyReader) step() {
	w, node := r.w, r.leader(r.tp)
	if w.budget.isExceeded {
		return
	}
	next := func() { w.after(w.between(5, 150), r.step) }
	if node == kafka.NoLeader {
		r.refresh(next)
		return
	}
	epoch := r.image.Partition(r.tp.Topic, r.tp.Partition).LeaderEpoch
	r.ask(node, func(p *process, answer func(any)) {
		result := p.replicas.Fetch(context.Background(), &replica.FetchRequest{MinBytes: 1, MaxBytes: int(w.between(1, 3000)), Isolation: kafka.ReadCommitted, Partitions: []replica.FetchPartition{{
			TopicPartition: r.tp, Offset: r.position, MaxBytes: 1 << 20, CurrentLeaderEpoch: epoch, LastFetchedEpoch: kafka.NoLeaderEpoch,
		}}}, &r.buffers)[0]
		f := fetched{result: result, records: append([]byte(nil), result.Records...)}
		r.buffers.Release()
		answer(f)
	}, func(answer any, err error) {
		f, ok := answer.(fetched)
		if !ok || err != nil || f.result.Err != nil {
			r.refresh(next)
			return
		}
		if w.options.lie == readsAborted {
			f.result.Aborted = nil
		}
		copies, position, err := sim.CommittedCopies(f.records, f.result.Aborted, r.position, f.result.LastStableOffset)
		if err == nil {
			r.position = position
			w.count["copies"] += len(copies)
			err = r.history.Read(copies)
		}
		w.group(err)
		next()
	})
}

// committedOffset is what a group's shard says, -1 if it does not.
func (w *World) committedOffset(groupID string, tp kafka.TopicPartition) int64 {
	partition := kafka.CoordinatorPartition(groupID, coordinatorPartitions)
	assigned := w.latest.Partition(kafka.ConsumerOffsetsTopic, partition)
	if assigned == nil || assigned.Leader == kafka.NoLeader || w.node(assigned.Leader).process == nil {
		return -1
	}
	req := kmsg.NewOffsetFetchRequestGroup()
	req.Group = groupID
	req.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: tp.Topic, Partitions: []int32{tp.Partition}}}
	offset := int64(-1)
	p := w.node(assigned.Leader).process
	p.groups.doIn(partition, func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
		return s.FetchOffsets(token, &req, true, nowMs)
	}, func(value any, err error) {
		if r, ok := value.(*kmsg.OffsetFetchResponseGroup); ok && err == nil && r.Topics[0].Partitions[0].ErrorCode == 0 {
			offset = r.Topics[0].Partitions[0].Offset
		}
	})
	for p.groups.runtime.Turn() {
	}
	return offset
}

// uncopied tells what of the input is not in the output, "" if everything is.
func (w *World) uncopied() string {
	for _, r := range w.copyReaders {
		l, err := w.node(w.latest.Partition(r.tp.Topic, r.tp.Partition).Leader).process.replicas.Lookup(r.tp)
		if err != nil || r.position < l.Log().HighWatermark() {
			return r.name + " has not reached the end of " + r.tp.String()
		}
		if log := l.Log(); log.LastStableOffset() < log.LogEndOffset() {
			return fmt.Sprintf("a transaction hangs in %s: it is stable up to %d, and ends at %d", r.tp, log.LastStableOffset(), log.LogEndOffset())
		}
	}
	for _, c := range w.copiers {
		l, err := w.node(w.latest.Partition(inputTopic, int32(c.number)).Leader).process.replicas.Lookup(c.input())
		if err != nil || max(0, w.committedOffset(c.group(), c.input())) < l.Log().LogEndOffset() {
			return c.name + " has not copied all of " + c.input().String()
		}
	}
	return ""
}
