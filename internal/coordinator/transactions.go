package coordinator

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/shard"
	"github.com/moldau/moldau/internal/txn"
)

// transactionWorkers is how many partitions of __transaction_state may be worked on at the same
// time.
const transactionWorkers = 4

// TransactionsOptions are what Transactions needs.
type TransactionsOptions struct {
	NodeID  int32
	Log     Log
	Clock   env.Clock
	Spawner *env.Spawner
	Metrics *metrics.Registry
	Config  txn.Config
	Markers *Markers
	// Call sends requests to other brokers.
	Call Call
	// NextProducerID returns a producer id that was never given out before.
	NextProducerID func(ctx context.Context) (int64, error)
}

// Transactions is this broker's transaction coordinator: it routes requests to the shard that owns
// their transactional id. Methods are safe for concurrent use. They return an error only when ctx
// has ended; everything that a client should know is in the code.
type Transactions struct {
	o          TransactionsOptions
	runtime    *Runtime[*txn.Shard]
	sender     *markerSender
	partitions atomic.Int32 // of __transaction_state; 0 while the topic does not exist
	image      atomic.Pointer[metadata.Image]
}

// NewTransactions returns a coordinator without shards; Start it, and publish metadata to it.
func NewTransactions(o TransactionsOptions) *Transactions {
	t := &Transactions{o: o}
	shardMetrics := txn.NewMetrics(o.Metrics)
	t.image.Store(metadata.EmptyImage())
	t.sender = newMarkerSender(o.Clock, o.Metrics, newMarkerRouter(&t.o, &t.image), t.complete, t.coordinates)
	t.runtime = NewRuntime(RuntimeOptions{
		Name: "transaction", Topic: kafka.TransactionStateTopic, Log: o.Log, Clock: o.Clock, SteadyMs: sinceNow(), Spawner: o.Spawner, Metrics: o.Metrics,
		Workers: transactionWorkers, MaxBatchSizeBytes: o.Config.MaxBatchSizeBytes, OnNotice: t.onNotice,
	}, func() *txn.Shard { return txn.NewShard(o.Config, shardMetrics) })
	return t
}

// Start starts the goroutines; they end with the Spawner.
func (t *Transactions) Start() {
	t.runtime.Start()
	t.sender.start(t.o.Spawner)
}

// Publish is a metadata publisher. It must be registered after the replica manager's.
func (t *Transactions) Publish(image *metadata.Image, delta *metadata.Delta) {
	count := 0
	if topic := image.TopicByName(kafka.TransactionStateTopic); topic != nil {
		count = len(topic.Partitions)
	}
	t.partitions.Store(int32(count))
	t.image.Store(image)
	for _, change := range delta.ChangedPartitions() {
		switch {
		case change.Topic != kafka.TransactionStateTopic:
		case change.New != nil && change.New.Leader == t.o.NodeID:
			t.runtime.Elect(change.ID, change.New.LeaderEpoch)
		default:
			t.runtime.Resign(change.ID)
			t.sender.drop(change.ID)
		}
	}
}

// CheckLogs has all shards see whether another broker may coordinate their transactions by now.
func (t *Transactions) CheckLogs() { t.runtime.CheckAppends() }

// onNotice takes what a shard wants done. It runs on a worker and does not block.
func (t *Transactions) onNotice(partition, leaderEpoch int32, notice any) {
	switch n := notice.(type) {
	case txn.Markers:
		t.sender.add(&txn.Delivery{Partition: partition, CoordinatorEpoch: leaderEpoch, Markers: n})
	case txn.ProducerIDWanted:
		t.o.Spawner.Go("transaction-abort", func(ctx context.Context) { t.abortTimedOut(ctx, partition, n.TransactionalID) })
	}
}

