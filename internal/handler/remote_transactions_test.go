package handler

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/txn"
)

// pair are two brokers that call each other. Broker 1 coordinates transactions, broker 2 groups;
// partition 0 of topic t is led by broker 1, partition 1 by broker 2.
type pair struct {
	t     *testing.T
	one   *txnPlane
	two   *txnPlane
	mu    sync.Mutex
	down  bool // calls fail before they reach the other broker
	lost  bool // the answers to calls are lost
	gate  chan struct{}
	calls int
}

func newPair(t *testing.T) *pair {
	t.Helper()
	t.Parallel()
	p := &pair{t: t}
	planes := []**txnPlane{&p.one, &p.two}
	for i, plane := range planes {
		f := &txnPlane{t: t, nodeID: int32(i + 1), fs: vfs.NewMem(), ids: &idController{next: int64(1000 * (i + 1))}, call: p.call}
		if err := f.fs.MkdirAll("/data"); err != nil {
			t.Fatal(err)
		}
		f.start()
		*plane = f
	}
	p.apply(&metadata.RegisterBrokerRecord{BrokerID: 1, Endpoints: []metadata.Endpoint{{Name: "PLAINTEXT", Host: "one.example", Port: 9092}}},
		&metadata.RegisterBrokerRecord{BrokerID: 2, Endpoints: []metadata.Endpoint{{Name: "PLAINTEXT", Host: "two.example", Port: 9093}}})
	p.apply(ledBy("t", 1, 2)...)
	p.apply(ledBy(kafka.TransactionStateTopic, 1, 1)...)
	p.apply(ledBy(kafka.ConsumerOffsetsTopic, 2, 2)...)
	return p
}

// ledBy makes a topic whose partitions have the leaders given.
func ledBy(topic string, leaders ...int32) []metadata.Record {
	records := []metadata.Record{&metadata.TopicRecord{Name: topic, TopicID: topicIDOf(topic)}}
	for i, leader := range leaders {
		records = append(records, &metadata.PartitionRecord{PartitionID: int32(i), TopicID: topicIDOf(topic), Replicas: []int32{leader}, ISR: []int32{leader}, Leader: leader, Directories: []kafka.UUID{{}}})
	}
	return records
}

func (p *pair) apply(records ...metadata.Record) {
	p.t.Helper()
	p.one.apply(records...)
	p.two.apply(records...)
}

func (p *pair) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// call has the handlers of the other broker answer, through their encoding.
func (p *pair) call(ctx context.Context, broker int32, req kmsg.Request) (kmsg.Response, error) {
	p.mu.Lock()
	p.calls++
	down, lost, gate, f := p.down, p.lost, p.gate, p.one
	if broker == 2 {
		f = p.two
	}
	p.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if down {
		return nil, errors.New("connection refused")
	}
	resp, answered := f.answer(ctx, req.GetVersion(), req)
	if lost || !answered { // as when the other broker stops, at a test's end
		return nil, errors.New("connection reset")
	}
	return resp, nil
}

// writeThrough writes as a producer of version 2 to the partition's leader.
func (p *pair) writeThrough(id string, producer txn.Producer, partition int32) {
	p.t.Helper()
	f := []*txnPlane{p.one, p.two}[partition]
	f.mustWrite(id, producer, "t", partition, 0)
}

// mustEnd ends a transaction at broker 1 without waiting for the markers.
func (p *pair) mustEnd(id string, producer txn.Producer, commit bool) {
	p.t.Helper()
	_, code := settled(p.one, func() (struct{}, kafka.ErrorCode) {
		return struct{}{}, kafka.ErrorCode(ask[*kmsg.EndTxnResponse](p.one, 5, endRequest(id, producer, commit)).ErrorCode)
	})
	if code != kafka.ErrNone {
		p.t.Fatalf("end: %v", code)
	}
}

// eventually waits for what the goroutines of the brokers do.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("it never came: %s", what)
		}
	}
}

func TestTransactionOverTwoBrokers(t *testing.T) {
	p := newPair(t)
	for _, commit := range []bool{true, false} {
		id := fmt.Sprint("commit ", commit)
		producer := p.one.init(id)
		before := []int64{p.one.stable("t", 0), p.two.stable("t", 1)}
		p.writeThrough(id, producer, 0)
		p.writeThrough(id, producer, 1)
		if codes := p.two.commitOffsets(5, txnCommitRequest(id, producer, id, "t", 0)); codes[0] != kafka.ErrNone {
			t.Fatalf("offsets: %v", codes)
		}
		if d := p.one.describe(id); len(d.Topics) != 2 || d.State != "Ongoing" {
			t.Fatalf("the coordinator has %+v", d)
		}
		if after := p.two.stable("t", 1); after != before[1] {
			t.Fatalf("the last stable offset went from %d to %d", before[1], after)
		}
		p.mustEnd(id, producer, commit)
		eventually(t, "the end of the transaction", func() bool { return p.one.state(id)[:8] == "Complete" })
		for partition, f := range []*txnPlane{p.one, p.two} {
			if after := f.stable("t", int32(partition)); after != before[partition]+2 {
				t.Errorf("commit %v: the last stable offset of partition %d went from %d to %d", commit, partition, before[partition], after)
			}
		}
		if offset, code := p.two.fetchStable(id); code != kafka.ErrNone || (offset == 42) != commit {
			t.Errorf("commit %v: the group is at %d, %v", commit, offset, code)
		}
	}
}

