package txn

import (
	"encoding/hex"
	"math"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/shard"
)

var (
	t0 = kafka.TopicPartition{Topic: "t", Partition: 0}
	t1 = kafka.TopicPartition{Topic: "t", Partition: 1}
)

// harness runs a shard and keeps its log, so that every test can load it again.
type harness struct {
	*testing.T
	s       *Shard
	nowMs   int64
	log     []shard.Record
	markers []Markers
	wanted  []string
	fresh   int64
}

func testConfig() Config {
	return Config{MaxTimeoutMs: 900_000, ExpirationMs: 604_800_000, AbortCheckIntervalMs: 10_000, ExpiryIntervalMs: 3_600_000, TransactionVersion: func() int16 { return Version2 }, MaxBatchSizeBytes: func() int32 { return 1 << 20 }}
}

func newHarness(t *testing.T) *harness {
	t.Parallel()
	h := &harness{T: t, s: NewShard(testConfig(), NewMetrics(metrics.NewRegistry())), nowMs: 1_000_000, fresh: 1000}
	h.take(h.s.Activate(h.nowMs))
	return h
}

func (h *harness) take(e shard.Effects) any {
	h.Helper()
	h.log = append(h.log, e.Records...)
	for _, n := range e.Notices {
		switch n := n.(type) {
		case Markers:
			h.markers = append(h.markers, n)
		case ProducerIDWanted:
			h.wanted = append(h.wanted, n.TransactionalID)
		}
	}
	if len(e.Responses) == 0 {
		return nil
	}
	return e.Responses[0].Value
}

func (h *harness) freshID() int64 { h.fresh++; return h.fresh }

func (h *harness) init(expected *Producer) Result {
	h.Helper()
	return h.take(h.s.InitProducerID(1, InitRequest{TransactionalID: "x", TimeoutMs: 60_000, Expected: expected, FreshID: h.freshID()}, h.nowMs)).(Result)
}

func (h *harness) add(p Producer, tps ...kafka.TopicPartition) Result {
	h.Helper()
	return h.take(h.s.AddPartitions(1, AddRequest{TransactionalID: "x", Producer: p, Partitions: tps, Version: Version2}, h.nowMs)).(Result)
}

func (h *harness) end(p Producer, commit bool, version int16) Result {
	h.Helper()
	return h.take(h.s.EndTransaction(1, EndRequest{TransactionalID: "x", Producer: p, Commit: commit, Version: version, FreshID: h.freshID()}, h.nowMs)).(Result)
}

// complete writes the markers that are due.
func (h *harness) complete() {
	h.Helper()
	for _, m := range h.markers {
		h.take(h.s.CompleteMarkers(1, m, h.nowMs))
	}
	h.markers = nil
}

func (h *harness) reload() {
	h.Helper()
	h.s, h.markers = NewShard(testConfig(), NewMetrics(metrics.NewRegistry())), nil
	for i, r := range h.log {
		if err := h.s.Replay(shard.Position{Offset: int64(i), ProducerID: kafka.NoProducerID}, r); err != nil {
			h.Fatal(err)
		}
	}
	h.take(h.s.Activate(h.nowMs))
}

func (h *harness) want(what string, got Result, code kafka.ErrorCode, p Producer) {
	h.Helper()
	if got.Code != code || got.Producer != p {
		h.Errorf("%s: %v %+v, want %v %+v", what, got.Code, got.Producer, code, p)
	}
}

func (h *harness) wantCode(what string, got Result, code kafka.ErrorCode) {
	h.Helper()
	h.want(what, got, code, got.Producer)
}

func TestEveryEndBumpsTheEpoch(t *testing.T) {
	h := newHarness(t)
	p := h.init(nil)
	h.want("init", p, kafka.ErrNone, Producer{1001, 0})
	h.wantCode("add", h.add(p.Producer, t0, t1), kafka.ErrNone)
	h.want("commit", h.end(p.Producer, true, Version2), kafka.ErrNone, Producer{1001, 1})
	if len(h.markers) != 1 || h.markers[0].Producer != (Producer{1001, 1}) || !h.markers[0].Commit || len(h.markers[0].Partitions) != 2 || h.markers[0].TransactionVersion != 2 {
		t.Fatalf("markers %+v", h.markers)
	}
	h.wantCode("repeated while the markers are written", h.end(p.Producer, true, Version2), kafka.ErrConcurrentTransactions)
	h.complete()
	h.want("repeated", h.end(p.Producer, true, Version2), kafka.ErrNone, Producer{1001, 1})
	h.wantCode("abort repeated for a commit", h.end(p.Producer, false, Version2), kafka.ErrInvalidTxnState)
	h.wantCode("add in the old epoch", h.add(p.Producer, t0), kafka.ErrProducerFenced)
	h.wantCode("add in the next epoch", h.add(Producer{1001, 1}, t0), kafka.ErrNone)
}

