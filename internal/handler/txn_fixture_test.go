package handler

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator"
	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/group"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/txn"
	"github.com/moldau/moldau/internal/wire"
)

// txnPlane is broker 1 with all that a transaction meets, on a disk in memory: logs, both
// coordinators with their topics, and the handlers. It can be killed and started again.
type txnPlane struct {
	*dataPlane
	t            *testing.T
	nodeID       int32
	call         coordinator.Call // to other brokers; nil where there are none
	fs           *vfs.Mem
	started      bool
	unverified   bool // transaction.partition.verification.enable=false
	applied      []metadata.Record
	ids          *idController
	spawner      *env.Spawner
	registry     *metrics.Registry
	groups       *coordinator.Groups
	transactions *coordinator.Transactions
	handlers     map[int16]Handler
}

// newTxnPlane has topic t with two partitions, and the coordinators' topics.
func newTxnPlane(t *testing.T) *txnPlane {
	f := newTxnPlaneWithoutTopics(t)
	f.create("t", 2)
	f.create(kafka.TransactionStateTopic, 2)
	f.create(kafka.ConsumerOffsetsTopic, 2)
	return f
}

func newTxnPlaneWithoutTopics(t *testing.T) *txnPlane {
	t.Helper()
	t.Parallel()
	f := &txnPlane{t: t, nodeID: 1, fs: vfs.NewMem(), ids: &idController{next: 1000}}
	if err := f.fs.MkdirAll("/data"); err != nil {
		t.Fatal(err)
	}
	f.start()
	f.apply(&metadata.RegisterBrokerRecord{BrokerID: 1, Endpoints: []metadata.Endpoint{{Name: "PLAINTEXT", Host: "one.example", Port: 9092}}})
	return f
}

func (f *txnPlane) start() {
	f.dataPlane, f.started = newDataPlaneAs(f.t, f.fs, f.nodeID), false
	f.spawner = env.NewSpawner(context.Background(), nil)
	f.t.Cleanup(f.spawner.Stop)
	f.registry = metrics.NewRegistry()
	registry, clock := f.registry, env.SystemClock{}
	config := group.DefaultConfig()
	config.InitialRebalanceDelayMs = 0
	f.groups = coordinator.NewGroups(coordinator.GroupsOptions{NodeID: f.nodeID, Log: f.replicas, Clock: clock, Random: env.SystemRandom{}, Spawner: f.spawner, Metrics: registry, Config: config})
	markers := &coordinator.Markers{Replicas: f.replicas, Groups: f.groups, Clock: clock}
	producerIDs := NewProducerIDs(f.nodeID, func() int64 { return 77 }, f.ids)
	f.transactions = coordinator.NewTransactions(coordinator.TransactionsOptions{
		NodeID: f.nodeID, Log: f.replicas, Clock: clock, Spawner: f.spawner, Metrics: registry, Markers: markers, NextProducerID: producerIDs.Next, Call: f.call,
		Config: txn.Config{MaxTimeoutMs: 900_000, ExpirationMs: 604_800_000, AbortCheckIntervalMs: 10_000, ExpiryIntervalMs: 3_600_000, TransactionVersion: func() int16 { return txn.Version2 }, MaxBatchSizeBytes: func() int32 { return 1 << 20 }},
	})
	f.groups.Start()
	f.transactions.Start()
	image := f.replicas.Image
	coordinators := coordinator.NewEnlistments(f.transactions)
	enlister := &Enlister{
		StartVerification: f.replicas.StartVerification, AddPartitions: coordinators.AddPartitions, VerifyPartitions: coordinators.VerifyPartitions,
		NowMs: func() int64 { return clock.Now().UnixMilli() }, RetryBackoff: time.Millisecond, RetryFor: time.Second,
		Verifies: func() bool { return !f.unverified },
	}
	f.produce.Enlister = enlister
	f.handlers = map[int16]Handler{
		wire.KeyProduce: f.produce, wire.KeyListOffsets: f.list, wire.KeyDeleteRecords: &DeleteRecords{Replicas: f.replicas, Metadata: image, Authorizer: f},
		wire.KeyInitProducerID:       &InitProducerID{Authorizer: f, IDs: producerIDs, Transactions: f.transactions},
		wire.KeyAddPartitionsToTxn:   &AddPartitionsToTxn{Transactions: f.transactions, Authorizer: f, Metadata: image},
		wire.KeyAddOffsetsToTxn:      &AddOffsetsToTxn{Transactions: f.transactions, Groups: f.groups, Authorizer: f},
		wire.KeyEndTxn:               &EndTxn{Transactions: f.transactions, Authorizer: f},
		wire.KeyWriteTxnMarkers:      &WriteTxnMarkers{Markers: markers, Authorizer: f},
		wire.KeyTxnOffsetCommit:      &TxnOffsetCommit{Groups: f.groups, Enlister: enlister, Authorizer: f, Metadata: image},
		wire.KeyDescribeProducers:    &DescribeProducers{Replicas: f.replicas, Metadata: image, Authorizer: f},
		wire.KeyDescribeTransactions: &DescribeTransactions{Transactions: f.transactions, Authorizer: f},
		wire.KeyListTransactions:     &ListTransactions{Transactions: f.transactions, Authorizer: f},
		wire.KeyOffsetFetch:          &OffsetFetch{Groups: f.groups, Authorizer: f, Metadata: image},
		wire.KeyDeleteGroups:         &DeleteGroups{Groups: f.groups, Authorizer: f},
	}
	f.publish(f.applied...)
}

