package sim

import (
	"github.com/twmb/franz-go/pkg/kmsg"

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

// txnPlane hosts the transaction coordinator's shards and the queue of their markers, and brings
// partitions into transactions on the way of a write, as coordinator and handlers do.
type txnPlane struct {
	*plane[*txn.Shard]
	sender  *txn.Sender
	alarmMs int64
}

type txnStep = shardStep[*txn.Shard]

const transactionStatePartitions = 2

func newTxnPlane(p *process, registry *metrics.Registry) *txnPlane {
	m := txn.NewMetrics(registry)
	t := &txnPlane{plane: newPlane(p, kafka.TransactionStateTopic, func() *txn.Shard { return txn.NewShard(txnConfig(), m) }), sender: txn.NewSender()}
	t.onNotice = t.notice
	return t
}

func txnConfig() txn.Config {
	return txn.Config{MaxTimeoutMs: 900_000, ExpirationMs: producerExpirationMs, AbortCheckIntervalMs: 1000, ExpiryIntervalMs: 3_600_000, TransactionVersion: func() int16 { return txn.Version2 }, MaxBatchSizeBytes: func() int32 { return 1 << 20 }}
}

func (t *txnPlane) publish(image *metadata.Image, delta *metadata.Delta) {
	t.plane.publish(image, delta)
	for _, change := range delta.ChangedPartitions() {
		if change.Topic == t.topic && (change.New == nil || change.New.Leader != t.p.node.id) {
			t.sender.Drop(change.ID)
		}
	}
}

// notice takes what a shard wants done.
func (t *txnPlane) notice(partition, leaderEpoch int32, notice any) {
	switch n := notice.(type) {
	case txn.Markers:
		t.sender.Add(&txn.Delivery{Partition: partition, CoordinatorEpoch: leaderEpoch, Markers: n})
		t.arm(0)
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

// arm plans a look at the markers that are due.
func (t *txnPlane) arm(delayMs int64) {
	w := t.p.node.w
	at := w.nowMs + max(delayMs, 0) + w.between(0, 6)
	if t.alarmMs > w.nowMs && t.alarmMs <= at {
		return
	}
	t.alarmMs = at
	w.after(at-w.nowMs, func() {
		if !t.p.touch() {
			return
		}
		t.alarmMs = 0
		for d := t.sender.Take(w.nowMs); d != nil && t.p.touch(); d = t.sender.Take(w.nowMs) {
			t.deliver(d)
		}
		if next := t.sender.NextDeadlineMs(); t.p.touch() && next != shard.NoDeadline {
			t.arm(next - w.nowMs)
		}
	})
}

// deliver writes a transaction's markers and then has the transaction completed.
func (t *txnPlane) deliver(d *txn.Delivery) {
	w := t.p.node.w
	marker := shard.Marker{ProducerID: d.Producer.ID, Epoch: d.Producer.Epoch, CoordinatorEpoch: d.CoordinatorEpoch, Committed: d.Commit, TransactionVersion: d.TransactionVersion}
	codes, missing := make([]kafka.ErrorCode, len(d.Partitions)), len(d.Partitions)
	finish := func() {
		outcome := t.sender.Written(d, codes, w.nowMs)
		w.note("markers of %s: %v, outcome %d", d.TransactionalID, codes, outcome)
		if outcome == txn.OutcomeRetry {
			t.arm(t.sender.NextDeadlineMs() - w.nowMs)
		}
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
			t.sender.Retry(d, w.nowMs)
			t.arm(t.sender.NextDeadlineMs() - w.nowMs)
		})
	}
	if missing == 0 {
		finish()
		return
	}
	for i, tp := range d.Partitions {
		t.writeMarker(tp, marker, func(err error) {
			codes[i] = kafka.CodeOf(err)
			if missing--; missing == 0 {
				finish()
			}
		})
	}
}

func (t *txnPlane) writeMarker(tp kafka.TopicPartition, marker shard.Marker, done func(error)) {
	p := t.p
	if tp.Topic == kafka.ConsumerOffsetsTopic {
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
	p.replicas.WhenCommitted(tp, leaderEpoch, end, done)
}

// withProducerID runs a step that may need a fresh producer id.
func (t *txnPlane) withProducerID(id string, step func(s *txn.Shard, token shard.Token, freshID, nowMs int64) shard.Effects, done func(txn.Result)) {
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

// enlist asks the partition's log for a guard and, unless the transaction is open there, the coordinator.
func (t *txnPlane) enlist(write transactionalWrite, done func(producerstate.Guard, error)) {
	id, producer, version, tp := write.transactionalID, write.producer, write.version, write.tp
	guard, err := t.p.replicas.StartVerification(tp, producerstate.Verification{
		ProducerID: producer.ID, Epoch: producer.Epoch, FirstSequence: write.firstSequence, Strict: version == txn.Version2, NowMs: t.p.nowMs(),
	})
	if err != nil || guard == producerstate.NoGuard {
		done(guard, err)
		return
	}
	request := txn.AddRequest{TransactionalID: id, Producer: producer, Partitions: []kafka.TopicPartition{tp}, Version: version}
	t.do(id, func(s *txn.Shard, token shard.Token, nowMs int64) shard.Effects {
		if version == txn.Version2 {
			return s.AddPartitions(token, request, nowMs)
		}
		return s.VerifyPartitions(token, request, nowMs)
	}, func(value any, err error) {
		code := kafka.CodeOf(err)
		switch v := value.(type) {
		case txn.Result:
			code = v.Code
		case []kafka.ErrorCode:
			code = v[0]
		}
		if code != kafka.ErrNone {
			err = code
		}
		done(guard, err)
	})
}

// produceTransactional is a Produce request with one batch of a transaction.
func (t *txnPlane) produceTransactional(write transactionalWrite, done func(error)) {
	tp := write.tp
	t.enlist(write, func(guard producerstate.Guard, err error) {
		if err != nil || !t.p.touch() {
			done(err)
			return
		}
		r, err := t.p.replicas.Lookup(tp)
		if err != nil {
			done(err)
			return
		}
		leaderEpoch := r.Assignment().LeaderEpoch
		result, err := r.Append(partition.AppendRequest{
			AppendRequest: storage.AppendRequest{Records: write.records, Origin: storage.OriginClient, NowMs: t.p.nowMs(), ProduceVersion: 12, Guard: guard},
			RequiredAcks:  -1, CurrentLeaderEpoch: kafka.NoLeaderEpoch,
		})
		if err != nil {
			done(err)
			return
		}
		t.p.replicas.WhenCommitted(tp, leaderEpoch, result.LastOffset+1, done)
	})
}

// commitOffset is a TxnOffsetCommit of one partition.
func (t *txnPlane) commitOffset(req *kmsg.TxnOffsetCommitRequest, version int16, done func(error)) {
	p, producer := t.p, txn.Producer{ID: req.ProducerID, Epoch: req.ProducerEpoch}
	if p.groups.count == 0 {
		done(kafka.ErrNotCoordinator)
		return
	}
	tp := kafka.TopicPartition{Topic: kafka.ConsumerOffsetsTopic, Partition: kafka.CoordinatorPartition(req.Group, p.groups.count)}
	t.enlist(transactionalWrite{req.TransactionalID, producer, version, tp, kafka.NoSequence, nil}, func(guard producerstate.Guard, err error) {
		if err != nil || !p.touch() {
			done(err)
			return
		}
		ids := []kafka.UUID{p.metadata.image.TopicByName(req.Topics[0].Topic).ID}
		p.groups.doIn(tp.Partition, func(s *group.Shard, token shard.Token, nowMs int64) shard.Effects {
			return s.CommitTransactionalOffsets(token, req, ids, uint64(guard), nowMs)
		}, func(value any, err error) {
			if err == nil {
				err = errorOf(value.(*kmsg.TxnOffsetCommitResponse).Topics[0].Partitions[0].ErrorCode)
			}
			done(err)
		})
	})
}