// KAFKA-18401: a commit of nothing must not look like one of something.
func TestEmptyCommitIsRefusedAndEmptyAbortBumps(t *testing.T) {
	h := newHarness(t)
	p := h.init(nil).Producer
	h.wantCode("empty commit", h.end(p, true, Version2), kafka.ErrInvalidTxnState)
	h.want("empty abort", h.end(p, false, Version2), kafka.ErrNone, Producer{1001, 1})
	h.complete()
	h.want("repeated", h.end(p, false, Version2), kafka.ErrNone, Producer{1001, 1})
	h.want("next empty abort", h.end(Producer{1001, 1}, false, Version2), kafka.ErrNone, Producer{1001, 2})
}

// KAFKA-18464: the producer has its next epoch before the markers are written. It must be told to
// wait and not that it is fenced.
func TestPendingEndIsLookedAtBeforeTheEpoch(t *testing.T) {
	h := newHarness(t)
	p := h.init(nil).Producer
	h.add(p, t0)
	next := h.end(p, false, Version2).Producer
	h.wantCode("add with the next epoch", h.add(next, t0), kafka.ErrConcurrentTransactions)
	h.wantCode("end with the next epoch", h.end(next, false, Version2), kafka.ErrConcurrentTransactions)
	h.wantCode("init", h.init(nil), kafka.ErrConcurrentTransactions)
	h.complete()
	h.wantCode("add", h.add(next, t0), kafka.ErrNone)
}

func TestExhaustedEpochsBringANewProducerID(t *testing.T) {
	h := newHarness(t)
	h.init(nil)
	h.s.transactions["x"].epoch = math.MaxInt16 - 1
	p := Producer{1001, math.MaxInt16 - 1}
	h.wantCode("add", h.add(p, t0), kafka.ErrNone)
	without := h.take(h.s.EndTransaction(1, EndRequest{TransactionalID: "x", Producer: p, Commit: true, Version: Version2, FreshID: noFreshID}, h.nowMs)).(Result)
	if !without.NeedsProducerID {
		t.Fatalf("%+v needs no producer id", without)
	}
	next := h.end(p, true, Version2)
	if next.Code != kafka.ErrNone || next.Producer.ID == p.ID || next.Producer.Epoch != 0 {
		t.Fatalf("%+v", next)
	}
	if m := h.markers[0]; m.Producer != (Producer{1001, math.MaxInt16}) {
		t.Errorf("markers of %+v", m.Producer)
	}
	h.wantCode("add with the new id, which is not in place yet", h.add(next.Producer, t0), kafka.ErrConcurrentTransactions)
	h.reload()
	h.complete()
	h.want("repeated with the old id", h.end(p, true, Version2), kafka.ErrNone, next.Producer)
	h.wantCode("add with the new id", h.add(next.Producer, t0), kafka.ErrNone)
}

func TestANewInstanceFencesAndAbortsTheOldOne(t *testing.T) {
	h := newHarness(t)
	p := h.init(nil).Producer
	h.add(p, t0)
	h.wantCode("new instance", h.init(nil), kafka.ErrConcurrentTransactions)
	if len(h.markers) != 1 || h.markers[0].Commit {
		t.Fatalf("markers %+v", h.markers)
	}
	h.complete()
	h.want("again", h.init(nil), kafka.ErrNone, Producer{1001, 2})
	h.wantCode("old instance adds", h.add(p, t0), kafka.ErrProducerFenced)
	h.wantCode("old instance commits", h.end(p, true, Version2), kafka.ErrProducerFenced)
	h.wantCode("old instance goes on", h.init(&p), kafka.ErrProducerFenced)
	h.want("who names the current epoch gets the next", h.init(&Producer{1001, 2}), kafka.ErrNone, Producer{1001, 3})
	h.want("a repetition gets the same", h.init(&Producer{1001, 2}), kafka.ErrNone, Producer{1001, 3})
}