// apply publishes metadata, which a restart finds again.
func (f *txnPlane) apply(records ...metadata.Record) {
	f.applied = append(f.applied, records...)
	f.publish(records...)
}

func (f *txnPlane) publish(records ...metadata.Record) {
	f.t.Helper()
	delta := metadata.NewDelta(f.replicas.Image())
	for _, r := range records {
		if err := delta.Replay(r); err != nil {
			f.t.Fatal(err)
		}
	}
	f.offset += int64(len(records))
	image := delta.Apply(f.offset, 1)
	f.replicas.Apply(image, delta)
	if !f.started { // as the broker does: what it knows from its metadata log comes first
		if err := f.replicas.Start(); err != nil {
			f.t.Fatal(err)
		}
		f.started = true
	}
	f.groups.Publish(image, delta)
	f.transactions.Publish(image, delta)
}

func (f *txnPlane) create(topic string, partitions int32) {
	f.createAs(topic, topicIDOf(topic), partitions)
}

func (f *txnPlane) createAs(topic string, id kafka.UUID, partitions int32) {
	f.t.Helper()
	f.apply(topicRecords(topic, id, partitions)...)
}

// kill stops everything as kill -9 does, and starts it again on what the disk has.
func (f *txnPlane) kill() {
	f.t.Helper()
	f.spawner.Stop()
	f.fs = f.fs.KillClone()
	f.start()
}

// ask sends a request in a version through its encoding, and the response back. It asks again as
// long as the coordinators are loading.
func ask[R kmsg.Response](f *txnPlane, version int16, req kmsg.Request) R {
	f.t.Helper()
	response, answered := f.answer(f.t.Context(), version, req)
	if !answered {
		f.t.Fatalf("%T version %d: the connection is closed", req, version)
	}
	return response.(R)
}

// answer is what the handler answers, through its encoding; false where it closes the connection.
func (f *txnPlane) answer(ctx context.Context, version int16, req kmsg.Request) (kmsg.Response, bool) {
	f.t.Helper()
	req.SetVersion(version)
	response := req.ResponseKind()
	response.SetVersion(version)
	decoded := kmsg.RequestForKey(req.Key())
	decoded.SetVersion(version)
	if err := decoded.ReadFrom(req.AppendTo(nil)); err != nil {
		f.t.Fatalf("%T version %d: %v", req, version, err)
	}
	reply := f.handlers[req.Key()].Handle(ctx, dataRequest(decoded, "client"))
	if reply.CloseConnection {
		return nil, false
	}
	if err := response.ReadFrom(encodedBody(f.t, reply, version)); err != nil {
		f.t.Fatalf("%T version %d: %v", req, version, err)
	}
	return response, true
}

// settled asks until the coordinator has loaded and the transaction before has ended.
func settled[R any](f *txnPlane, attempt func() (R, kafka.ErrorCode)) (R, kafka.ErrorCode) {
	f.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		result, code := attempt()
		switch code {
		case kafka.ErrCoordinatorLoadInProgress, kafka.ErrConcurrentTransactions, kafka.ErrNotCoordinator, kafka.ErrCoordinatorNotAvailable:
			if time.Now().Before(deadline) {
				continue
			}
		}
		return result, code
	}
}

func initRequest(id string, timeoutMs int32, expected *txn.Producer) *kmsg.InitProducerIDRequest {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis = &id, timeoutMs
	if expected != nil {
		req.ProducerID, req.ProducerEpoch = expected.ID, expected.Epoch
	}
	return req
}