// Producers of version 1 add their partitions themselves; the leader verifies that they did.
func TestVerificationAtAnotherBroker(t *testing.T) {
	p := newPair(t)
	producer := p.one.init("x")
	if code := p.two.write(11, "x", producer, "t", 1, 0); code != kafka.ErrTransactionAbortable {
		t.Errorf("not announced: %v", code)
	}
	if code := p.two.write(10, "x", producer, "t", 1, 0); code != kafka.ErrInvalidTxnState {
		t.Errorf("not announced, older client: %v", code)
	}
	add := kmsg.NewPtrAddPartitionsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch = "x", producer.ID, producer.Epoch
	add.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: "t", Partitions: []int32{1}}}
	wantCode(t, "announce", ask[*kmsg.AddPartitionsToTxnResponse](p.one, 3, add).Topics[0].Partitions[0].ErrorCode, kafka.ErrNone)
	if code := p.two.write(11, "x", producer, "t", 1, 0); code != kafka.ErrNone {
		t.Errorf("announced: %v", code)
	}
	if code := p.two.write(12, "x", txn.Producer{ID: producer.ID, Epoch: producer.Epoch - 1}, "t", 1, 0); code != kafka.ErrInvalidProducerEpoch {
		t.Errorf("fenced: %v", code)
	}
}

func TestCoordinatorThatDoesNotAnswer(t *testing.T) {
	p := newPair(t)
	producer := p.one.init("x")
	p.set(func() { p.down = true })
	if code := p.two.write(12, "x", producer, "t", 1, 0); code != kafka.ErrNotEnoughReplicas {
		t.Errorf("refused connection: %v", code) // producers ask again
	}
	p.set(func() { p.down, p.lost = false, true })
	if code := p.two.write(12, "x", producer, "t", 1, 0); code != kafka.ErrNotEnoughReplicas {
		t.Errorf("lost answer: %v", code)
	}
	p.set(func() { p.lost = false })
	p.two.mustWrite("x", producer, "t", 1, 0)
	p.one.denied[security.Cluster] = true
	if code := p.two.write(12, "x", p.one.init("y"), "t", 1, 0); code == kafka.ErrNone {
		t.Error("a broker that may not ask is answered")
	}
}

// Markers are written again until the leaders have them; one that was written and whose answer was
// lost is written once more.
func TestMarkersThroughFailures(t *testing.T) {
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprint("lost answers ", lost), func(t *testing.T) {
			p := newPair(t)
			producer := p.one.init("x")
			p.writeThrough("x", producer, 0)
			p.writeThrough("x", producer, 1)
			p.set(func() { p.down, p.lost, p.calls = !lost, lost, 0 })
			p.mustEnd("x", producer, true)
			eventually(t, "attempts", func() bool {
				p.mu.Lock()
				defer p.mu.Unlock()
				return p.calls >= 3
			})
			if state := p.one.state("x"); state != "PrepareCommit" {
				t.Errorf("the transaction is in state %s", state)
			}
			p.set(func() { p.down, p.lost = false, false })
			eventually(t, "the end of the transaction", func() bool { return p.one.state("x") == "CompleteCommit" })
			if log := p.two.log("t", 1); p.two.stable("t", 1) != log.LogEndOffset() {
				t.Errorf("the last stable offset is %d, the log ends at %d", p.two.stable("t", 1), log.LogEndOffset())
			}
		})
	}
}

// A leader that has not heard of its partition yet is asked again; it must not be taken for deleted.
func TestMarkersForALeaderThatIsBehind(t *testing.T) {
	p := newPair(t)
	p.one.apply(ledBy("late", 2)...)
	producer := p.one.init("x")
	add := kmsg.NewPtrAddPartitionsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch = "x", producer.ID, producer.Epoch
	add.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: "late", Partitions: []int32{0}}}
	wantCode(t, "announce", ask[*kmsg.AddPartitionsToTxnResponse](p.one, 3, add).Topics[0].Partitions[0].ErrorCode, kafka.ErrNone)
	p.mustEnd("x", producer, true)
	eventually(t, "attempts", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.calls >= 3
	})
	if state := p.one.state("x"); state != "PrepareCommit" {
		t.Errorf("the transaction is in state %s", state)
	}
	p.two.apply(ledBy("late", 2)...)
	eventually(t, "the end of the transaction", func() bool { return p.one.state("x") == "CompleteCommit" })
	if end := p.two.log("late", 0).LogEndOffset(); end != 1 {
		t.Errorf("the log ends at %d", end)
	}
}

