package sim

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator"
	"github.com/moldau/moldau/internal/group"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/replica"
	"github.com/moldau/moldau/internal/shard"
	"github.com/moldau/moldau/internal/storage"
	"github.com/moldau/moldau/internal/storage/producerstate"
	"github.com/moldau/moldau/internal/txn"
)

// transactionalProduceVersion is one at which the broker itself brings partitions into transactions.
const transactionalProduceVersion = 13

// Transactions drives the transaction coordinator's shards and the queue of their markers, and brings partitions into
// transactions on the way of a write, as coordinator and handlers do.
type Transactions struct {
	*Shards[*txn.Shard]
	sender *txn.Sender
	sends  *Alarm
}

func newTransactions(c *Coordinators) *Transactions {
	m := txn.NewMetrics(c.Metrics)
	t := &Transactions{sender: txn.NewSender()}
	t.Shards = newShards(c, coordinator.RuntimeOptions{Name: "transaction", Topic: kafka.TransactionStateTopic, OnNotice: t.notice}, func() *txn.Shard { return txn.NewShard(txnConfig(), m) })
	t.sends = NewAlarm(c.Loop.NowMs, c.After, t.pump)
	return t
}

func txnConfig() txn.Config {
	return txn.Config{MaxTimeoutMs: 900_000, ExpirationMs: ProducerExpirationMs, AbortCheckIntervalMs: 500, ExpiryIntervalMs: 3_600_000, TransactionVersion: func() int16 { return txn.Version2 }, MaxBatchSizeBytes: func() int32 { return 1 << 20 }}
}

func (t *Transactions) nowMs() int64 { return t.c.Clock.Now().UnixMilli() }

func (t *Transactions) publish(image *metadata.Image, delta *metadata.Delta) {
	t.Shards.publish(image, delta)
	for _, change := range delta.ChangedPartitions() {
		if change.Topic == t.topic && (change.New == nil || change.New.Leader != t.c.NodeID) {
			t.sender.Drop(change.ID)
		}
	}
}

// notice takes what a shard wants done.
func (t *Transactions) notice(partition, leaderEpoch int32, notice any) {
	switch n := notice.(type) {
	case txn.Markers:
		t.sender.Add(&txn.Delivery{Partition: partition, CoordinatorEpoch: leaderEpoch, Markers: n})
		t.sends.In(0)
	case txn.ProducerIDWanted:
		t.c.NewProducerID(func(id int64, err error) {
			if err == nil {
				t.doIn(partition, func(s *txn.Shard, token shard.Token, nowMs int64) shard.Effects {
					return s.AbortTimedOut(token, n.TransactionalID, id, nowMs)
				}, func(any, error) {})
			}
		})
	}
}

// pump delivers the markers that are due.
func (t *Transactions) pump() {
	for d := t.sender.Take(t.nowMs()); d != nil; d = t.sender.Take(t.nowMs()) {
		t.deliver(d)
	}
	if next := t.sender.NextDeadlineMs(); next != shard.NoDeadline {
		t.sends.In(max(1, next-t.nowMs()))
	}
}

// deliver has a transaction's markers written and then the transaction completed.
func (t *Transactions) deliver(d *txn.Delivery) {
	marker := shard.Marker{ProducerID: d.Producer.ID, Epoch: d.Producer.Epoch, CoordinatorEpoch: d.CoordinatorEpoch, Committed: d.Commit, TransactionVersion: d.TransactionVersion}
	t.c.WriteMarkers(marker, d.Partitions, func(codes []kafka.ErrorCode) {
		outcome := t.sender.Written(d, codes, t.nowMs())
		t.c.Loop.Note("markers of %s by node %d: %v, outcome %d", d.TransactionalID, t.c.NodeID, codes, outcome)
		t.sends.In(0)
		if outcome != txn.OutcomeWritten {
			return
		}
		t.doIn(d.Partition, func(s *txn.Shard, token shard.Token, nowMs int64) shard.Effects {
			return s.CompleteMarkers(token, d.Markers, nowMs)
		}, func(_ any, err error) {
			// As in coordinator: a shard that is loaded again has asked for its markers anew, maybe in the place of this delivery.
			if code := kafka.CodeOf(err); code == kafka.ErrNone || code == kafka.ErrNotCoordinator && !t.coordinates(d) {
				t.sender.Completed(d)
				return
			}
			t.sender.Retry(d, t.nowMs())
			t.sends.In(0)
		})
	})
}

// coordinates reports whether a delivery is of a shard that this node still owns.
func (t *Transactions) coordinates(d *txn.Delivery) bool {
	p := t.c.image.Partition(t.topic, d.Partition)
	return p != nil && p.Leader == t.c.NodeID && p.LeaderEpoch == d.CoordinatorEpoch
}

