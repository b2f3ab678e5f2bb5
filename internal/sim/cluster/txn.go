package cluster

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator"
	"github.com/moldau/moldau/internal/group"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/replica"
	"github.com/moldau/moldau/internal/shard"
	"github.com/moldau/moldau/internal/storage"
	"github.com/moldau/moldau/internal/storage/producerstate"
	"github.com/moldau/moldau/internal/txn"
)

const (
	markerCallMs = 5000
	movedCheckMs = 100
	enlistCallMs = 5000
)

// transactions drives the transaction coordinator's shards and the queue of their markers, has markers written by the
// leaders of their partitions, and brings partitions into transactions on the way of a write, as coordinator and handlers do.
type transactions struct {
	*shards[*txn.Shard]
	sender *txn.Sender
	sends  *alarm
	// links are the connections to other brokers, by what they are for.
	markers, enlistments map[int32]*conn
}

func newTransactions(p *process, registry *metrics.Registry) *transactions {
	m := txn.NewMetrics(registry)
	t := &transactions{sender: txn.NewSender(), markers: map[int32]*conn{}, enlistments: map[int32]*conn{}}
	config := txn.Config{MaxTimeoutMs: 900_000, ExpirationMs: producerExpirationMs, AbortCheckIntervalMs: 500, ExpiryIntervalMs: 3_600_000, TransactionVersion: func() int16 { return txn.Version2 }, MaxBatchSizeBytes: func() int32 { return 1 << 20 }}
	t.shards = newShards(p, coordinator.RuntimeOptions{Name: "transaction", Topic: kafka.TransactionStateTopic, Metrics: registry, OnNotice: t.notice}, func() *txn.Shard { return txn.NewShard(config, m) })
	t.sends = newAlarm(p, t.pump)
	return t
}

func (t *transactions) publish(image *metadata.Image, delta *metadata.Delta) {
	t.shards.publish(image, delta)
	for _, change := range delta.ChangedPartitions() {
		if change.Topic == t.topic && (change.New == nil || change.New.Leader != t.p.node.id) {
			t.sender.Drop(change.ID)
		}
	}
}

// notice takes what a shard wants done.
func (t *transactions) notice(partition, leaderEpoch int32, notice any) {
	switch n := notice.(type) {
	case txn.Markers:
		t.sender.Add(&txn.Delivery{Partition: partition, CoordinatorEpoch: leaderEpoch, Markers: n})
		t.sends.in(0)
	case txn.ProducerIDWanted:
		t.p.newProducerID(func(id int64, err error) {
			if err == nil {
				t.doIn(partition, func(s *txn.Shard, token shard.Token, nowMs int64) shard.Effects {
					return s.AbortTimedOut(token, n.TransactionalID, id, nowMs)
				}, func(any, error) {})
			}
		})
	}
}

// pump delivers the markers that are due.
func (t *transactions) pump() {
	p := t.p
	for d := t.sender.Take(p.nowMs()); d != nil; d = t.sender.Take(p.nowMs()) {
		t.deliver(d)
	}
	if next := t.sender.NextDeadlineMs(); next != shard.NoDeadline {
		t.sends.in(max(1, next-p.nowMs()))
	}
}

// deliver has a transaction's markers written and then the transaction completed.
func (t *transactions) deliver(d *txn.Delivery) {
	p := t.p
	marker := shard.Marker{ProducerID: d.Producer.ID, Epoch: d.Producer.Epoch, CoordinatorEpoch: d.CoordinatorEpoch, Committed: d.Commit, TransactionVersion: d.TransactionVersion}
	t.write(marker, d.Partitions, func(codes []kafka.ErrorCode) {
		outcome := t.sender.Written(d, codes, p.nowMs())
		p.w.note("markers of %s by node %d: %v, outcome %d", d.TransactionalID, p.node.id, codes, outcome)
		t.sends.in(0)
		if outcome != txn.OutcomeWritten {
			return
		}
		t.doIn(d.Partition, func(s *txn.Shard, token shard.Token, nowMs int64) shard.Effects {
			return s.CompleteMarkers(token, d.Markers, nowMs)
		}, func(_ any, err error) {
			if code := kafka.CodeOf(err); code == kafka.ErrNone || code == kafka.ErrNotCoordinator {
				t.sender.Completed(d)
				return
			}
			t.sender.Retry(d, p.nowMs())
			t.sends.in(0)
		})
	})
}