// init makes a producer ready.
func (f *txnPlane) init(id string) txn.Producer {
	f.t.Helper()
	p, code := settled(f, func() (txn.Producer, kafka.ErrorCode) {
		resp := ask[*kmsg.InitProducerIDResponse](f, 5, initRequest(id, 60_000, nil))
		return txn.Producer{ID: resp.ProducerID, Epoch: resp.ProducerEpoch}, kafka.ErrorCode(resp.ErrorCode)
	})
	if code != kafka.ErrNone {
		f.t.Fatalf("init %s: %v", id, code)
	}
	return p
}

// write produces a record in a transaction: from version 12 on that adds the partition.
func (f *txnPlane) write(version int16, id string, p txn.Producer, topic string, partition, sequence int32) kafka.ErrorCode {
	f.t.Helper()
	batch := transactionalBatch(f.t, p.ID, p.Epoch, sequence)
	_, code := settled(f, func() (struct{}, kafka.ErrorCode) {
		req := withProduce(newProduceRequest(version, -1), topic, partition, batch)
		req.TransactionID = &id
		return struct{}{}, kafka.ErrorCode(f.doProduce(req).Topics[0].Partitions[0].ErrorCode)
	})
	return code
}

func transactionalBatch(t *testing.T, producerID int64, epoch int16, sequence int32) record.Batch {
	t.Helper()
	b := record.NewBuilder(record.BuilderOptions{LeaderEpoch: -1, ProducerID: producerID, ProducerEpoch: epoch, BaseSequence: sequence, Transactional: true})
	b.Append(time.Now().UnixMilli(), nil, []byte("v"), nil)
	batch, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

func endRequest(id string, p txn.Producer, commit bool) *kmsg.EndTxnRequest {
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = id, p.ID, p.Epoch, commit
	return req
}

// end ends a transaction and waits until its markers are written.
func (f *txnPlane) end(version int16, id string, p txn.Producer, commit bool) (txn.Producer, kafka.ErrorCode) {
	f.t.Helper()
	next, code := settled(f, func() (txn.Producer, kafka.ErrorCode) {
		resp := ask[*kmsg.EndTxnResponse](f, version, endRequest(id, p, commit))
		return txn.Producer{ID: resp.ProducerID, Epoch: resp.ProducerEpoch}, kafka.ErrorCode(resp.ErrorCode)
	})
	for code == kafka.ErrNone && (f.state(id) == "PrepareCommit" || f.state(id) == "PrepareAbort") {
	}
	return next, code
}

func (f *txnPlane) describe(id string) kmsg.DescribeTransactionsResponseTransactionState {
	f.t.Helper()
	d, _ := settled(f, func() (kmsg.DescribeTransactionsResponseTransactionState, kafka.ErrorCode) {
		req := kmsg.NewPtrDescribeTransactionsRequest()
		req.TransactionalIDs = []string{id}
		state := ask[*kmsg.DescribeTransactionsResponse](f, 0, req).TransactionStates[0]
		return state, kafka.ErrorCode(state.ErrorCode)
	})
	return d
}

func (f *txnPlane) state(id string) string { return f.describe(id).State }

// stable is a partition's last stable offset.
func (f *txnPlane) stable(topic string, partition int32) int64 {
	f.t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID, req.IsolationLevel = -1, 1
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp = partition, -1
	req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
	answer := ask[*kmsg.ListOffsetsResponse](f, 5, req).Topics[0].Partitions[0]
	if answer.ErrorCode != 0 {
		f.t.Fatalf("%s-%d: %v", topic, partition, kafka.ErrorCode(answer.ErrorCode))
	}
	return answer.Offset
}

// mustWrite and mustEnd are write and end in version 2, without a refusal.
func (f *txnPlane) mustWrite(id string, p txn.Producer, topic string, partition, sequence int32) {
	f.t.Helper()
	if code := f.write(12, id, p, topic, partition, sequence); code != kafka.ErrNone {
		f.t.Fatalf("write to %s-%d as %+v: %v", topic, partition, p, code)
	}
}

func (f *txnPlane) mustEnd(id string, p txn.Producer, commit bool) txn.Producer {
	f.t.Helper()
	next, code := f.end(5, id, p, commit)
	if code != kafka.ErrNone {
		f.t.Fatalf("end as %+v: %v", p, code)
	}
	return next
}