// TestWhatWasBegunCanBeEnded: a transaction takes partitions as long as its record fits in one batch of the log, also the one that ends it, which
// tells more. The log would refuse that one else, and drop the shard each time that the transaction were to be ended.
func TestWhatWasBegunCanBeEnded(t *testing.T) {
	t.Parallel()
	for _, epoch := range []int16{0, math.MaxInt16 - 1} {
		for spare := range 20 { // how much of the batch the last partition leaves
			h := &harness{T: t, nowMs: 1_000_000, fresh: 1000}
			cfg := testConfig()
			limit := 200 + spare
			cfg.MaxBatchSizeBytes = func() int32 { return int32(limit) }
			h.s = NewShard(cfg, NewMetrics(metrics.NewRegistry()))
			p := h.init(nil).Producer
			p.Epoch, h.s.transactions["x"].epoch = epoch, epoch
			code := kafka.ErrNone
			for i := int32(0); code == kafka.ErrNone; i++ {
				r := AddRequest{TransactionalID: "x", Producer: p, Partitions: []kafka.TopicPartition{{Topic: "t", Partition: i}}, Version: Version0}
				code = h.take(h.s.AddPartitions(1, r, h.nowMs)).(Result).Code
			}
			h.nowMs += 60_001
			h.take(h.s.Tick(h.nowMs))
			h.take(h.s.AbortTimedOut(1, "x", math.MaxInt64, h.nowMs))
			if len(h.markers) != 1 {
				t.Fatalf("the transaction is not ended: %+v", h.s.transactions["x"])
			}
			h.complete()
			for i, r := range h.log {
				if size := record.BatchOverhead + record.SizeBytes(0, r.Key, r.Value); size > limit {
					t.Errorf("epoch %d: record %d takes %d bytes of %d", epoch, i, size, limit)
				}
			}
		}
	}
}

// KAFKA-20785: the commit comes after the coordinator has aborted.
func TestCommitAfterATimeOutCanBeAborted(t *testing.T) {
	h := newHarness(t)
	p := h.init(nil).Producer
	h.add(p, t0) // and no data at all
	h.nowMs += 60_001
	h.take(h.s.Tick(h.nowMs))
	if len(h.markers) != 1 || h.markers[0].Commit {
		t.Fatalf("markers %+v", h.markers)
	}
	h.wantCode("while it is aborted", h.end(p, true, Version2), kafka.ErrConcurrentTransactions)
	h.complete()
	h.wantCode("commit", h.end(p, true, Version2), kafka.ErrTransactionAbortable)
	h.want("abort", h.end(p, false, Version2), kafka.ErrNone, Producer{1001, 1})
}

func TestTimeOutOfAnExhaustedEpochWantsAProducerID(t *testing.T) {
	h := newHarness(t)
	h.init(nil)
	h.s.transactions["x"].epoch = math.MaxInt16 - 1
	h.add(Producer{1001, math.MaxInt16 - 1}, t0)
	h.nowMs += 60_001
	h.take(h.s.Tick(h.nowMs))
	if len(h.wanted) != 1 || len(h.markers) != 0 {
		t.Fatalf("wanted %v, markers %v", h.wanted, h.markers)
	}
	h.take(h.s.AbortTimedOut(1, "x", 5000, h.nowMs))
	h.complete()
	if got := h.s.transactions["x"]; got.producerID != 5000 || got.epoch != 0 || got.state != StateCompleteAbort {
		t.Fatalf("%+v", got)
	}
}

func TestVersion1KeepsTheEpoch(t *testing.T) {
	h := newHarness(t)
	p := h.init(nil).Producer
	h.wantCode("commit of nothing", h.end(p, true, Version0), kafka.ErrInvalidTxnState)
	h.add(p, t0)
	h.want("commit", h.end(p, true, Version0), kafka.ErrNone, NoProducer)
	h.wantCode("while the markers are written", h.end(p, true, Version0), kafka.ErrConcurrentTransactions)
	if h.markers[0].Producer != p || h.markers[0].TransactionVersion != 0 {
		t.Errorf("%+v", h.markers)
	}
	h.complete()
	h.want("repeated", h.end(p, true, Version0), kafka.ErrNone, NoProducer)
	h.wantCode("abort of a commit", h.end(p, false, Version0), kafka.ErrInvalidTxnState)
	h.wantCode("next", h.add(p, t0), kafka.ErrNone)
}