// write has every marker written by the leader of its partition.
func (t *transactions) write(marker shard.Marker, partitions []kafka.TopicPartition, done func([]kafka.ErrorCode)) {
	p := t.p
	codes, missing := make([]kafka.ErrorCode, len(partitions)), len(partitions)
	finish := func(places []int, code func(i int) kafka.ErrorCode) {
		for i, place := range places {
			codes[place] = code(i)
		}
		if missing -= len(places); missing == 0 {
			done(codes)
		}
	}
	if missing == 0 {
		done(codes)
		return
	}
	remote, brokers := map[int32][]int{}, []int32{}
	for i, tp := range partitions {
		switch assigned := p.image.Partition(tp.Topic, tp.Partition); {
		case assigned == nil:
			finish([]int{i}, func(int) kafka.ErrorCode { return kafka.ErrUnknownTopicOrPartition })
		case assigned.Leader == kafka.NoLeader:
			finish([]int{i}, func(int) kafka.ErrorCode { return kafka.ErrLeaderNotAvailable })
		case assigned.Leader == p.node.id:
			p.writeMarker(tp, marker, func(err error) { finish([]int{i}, func(int) kafka.ErrorCode { return kafka.CodeOf(err) }) })
		default:
			if remote[assigned.Leader] == nil {
				brokers = append(brokers, assigned.Leader)
			}
			remote[assigned.Leader] = append(remote[assigned.Leader], i)
		}
	}
	for _, broker := range brokers {
		places := remote[broker]
		var theirs []kafka.TopicPartition
		for _, place := range places {
			theirs = append(theirs, partitions[place])
		}
		t.writeThere(broker, marker, theirs, func(answer []kafka.ErrorCode) {
			finish(places, func(i int) kafka.ErrorCode { return answer[i] })
		})
	}
}

// link returns a connection to another broker, for one purpose.
func (t *transactions) link(links map[int32]*conn, name string, broker int32) *conn {
	link := links[broker]
	if link == nil || link.closed {
		link = t.p.w.dial(name, t.p.node.id, t.p, broker)
		link.onBroken = func() { t.p.lost(link) }
		links[broker] = link
	}
	return link
}

// writeThere is WriteTxnMarkers to another broker. One that hangs is not waited for when others have become the leaders.
func (t *transactions) writeThere(broker int32, marker shard.Marker, partitions []kafka.TopicPartition, done func([]kafka.ErrorCode)) {
	p, over := t.p, false
	finish := func(codes []kafka.ErrorCode) {
		if !over {
			over = true
			done(codes)
		}
	}
	failed := slices.Repeat([]kafka.ErrorCode{kafka.ErrNotLeaderOrFollower}, len(partitions))
	t.link(t.markers, "markers", broker).call(markerCallMs, func(at *process, answer func(any)) {
		codes, missing := make([]kafka.ErrorCode, len(partitions)), len(partitions)
		for i, tp := range partitions {
			at.writeMarker(tp, marker, func(err error) {
				codes[i] = kafka.CodeOf(err)
				if missing--; missing == 0 {
					answer(codes)
				}
			})
		}
	}, func(answer any, err error) {
		if codes, ok := answer.([]kafka.ErrorCode); ok && err == nil {
			for i, code := range codes {
				if code == kafka.ErrUnknownTopicOrPartition { // it may just be behind with the metadata
					codes[i] = kafka.ErrNotLeaderOrFollower
				}
			}
			finish(codes)
			return
		}
		finish(failed)
	})
	var look func()
	look = func() {
		if over {
			return
		}
		if !slices.ContainsFunc(partitions, func(tp kafka.TopicPartition) bool {
			assigned := p.image.Partition(tp.Topic, tp.Partition)
			return assigned != nil && assigned.Leader == broker
		}) {
			finish(failed)
			return
		}
		p.after(movedCheckMs, look)
	}
	p.after(movedCheckMs, look)
}