func (t *Transactions) abortTimedOut(ctx context.Context, partition int32, id string) {
	freshID, err := t.o.NextProducerID(ctx)
	if err == nil {
		_, err = t.runtime.Do(ctx, partition, func(s *txn.Shard, token shard.Token, nowMs int64) shard.Effects {
			return s.AbortTimedOut(token, id, freshID, nowMs)
		})
	}
	if err != nil && ctx.Err() == nil {
		slog.Warn("a transaction that takes too long could not be aborted; it will be tried again", "transactionalId", id, "error", err)
	}
}

// complete ends a transaction whose markers are written.
func (t *Transactions) complete(ctx context.Context, d *txn.Delivery) error {
	_, err := t.runtime.Do(ctx, d.Partition, func(s *txn.Shard, token shard.Token, nowMs int64) shard.Effects {
		return s.CompleteMarkers(token, d.Markers, nowMs)
	})
	return err
}

func (t *Transactions) coordinates(partition, leaderEpoch int32) bool {
	return t.runtime.hostsIn(partition, leaderEpoch)
}

// transactionDo runs step on the shard of a transactional id.
func transactionDo[R any](ctx context.Context, t *Transactions, id string, step Step[*txn.Shard]) (response R, code kafka.ErrorCode, err error) {
	count := t.partitions.Load()
	if count == 0 {
		return response, kafka.ErrNotCoordinator, nil
	}
	return await[R](ctx, t.runtime.Begin(kafka.CoordinatorPartition(id, count), step))
}

// withProducerID asks a shard, and again with a fresh producer id if it needs one.
func (t *Transactions) withProducerID(ctx context.Context, id string, step func(s *txn.Shard, token shard.Token, freshID, nowMs int64) shard.Effects) (txn.Result, error) {
	freshID := kafka.NoProducerID
	for {
		result, code, err := transactionDo[txn.Result](ctx, t, id, func(s *txn.Shard, token shard.Token, nowMs int64) shard.Effects {
			return step(s, token, freshID, nowMs)
		})
		if err != nil || code != kafka.ErrNone {
			return txn.Result{Code: code, Producer: txn.NoProducer}, err
		}
		if !result.NeedsProducerID {
			return result, nil
		}
		if freshID, err = t.o.NextProducerID(ctx); err != nil {
			return txn.Result{Code: kafka.CodeOf(err), Producer: txn.NoProducer}, ctx.Err()
		}
	}
}

// InitProducerID gives a transactional producer its id and epoch.
func (t *Transactions) InitProducerID(ctx context.Context, r txn.InitRequest) (txn.Result, error) {
	return t.withProducerID(ctx, r.TransactionalID, func(s *txn.Shard, token shard.Token, freshID, nowMs int64) shard.Effects {
		r.FreshID = freshID
		return s.InitProducerID(token, r, nowMs)
	})
}

// EndTransaction commits or aborts; the answer does not wait for the markers.
func (t *Transactions) EndTransaction(ctx context.Context, r txn.EndRequest) (txn.Result, error) {
	return t.withProducerID(ctx, r.TransactionalID, func(s *txn.Shard, token shard.Token, freshID, nowMs int64) shard.Effects {
		r.FreshID = freshID
		return s.EndTransaction(token, r, nowMs)
	})
}

// AddPartitions takes partitions into a transaction that this broker coordinates.
func (t *Transactions) AddPartitions(ctx context.Context, r txn.AddRequest) (kafka.ErrorCode, error) {
	codes, err := t.BeginAddPartitions(r).Wait(ctx)
	if len(codes) == 0 {
		return kafka.ErrNone, err
	}
	return codes[0], err // the same for all
}

// VerifyPartitions tells for each partition whether it is in the transaction, which this broker
// coordinates.
func (t *Transactions) VerifyPartitions(ctx context.Context, r txn.AddRequest) ([]kafka.ErrorCode, error) {
	return t.BeginVerifyPartitions(r).Wait(ctx)
}

// PendingPartitions are partitions that are being added to a transaction or verified.
type PendingPartitions struct {
	step  Pending
	count int
}