func TestPartitionsAreVerified(t *testing.T) {
	h := newHarness(t)
	p := h.init(nil).Producer
	h.add(p, t0)
	for _, c := range []struct {
		p    Producer
		want [2]kafka.ErrorCode
	}{
		{p, [2]kafka.ErrorCode{kafka.ErrNone, kafka.ErrTransactionAbortable}},
		{Producer{p.ID, 7}, [2]kafka.ErrorCode{kafka.ErrProducerFenced, kafka.ErrProducerFenced}},
		{Producer{4, 0}, [2]kafka.ErrorCode{kafka.ErrInvalidProducerIDMapping, kafka.ErrInvalidProducerIDMapping}},
	} {
		got := h.take(h.s.VerifyPartitions(1, AddRequest{TransactionalID: "x", Producer: c.p, Partitions: []kafka.TopicPartition{t0, t1}}, h.nowMs)).([]kafka.ErrorCode)
		if [2]kafka.ErrorCode(got) != c.want {
			t.Errorf("%+v: %v", c.p, got)
		}
	}
}

func TestMarkersAreWrittenAgainAfterALoad(t *testing.T) {
	h := newHarness(t)
	p := h.init(nil).Producer
	h.add(p, t0)
	h.end(p, true, Version2)
	h.reload()
	if len(h.markers) != 1 || !h.markers[0].Commit || h.markers[0].Producer != (Producer{1001, 1}) || h.markers[0].Partitions[0] != t0 {
		t.Fatalf("markers %+v", h.markers)
	}
	h.complete()
	h.want("repeated", h.end(p, true, Version2), kafka.ErrNone, Producer{1001, 1})
}

func TestUnusedIDsExpireAndOpenOnesDoNot(t *testing.T) {
	h := newHarness(t)
	p := h.init(nil).Producer
	h.nowMs += 604_800_000
	h.take(h.s.Tick(h.nowMs))
	if h.log[len(h.log)-1].Value != nil || len(h.s.transactions) != 0 || h.s.NextDeadlineMs() != shard.NoDeadline {
		t.Fatal("not expired")
	}
	h.wantCode("add", h.add(p, t0), kafka.ErrInvalidProducerIDMapping)
}

// The bytes are those of Apache Kafka 4.3's TransactionLogValue schema, version 1.
func TestRecordsHaveKafkasBytes(t *testing.T) {
	t.Parallel()
	x := &transaction{id: "x", producerID: 1, prevProducerID: 1, nextProducerID: -1, epoch: 2, timeoutMs: 3, state: StateOngoing,
		partitions: []kafka.TopicPartition{t0, t1}, lastUpdateMs: 4, startMs: 5, clientVersion: 2}
	r := x.record(Version2)
	const want = "0001" + "0000000000000001" + "0002" + "00000003" + "01" + "02" + "0274" + "03" + "00000000" + "00000001" + "00" +
		"0000000000000004" + "0000000000000005" + "02" + "0008" + "0000000000000001" + "0202" + "0002"
	if got := hex.EncodeToString(r.Value); got != want {
		t.Errorf("value %s\nwant  %s", got, want)
	}
	if got := hex.EncodeToString(r.Key); got != "0000000178" {
		t.Errorf("key %s", got)
	}
	again, err := decode("x", r.Value)
	if err != nil || !again.hasAll(x.partitions) || again.startMs != 5 || again.clientVersion != 2 {
		t.Errorf("%+v, %v", again, err)
	}
}

func TestListFilters(t *testing.T) {
	h := newHarness(t)
	p := h.init(nil).Producer
	h.add(p, t0)
	h.nowMs += 100
	for _, c := range []struct {
		change func(r *kmsg.ListTransactionsRequest)
		want   int
	}{
		{func(*kmsg.ListTransactionsRequest) {}, 1},
		{func(r *kmsg.ListTransactionsRequest) { r.StateFilters = []string{"Ongoing"} }, 1},
		{func(r *kmsg.ListTransactionsRequest) { r.StateFilters = []string{"Nonsense"} }, 0},
		{func(r *kmsg.ListTransactionsRequest) { r.ProducerIDFilters = []int64{4} }, 0},
		{func(r *kmsg.ListTransactionsRequest) { r.DurationFilterMillis = 100 }, 0},
		{func(r *kmsg.ListTransactionsRequest) { r.TransactionalIDPattern = kmsg.StringPtr("y|x") }, 1},
	} {
		req := kmsg.NewListTransactionsRequest()
		c.change(&req)
		f, _, err := ParseFilter(&req)
		if got := h.take(h.s.List(1, f, h.nowMs)).([]kmsg.ListTransactionsResponseTransactionState); err != nil || len(got) != c.want {
			t.Errorf("%+v: %v, %v", req, got, err)
		}
	}
	req := kmsg.NewListTransactionsRequest()
	req.TransactionalIDPattern = kmsg.StringPtr("(")
	if _, _, err := ParseFilter(&req); kafka.CodeOf(err) != kafka.ErrInvalidRegularExpression {
		t.Errorf("pattern: %v", err)
	}
}