// writeMarker writes a marker into a partition that is led here.
func (p *process) writeMarker(tp kafka.TopicPartition, marker shard.Marker, done func(error)) {
	p.onDisk(func() {
		if tp.Topic == kafka.ConsumerOffsetsTopic {
			if _, err := p.replicas.Lookup(tp); err != nil {
				done(err)
				return
			}
			p.groups.doIn(tp.Partition, func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
				return s.EndTransaction(token, marker, nowMs)
			}, func(_ any, err error) {
				switch kafka.CodeOf(err) {
				case kafka.ErrCoordinatorNotAvailable, kafka.ErrCoordinatorLoadInProgress, kafka.ErrNotCoordinator:
					err = kafka.ErrNotLeaderOrFollower
				}
				done(err)
			})
			return
		}
		batch, err := marker.Batch(p.nowMs())
		if err != nil {
			done(err)
			return
		}
		end, leaderEpoch, err := p.replicas.AppendMarker(tp, batch, replica.TransactionalAppend{TransactionVersion: marker.TransactionVersion})
		if err != nil {
			done(err)
			return
		}
		p.replication.wake()
		p.replicas.WhenCommitted(tp, leaderEpoch, end, done)
	})
}

// withProducerID runs a step that may need a fresh producer id.
func (t *transactions) withProducerID(id string, step func(s *txn.Shard, token shard.Token, freshID, nowMs int64) shard.Effects, done func(txn.Result)) {
	var try func(freshID int64)
	try = func(freshID int64) {
		t.do(id, func(s *txn.Shard, token shard.Token, nowMs int64) shard.Effects {
			return step(s, token, freshID, nowMs)
		}, func(value any, err error) {
			if err != nil {
				done(txn.Result{Code: kafka.CodeOf(err)})
				return
			}
			r := value.(txn.Result)
			if !r.NeedsProducerID {
				done(r)
				return
			}
			t.p.newProducerID(func(fresh int64, err error) {
				if err != nil {
					done(txn.Result{Code: kafka.CodeOf(err)})
					return
				}
				try(fresh)
			})
		})
	}
	try(kafka.NoProducerID)
}

// transactionalWrite is a batch of a transaction for one partition, or a group's offsets.
type transactionalWrite struct {
	transactionalID string
	producer        txn.Producer
	version         int16 // of the client's transactions
	tp              kafka.TopicPartition
	firstSequence   int32
	records         []byte // of a Produce request
}

// enlist asks the partition's log for a guard and, unless the transaction is open there, the coordinator, wherever it is.
func (t *transactions) enlist(write transactionalWrite, done func(producerstate.Guard, error)) {
	p := t.p
	guard, err := p.replicas.StartVerification(write.tp, producerstate.Verification{
		ProducerID: write.producer.ID, Epoch: write.producer.Epoch, FirstSequence: write.firstSequence, Strict: write.version == txn.Version2, NowMs: p.nowMs(),
	})
	if err != nil || guard == producerstate.NoGuard {
		done(guard, err)
		return
	}
	r := txn.AddRequest{TransactionalID: write.transactionalID, Producer: write.producer, Partitions: []kafka.TopicPartition{write.tp}, Version: write.version}
	answered := func(code kafka.ErrorCode) {
		if code != kafka.ErrNone {
			err = code
		}
		done(guard, err)
	}
	topic := p.image.TopicByName(kafka.TransactionStateTopic)
	if topic == nil {
		answered(kafka.ErrNotCoordinator)
		return
	}
	coordinates := topic.Partition(kafka.CoordinatorPartition(r.TransactionalID, int32(len(topic.Partitions)))).Leader
	switch coordinates {
	case kafka.NoLeader:
		answered(kafka.ErrCoordinatorNotAvailable)
	case p.node.id:
		t.add(r, answered)
	default:
		t.link(t.enlistments, "enlistments", coordinates).call(enlistCallMs, func(at *process, answer func(any)) {
			at.transactions.add(r, func(code kafka.ErrorCode) { answer(code) })
		}, func(answer any, err error) {
			if code, ok := answer.(kafka.ErrorCode); ok && err == nil {
				answered(code)
				return
			}
			answered(kafka.ErrCoordinatorNotAvailable)
		})
	}
}