// BeginAddPartitions is AddPartitions for several transactions at a time, which share the time that
// replication takes.
func (t *Transactions) BeginAddPartitions(r txn.AddRequest) PendingPartitions {
	return t.beginPartitions(t.runtime.Begin, r, (*txn.Shard).AddPartitions)
}

// BeginVerifyPartitions is VerifyPartitions for several transactions at a time.
func (t *Transactions) BeginVerifyPartitions(r txn.AddRequest) PendingPartitions {
	return t.beginPartitions(t.runtime.BeginRead, r, (*txn.Shard).VerifyPartitions)
}

func (t *Transactions) beginPartitions(begin func(int32, Step[*txn.Shard]) Pending, r txn.AddRequest, step func(s *txn.Shard, token shard.Token, r txn.AddRequest, nowMs int64) shard.Effects) PendingPartitions {
	p := PendingPartitions{step: Pending{code: kafka.ErrNotCoordinator}, count: len(r.Partitions)}
	if count := t.partitions.Load(); count > 0 {
		p.step = begin(kafka.CoordinatorPartition(r.TransactionalID, count), func(s *txn.Shard, token shard.Token, nowMs int64) shard.Effects {
			return step(s, token, r, nowMs)
		})
	}
	return p
}

// Wait returns the codes of the partitions.
func (p PendingPartitions) Wait(ctx context.Context) ([]kafka.ErrorCode, error) {
	value, err := p.step.Wait(ctx)
	if err != nil && ctx.Err() != nil {
		return nil, err
	}
	all := kafka.CodeOf(err)
	switch v := value.(type) {
	case []kafka.ErrorCode:
		return v, nil
	case txn.Result:
		all = v.Code
	}
	return slices.Repeat([]kafka.ErrorCode{all}, p.count), nil
}

// Describe describes one transactional id.
func (t *Transactions) Describe(ctx context.Context, id string) (kmsg.DescribeTransactionsResponseTransactionState, error) {
	var d kmsg.DescribeTransactionsResponseTransactionState
	code, err := kafka.ErrNotCoordinator, error(nil)
	if count := t.partitions.Load(); count > 0 {
		d, code, err = await[kmsg.DescribeTransactionsResponseTransactionState](ctx, t.runtime.BeginRead(kafka.CoordinatorPartition(id, count), func(s *txn.Shard, token shard.Token, nowMs int64) shard.Effects {
			return s.Describe(token, id, nowMs)
		}))
	}
	if code != kafka.ErrNone {
		d = kmsg.NewDescribeTransactionsResponseTransactionState()
		d.TransactionalID, d.ErrorCode = id, int16(code)
	}
	return d, err
}

// List lists the transactions that this broker coordinates, by partition and id. The code tells
// that not all of them are loaded yet.
func (t *Transactions) List(ctx context.Context, f txn.Filter) ([]kmsg.ListTransactionsResponseTransactionState, kafka.ErrorCode, error) {
	listed := []kmsg.ListTransactionsResponseTransactionState{}
	partitions := t.runtime.Partitions()
	slices.Sort(partitions)
	for _, partition := range partitions {
		value, err := t.runtime.BeginRead(partition, func(s *txn.Shard, token shard.Token, nowMs int64) shard.Effects {
			return s.List(token, f, nowMs)
		}).Wait(ctx)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, kafka.ErrNone, err
		case kafka.CodeOf(err) == kafka.ErrNotCoordinator:
			continue
		case kafka.CodeOf(err) == kafka.ErrCoordinatorNotAvailable:
			return nil, kafka.ErrCoordinatorLoadInProgress, nil // the other one means to Java that the broker is stopping
		case err != nil:
			return nil, kafka.CodeOf(err), nil
		}
		listed = append(listed, value.([]kmsg.ListTransactionsResponseTransactionState)...)
	}
	return listed, kafka.ErrNone, nil
}