// The leadership of a partition moves while its marker cannot be written, and a topic is deleted.
func TestMarkersFollowTheMetadata(t *testing.T) {
	p := newPair(t)
	p.apply(ledBy("gone", 2)...)
	producer := p.one.init("x")
	p.writeThrough("x", producer, 1)
	p.two.mustWrite("x", producer, "gone", 0, 0)
	p.set(func() { p.down = true })
	p.mustEnd("x", producer, true)
	change := metadata.NewPartitionChangeRecord(topicIDOf("t"), 1)
	change.Replicas, change.ISR, change.Leader = []int32{1}, []int32{1}, 1
	p.one.apply(change, &metadata.RemoveTopicRecord{TopicID: topicIDOf("gone")})
	eventually(t, "the end of the transaction", func() bool { return p.one.state("x") == "CompleteCommit" })
	if end := p.one.log("t", 1).LogEndOffset(); end != 1 {
		t.Errorf("the new leader's log ends at %d", end)
	}
}

// A broker that hangs does not hold up transactions when others lead its partitions.
func TestMarkersDoNotWaitForABrokerThatHangs(t *testing.T) {
	p := newPair(t)
	const count = 20 // more than are written at a time
	var producers []txn.Producer
	for i := range count {
		producers = append(producers, p.one.init(fmt.Sprint(i)))
		p.writeThrough(fmt.Sprint(i), producers[i], 1)
	}
	gate := make(chan struct{}) // never opened
	p.set(func() { p.gate, p.calls = gate, 0 })
	for i, producer := range producers {
		p.mustEnd(fmt.Sprint(i), producer, true)
	}
	eventually(t, "the first attempt", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.calls > 0
	})
	change := metadata.NewPartitionChangeRecord(topicIDOf("t"), 1)
	change.Replicas, change.ISR, change.Leader = []int32{1}, []int32{1}, 1
	p.one.apply(change)
	started := time.Now()
	for i := range count {
		eventually(t, "the end of the transactions", func() bool { return p.one.state(fmt.Sprint(i)) == "CompleteCommit" })
	}
	if took := time.Since(started); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	if end := p.one.log("t", 1).LogEndOffset(); end != count {
		t.Errorf("the new leader's log ends at %d", end)
	}
}

// A coordinator that has been replaced without knowing stops to write markers.
func TestMarkersOfAnOldCoordinator(t *testing.T) {
	p := newPair(t)
	producer := p.one.init("x")
	p.writeThrough("x", producer, 1)
	wantCode(t, "the new coordinator", int16(p.two.marker(2, txn.Producer{ID: producer.ID, Epoch: producer.Epoch + 1}, 5, 2, false, "t", 1)), kafka.ErrNone)
	canceled := p.one.registry.Counter("moldau_transaction_markers_canceled_total", "")
	p.mustEnd("x", producer, true)
	eventually(t, "the refusal", func() bool { return canceled.Value() == 1 })
	if state := p.one.state("x"); state != "PrepareCommit" {
		t.Errorf("the transaction is in state %s", state)
	}
}

// What waits for one broker goes in one request.
func TestTransactionsShareRequests(t *testing.T) {
	p := newPair(t)
	const count = 20
	p.apply(ledBy("wide", 2)...)
	var producers []txn.Producer
	for i := range count {
		producers = append(producers, p.one.init(fmt.Sprint(i)))
	}
	gate := make(chan struct{})
	p.set(func() { p.gate, p.calls = gate, 0 })
	var writes sync.WaitGroup
	for i, producer := range producers {
		writes.Go(func() { p.two.mustWrite(fmt.Sprint(i), producer, "wide", 0, 0) })
	}
	waiting := p.two.registry.Gauge("moldau_transaction_remote_waiting", "", "kind", "transaction-enlistments")
	eventually(t, "all wait", func() bool { return waiting.Value() == count })
	close(gate)
	writes.Wait()
	if p.set(func() {}); p.calls > 3 {
		t.Errorf("%d transactions took %d requests", count, p.calls)
	}
	for i, producer := range producers {
		p.mustEnd(fmt.Sprint(i), producer, true)
	}
	eventually(t, "the end of the transactions", func() bool { return p.two.stable("wide", 0) == p.two.log("wide", 0).LogEndOffset() })
	if end := p.two.log("wide", 0).LogEndOffset(); end != 2*count {
		t.Errorf("the log ends at %d", end)
	}
}