// add takes the partition of r into the transaction, or verifies that it is in it.
func (t *transactions) add(r txn.AddRequest, done func(kafka.ErrorCode)) {
	t.do(r.TransactionalID, func(s *txn.Shard, token shard.Token, nowMs int64) shard.Effects {
		if r.Version == txn.Version2 {
			return s.AddPartitions(token, r, nowMs)
		}
		return s.VerifyPartitions(token, r, nowMs)
	}, func(value any, err error) {
		code := kafka.CodeOf(err)
		switch v := value.(type) {
		case txn.Result:
			code = v.Code
		case []kafka.ErrorCode:
			code = v[0]
		}
		done(code)
	})
}

// produceTransactional is a Produce request with one batch of a transaction.
func (t *transactions) produceTransactional(write transactionalWrite, done func(error)) {
	p, tp := t.p, write.tp
	t.enlist(write, func(guard producerstate.Guard, err error) {
		if err != nil {
			done(err)
			return
		}
		p.onDisk(func() {
			r, err := p.replicas.Lookup(tp)
			if err != nil {
				done(err)
				return
			}
			leaderEpoch := r.Assignment().LeaderEpoch
			result, err := r.Append(partition.AppendRequest{
				AppendRequest: storage.AppendRequest{Records: write.records, Origin: storage.OriginClient, NowMs: p.nowMs(), ProduceVersion: produceVersion, Guard: guard},
				RequiredAcks:  -1, CurrentLeaderEpoch: kafka.NoLeaderEpoch,
			})
			if err != nil {
				done(err)
				return
			}
			p.replication.wake()
			p.replicas.WhenCommitted(tp, leaderEpoch, result.LastOffset+1, done)
		})
	})
}

// commitOffset is a TxnOffsetCommit of one partition.
func (t *transactions) commitOffset(req *kmsg.TxnOffsetCommitRequest, version int16, done func(error)) {
	p, producer := t.p, txn.Producer{ID: req.ProducerID, Epoch: req.ProducerEpoch}
	topic := p.image.TopicByName(req.Topics[0].Topic)
	if p.groups.count == 0 || topic == nil {
		done(kafka.ErrNotCoordinator)
		return
	}
	tp := kafka.TopicPartition{Topic: kafka.ConsumerOffsetsTopic, Partition: kafka.CoordinatorPartition(req.Group, p.groups.count)}
	t.enlist(transactionalWrite{req.TransactionalID, producer, version, tp, kafka.NoSequence, nil}, func(guard producerstate.Guard, err error) {
		if err != nil {
			done(err)
			return
		}
		p.groups.doIn(tp.Partition, func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
			return s.CommitTransactionalOffsets(token, req, []kafka.UUID{topic.ID}, uint64(guard), nowMs)
		}, func(value any, err error) {
			if err == nil {
				if code := value.(*kmsg.TxnOffsetCommitResponse).Topics[0].Partitions[0].ErrorCode; code != 0 {
					err = kafka.ErrorCode(code)
				}
			}
			done(err)
		})
	})
}