func TestSenderRetriesAndCancels(t *testing.T) {
	t.Parallel()
	s := NewSender()
	d := func() *Delivery {
		return &Delivery{Markers: Markers{TransactionalID: "x", Producer: Producer{1, 1}, Partitions: []kafka.TopicPartition{t0, t1}}}
	}
	s.Add(d())
	s.Add(d()) // the same again
	x := s.Take(0)
	if s.Take(0) != nil {
		t.Fatal("twice in the queue")
	}
	if got := s.Written(x, []kafka.ErrorCode{kafka.ErrNone, kafka.ErrNotLeaderOrFollower}, 0); got != OutcomeRetry || len(x.Partitions) != 1 || x.Partitions[0] != t1 {
		t.Fatalf("%v %+v", got, x)
	}
	if s.Take(0) != nil || s.NextDeadlineMs() != firstMarkerRetryMs {
		t.Fatal("retried at once")
	}
	if got := s.Written(s.Take(firstMarkerRetryMs), []kafka.ErrorCode{kafka.ErrUnknownTopicOrPartition}, 0); got != OutcomeWritten {
		t.Fatal(got)
	}
	s.Completed(x)
	s.Add(d())
	if got := s.Written(s.Take(0), []kafka.ErrorCode{kafka.ErrTransactionCoordinatorFenced, kafka.ErrNone}, 0); got != OutcomeCanceled || s.Len() != 0 {
		t.Fatal(got)
	}
}

// TestMarkersOfAFormerCoordinator: a shard of the epoch before may still tell what it had committed when the one that took its place has asked for
// the same markers. Those of the old epoch would be fenced, and nobody would end the transaction.
func TestMarkersOfAFormerCoordinator(t *testing.T) {
	t.Parallel()
	s := NewSender()
	d := func(coordinatorEpoch int32) *Delivery {
		return &Delivery{CoordinatorEpoch: coordinatorEpoch, Markers: Markers{TransactionalID: "x", Producer: Producer{1, 1}, Partitions: []kafka.TopicPartition{t0}}}
	}
	s.Add(d(4))
	former := s.Take(0)
	now := d(5)
	s.Add(now)
	s.Add(d(4))
	if got := s.Written(former, []kafka.ErrorCode{kafka.ErrTransactionCoordinatorFenced}, 0); got != OutcomeCanceled {
		t.Fatal(got)
	}
	if got := s.Take(0); got != now {
		t.Fatalf("%+v is to be written", got)
	}
	if got := s.Written(now, []kafka.ErrorCode{kafka.ErrNone}, 0); got != OutcomeWritten {
		t.Fatal(got)
	}
}

// TestMarkersOfTheTransactionBefore: in version 1 the next transaction has the same producer id and epoch. It may end before the sender
// has heard that the one before is complete, and what completes that one, or asks again, must leave it alone.
func TestMarkersOfTheTransactionBefore(t *testing.T) {
	h := newHarness(t)
	p := h.init(nil).Producer
	transaction := func() *Delivery {
		h.nowMs += 5
		h.add(p, t0)
		h.want("end", h.end(p, true, Version0), kafka.ErrNone, NoProducer)
		return &Delivery{Markers: h.markers[0]}
	}
	s := NewSender()
	first := transaction()
	s.Add(first)
	if got := s.Written(s.Take(0), []kafka.ErrorCode{kafka.ErrNone}, 0); got != OutcomeWritten {
		t.Fatal(got)
	}
	h.complete()
	next := transaction()
	s.Add(next)
	s.Completed(first)
	if s.Take(0) != next {
		t.Error("the markers of the next transaction are not written")
	}
	h.take(h.s.CompleteMarkers(1, first.Markers, h.nowMs))
	h.wantCode("while the markers are written", h.end(p, true, Version0), kafka.ErrConcurrentTransactions)
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 'x'}, newTransaction("x", 1).record(Version2).Value)
	f.Add([]byte{0, 1}, []byte{0, 2})
	for _, r := range kafkaRecords(f) {
		f.Add(r.Key, r.Value)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		id, known, err := decodeKey(key)
		if err != nil || !known {
			return
		}
		if x, err := decode(id, value); err == nil {
			if _, err := decode(id, x.record(Version2).Value); err != nil {
				t.Fatalf("does not read what it wrote: %v", err)
			}
		}
	})
}