// WriteMarkers writes a marker into partitions that are led here.
func (t *Transactions) WriteMarkers(marker shard.Marker, partitions []kafka.TopicPartition, done func([]kafka.ErrorCode)) {
	codes, missing := make([]kafka.ErrorCode, len(partitions)), len(partitions)
	if missing == 0 {
		done(codes)
		return
	}
	for i, tp := range partitions {
		t.WriteMarker(tp, marker, func(err error) {
			codes[i] = kafka.CodeOf(err)
			if missing--; missing == 0 {
				done(codes)
			}
		})
	}
}

// WriteMarker writes a marker into a partition that is led here.
func (t *Transactions) WriteMarker(tp kafka.TopicPartition, marker shard.Marker, done func(error)) {
	c := t.c
	c.OnDisk(func() {
		if tp.Topic == kafka.ConsumerOffsetsTopic {
			if _, err := c.Replicas.Lookup(tp); err != nil {
				done(err)
				return
			}
			c.Groups.doIn(tp.Partition, func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
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
		batch, err := marker.Batch(t.nowMs())
		if err != nil {
			done(err)
			return
		}
		end, leaderEpoch, err := c.Replicas.AppendMarker(tp, batch, replica.TransactionalAppend{TransactionVersion: marker.TransactionVersion})
		if err != nil {
			done(err)
			return
		}
		c.Appended()
		c.Replicas.WhenCommitted(tp, leaderEpoch, end, done)
	})
}

// withProducerID runs a step that may need a fresh producer id.
func (t *Transactions) withProducerID(id string, step func(s *txn.Shard, token shard.Token, freshID, nowMs int64) shard.Effects, done func(txn.Result)) {
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
			t.c.NewProducerID(func(fresh int64, err error) {
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
func (t *Transactions) enlist(write transactionalWrite, done func(producerstate.Guard, error)) {
	guard, err := t.c.Replicas.StartVerification(write.tp, producerstate.Verification{
		ProducerID: write.producer.ID, Epoch: write.producer.Epoch, FirstSequence: write.firstSequence, Strict: write.version == txn.Version2, NowMs: t.nowMs(),
	})
	if err != nil || guard == producerstate.NoGuard {
		done(guard, err)
		return
	}
	r := txn.AddRequest{TransactionalID: write.transactionalID, Producer: write.producer, Partitions: []kafka.TopicPartition{write.tp}, Version: write.version}
	t.c.AddToTransaction(r, func(code kafka.ErrorCode) { done(guard, errorOf(code)) })
}

// Add takes the partition of r into a transaction that is coordinated here, or verifies that it is in it.
func (t *Transactions) Add(r txn.AddRequest, done func(kafka.ErrorCode)) {
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

// produce is a Produce request with one batch of a transaction.
func (t *Transactions) produce(write transactionalWrite, done func(error)) {
	c, tp := t.c, write.tp
	t.enlist(write, func(guard producerstate.Guard, err error) {
		if err != nil {
			done(err)
			return
		}
		c.OnDisk(func() {
			r, err := c.Replicas.Lookup(tp)
			if err != nil {
				done(err)
				return
			}
			leaderEpoch := r.Assignment().LeaderEpoch
			result, err := r.Append(partition.AppendRequest{
				AppendRequest: storage.AppendRequest{Records: write.records, Origin: storage.OriginClient, NowMs: t.nowMs(), ProduceVersion: transactionalProduceVersion, Guard: guard},
				RequiredAcks:  -1, CurrentLeaderEpoch: kafka.NoLeaderEpoch,
			})
			if err != nil {
				done(err)
				return
			}
			c.Appended()
			c.Replicas.WhenCommitted(tp, leaderEpoch, result.LastOffset+1, done)
		})
	})
}

// commitOffset is a TxnOffsetCommit of one partition.
func (t *Transactions) commitOffset(req *kmsg.TxnOffsetCommitRequest, version int16, done func(error)) {
	c, producer := t.c, txn.Producer{ID: req.ProducerID, Epoch: req.ProducerEpoch}
	topic := c.image.TopicByName(req.Topics[0].Topic)
	if c.Groups.count == 0 || topic == nil {
		done(kafka.ErrNotCoordinator)
		return
	}
	tp := kafka.TopicPartition{Topic: kafka.ConsumerOffsetsTopic, Partition: kafka.CoordinatorPartition(req.Group, c.Groups.count)}
	t.enlist(transactionalWrite{req.TransactionalID, producer, version, tp, kafka.NoSequence, nil}, func(guard producerstate.Guard, err error) {
		if err != nil {
			done(err)
			return
		}
		c.Groups.doIn(tp.Partition, func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
			return s.CommitTransactionalOffsets(token, req, []kafka.UUID{topic.ID}, uint64(guard), nowMs)
		}, func(value any, err error) {
			if err == nil {
				err = errorOf(kafka.ErrorCode(value.(*kmsg.TxnOffsetCommitResponse).Topics[0].Partitions[0].ErrorCode))
			}
			done(err)
		})
	})
}
