package follower

import (
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage"
)

const startMs = 1_700_000_000_000

// harness is broker 1, which follows partitions that broker 2 leads; a test says what broker 2 answers.
type harness struct {
	*Fetcher
	tb      testing.TB
	storage *storage.Manager
	config  *storage.LogConfig
	nowMs   int64
	session int32 // of the answers
}

var limits = Limits{MaxWaitMs: 500, MinBytes: 1, MaxBytes: 10 << 20, PartitionMaxBytes: 1 << 20, BackoffMs: 1000}

func newHarness(tb testing.TB, change func(c *storage.LogConfig)) *harness {
	tb.Helper()
	fs := vfs.NewMem()
	if err := fs.MkdirAll("/data"); err != nil {
		tb.Fatal(err)
	}
	h := &harness{tb: tb, config: storage.DefaultLogConfig(), nowMs: startMs, session: 7}
	if change != nil {
		change(h.config)
	}
	var err error
	h.storage, err = storage.OpenManager(storage.Options{FS: fs, Dirs: []string{"/data"}, Defaults: h.config, Metrics: metrics.NewRegistry(),
		Random: env.NewSeededRandom(1), Clock: env.NewManualClock(time.UnixMilli(startMs)), ProducerExpirationMs: 86_400_000, OpenFilesPerDir: 100})
	if err == nil {
		err = h.storage.Load(storage.LoadOptions{NowMs: startMs})
	}
	if err != nil {
		tb.Fatal(err)
	}
	h.Fetcher = New(Options{NodeID: 1, Source: 2, Limits: limits, Metrics: NewMetrics(metrics.NewRegistry())})
	return h
}

func idOf(topic string) (id kafka.UUID) {
	copy(id[:], topic+"----------------")
	return id
}

// open makes a partition that follows broker 2 in epoch.
func (h *harness) open(topic string, number, epoch int32) *partition.Partition {
	h.tb.Helper()
	tp := kafka.TopicIDPartition{TopicID: idOf(topic), TopicPartition: kafka.TopicPartition{Topic: topic, Partition: number}}
	log, err := h.storage.GetOrCreate(tp, h.config, startMs)
	if err != nil {
		h.tb.Fatal(err)
	}
	p := partition.New(tp.TopicID, 1, log, partition.ReplicationOptions{IsRegistered: func() bool { return true }}, nil)
	h.lead(p, epoch)
	return p
}

func (h *harness) lead(p *partition.Partition, epoch int32) {
	h.tb.Helper()
	a := partition.Assignment{Leader: 2, LeaderEpoch: epoch, PartitionEpoch: epoch, Replicas: []int32{1, 2}, ISR: []int32{1, 2}, MinInSyncReplicas: 1}
	if err := p.Apply(a, startMs); err != nil {
		h.tb.Fatal(err)
	}
}

// send wants a request now.
func (h *harness) send() *kmsg.FetchRequest {
	h.tb.Helper()
	r, again := h.Next(h.nowMs, 5)
	if r == nil {
		h.tb.Fatalf("no request; again in %d ms", again-h.nowMs)
	}
	if r.Version != Version || r.ReplicaState.ID != 1 || r.ReplicaState.Epoch != 5 {
		h.tb.Fatalf("request %+v", r)
	}
	return r
}

// want wants no request before some time.
func (h *harness) wantIdle(forMs int64) {
	h.tb.Helper()
	if r, again := h.Next(h.nowMs, 5); r != nil || again-h.nowMs != forMs {
		h.tb.Fatalf("request %+v, again in %d ms; want none for %d ms", r, again-h.nowMs, forMs)
	}
}

type answer = kmsg.FetchResponseTopicPartition

// answer answers the outstanding request after some time.
func (h *harness) answer(afterMs int64, answers map[*partition.Partition]answer) {
	h.tb.Helper()
	r := kmsg.NewPtrFetchResponse()
	r.SessionID = h.session
	for p, a := range answers {
		t := kmsg.NewFetchResponseTopic()
		t.TopicID = p.TopicID()
		a.Partition = p.TopicPartition().Partition
		t.Partitions = []answer{a}
		r.Topics = append(r.Topics, t)
	}
	h.nowMs += afterMs
	h.Take(r, h.nowMs)
}

// offsets is an answer without records.
func offsets(highWatermark, logStart int64) answer {
	a := kmsg.NewFetchResponseTopicPartition()
	a.HighWatermark, a.LogStartOffset = highWatermark, logStart
	return a
}

func refusal(code kafka.ErrorCode) answer {
	a := offsets(-1, -1)
	a.ErrorCode = int16(code)
	return a
}

func batch(tb testing.TB, offset int64, epoch int32, values ...string) record.Batch {
	tb.Helper()
	b := record.NewBuilder(record.NoProducer(record.CodecNone))
	for _, v := range values {
		b.Append(startMs, nil, []byte(v), nil)
	}
	built, err := b.Build()
	if err != nil {
		tb.Fatal(err)
	}
	built.SetBaseOffset(offset)
	built.SetPartitionLeaderEpoch(epoch)
	return built
}

func withRecords(highWatermark int64, batches ...record.Batch) answer {
	a := offsets(highWatermark, 0)
	for _, b := range batches {
		a.RecordBatches = append(a.RecordBatches, b...)
	}
	return a
}

// wanted are the partitions that a request names, in its order.
func wanted(r *kmsg.FetchRequest) (all []kmsg.FetchRequestTopicPartition) {
	for _, t := range r.Topics {
		all = append(all, t.Partitions...)
	}
	return all
}

// asked is what the leader's session has of a partition by now.
func (h *harness) asked(p *partition.Partition) kmsg.FetchRequestTopicPartition {
	h.tb.Helper()
	known := h.partitions[KeyOf(p)]
	if known == nil || !known.isInSession {
		h.tb.Fatalf("%s is not fetched", p.TopicPartition())
	}
	return known.sent
}

func forgotten(r *kmsg.FetchRequest) (all []int32) {
	for _, t := range r.ForgottenTopics {
		all = append(all, t.Partitions...)
	}
	return all
}

func TestRequestsNameOnlyWhatHasChanged(t *testing.T) {
	t.Parallel()
	h := newHarness(t, nil)
	h.wantIdle(never - h.nowMs)
	a, b := h.open("a", 0, 3), h.open("b", 1, 4)
	h.Follow(a, 3)
	h.Follow(b, 4)
	r := h.send()
	if names := wanted(r); r.SessionID != 0 || r.SessionEpoch != 0 || len(r.Topics) != 2 || r.Topics[0].TopicID != a.TopicID() || names[0].CurrentLeaderEpoch != 3 || names[1].CurrentLeaderEpoch != 4 ||
		names[0].FetchOffset != 0 || names[0].LastFetchedEpoch != -1 || r.MaxWaitMillis != 500 || r.MinBytes != 1 || r.MaxBytes != 10<<20 || names[0].PartitionMaxBytes != 1<<20 {
		t.Fatalf("the first request is %+v", r)
	}
	h.wantIdle(never - h.nowMs) // one at a time
	h.answer(500, map[*partition.Partition]answer{a: offsets(0, 0), b: withRecords(1, batch(t, 0, 2, "x"), batch(t, 1, 4, "y"))})
	if b.Log().LogEndOffset() != 2 || b.Log().HighWatermark() != 1 {
		t.Fatalf("b has %d records, %d committed", b.Log().LogEndOffset(), b.Log().HighWatermark())
	}
	r = h.send()
	if names := wanted(r); r.SessionID != 7 || r.SessionEpoch != 1 || len(names) != 1 || names[0].Partition != 1 || names[0].FetchOffset != 2 || names[0].LastFetchedEpoch != 4 {
		t.Fatalf("after b got records: %+v", r)
	}
	h.answer(500, nil)
	h.Unfollow(KeyOf(a))
	r = h.send()
	if len(r.Topics) != 0 || r.SessionEpoch != 2 || !slices.Equal(forgotten(r), []int32{0}) {
		t.Fatalf("without a: %+v", r)
	}
	h.answer(500, nil)
	h.Unfollow(KeyOf(b))
	if r = h.send(); r.SessionID != 7 || r.SessionEpoch != -1 || len(r.Topics)+len(r.ForgottenTopics) != 0 {
		t.Fatalf("without any: %+v", r)
	}
	h.session = 0
	h.answer(0, nil)
	h.wantIdle(never - h.nowMs)
	if h.Len() != 0 {
		t.Errorf("%d partitions are left", h.Len())
	}
}

func TestForgottenSessionIsBegunAgain(t *testing.T) {
	t.Parallel()
	h := newHarness(t, nil)
	for i := range int32(3) {
		h.Follow(h.open("a", i, 1), 1)
	}
	h.send()
	h.answer(500, nil)
	refuse := func(code kafka.ErrorCode) {
		h.Take(&kmsg.FetchResponse{ErrorCode: int16(code)}, h.nowMs)
	}
	h.send()
	refuse(kafka.ErrFetchSessionIDNotFound)
	r := h.send()
	if r.SessionID != 0 || r.SessionEpoch != 0 || len(wanted(r)) != 3 || wanted(r)[0].Partition != 0 || wanted(r)[2].Partition != 2 {
		t.Fatalf("then: %+v", r)
	}
	refuse(kafka.ErrInvalidFetchSessionEpoch) // a second time in a row
	h.wantIdle(firstBackoffMs * 2)
	h.nowMs += 1000
	h.send()
	refuse(kafka.ErrStaleBrokerEpoch)
	h.wantIdle(firstBackoffMs * 4)
	h.nowMs += 1000
	h.session = 0 // no room for one
	h.send()
	h.answer(500, nil)
	if r = h.send(); r.SessionEpoch != 0 || len(wanted(r)) != 3 {
		t.Errorf("without a session: %+v", r)
	}
}

func TestUnansweredRequests(t *testing.T) {
	t.Parallel()
	h := newHarness(t, nil)
	h.Follow(h.open("a", 0, 1), 1)
	for i := range 20 {
		if r := h.send(); r.SessionEpoch != 0 || len(wanted(r)) != 1 {
			t.Fatalf("try %d: %+v", i, r)
		}
		h.Failed(h.nowMs)
		wait := min(firstBackoffMs<<i, limits.BackoffMs)
		h.wantIdle(wait)
		h.nowMs += wait
	}
	h.send()
	h.answer(0, nil)
	h.send()
	h.Failed(h.nowMs)
	h.wantIdle(firstBackoffMs)
}

// TestPausesEnd: a wall clock that is set back does not make a pause longer, and who hears of a change of its partitions asks
// at once, since it may have been cut off until then.
func TestPausesEnd(t *testing.T) {
	t.Parallel()
	h := newHarness(t, nil)
	p := h.open("a", 0, 1)
	h.Follow(p, 1)
	fail := func() {
		t.Helper()
		for range 12 {
			h.send()
			h.Failed(h.nowMs)
			h.nowMs += limits.BackoffMs
		}
		h.send()
		h.Failed(h.nowMs)
	}
	fail()
	h.wantIdle(limits.BackoffMs)
	h.nowMs -= 3_600_000
	fail()
	h.wantIdle(limits.BackoffMs)
	h.Follow(p, 1)
	h.send()
	h.answer(0, map[*partition.Partition]answer{p: refusal(kafka.ErrUnknownLeaderEpoch)})
	h.nowMs -= 3_600_000
	if r := h.send(); len(forgotten(r)) > 0 {
		t.Errorf("the partition is left out: %+v", r)
	}
}

// TestWhoIsAsideFetchesNothing: a replica that has no room would be in sync again as soon as nothing is written.
func TestWhoIsAsideFetchesNothing(t *testing.T) {
	t.Parallel()
	h := newHarness(t, nil)
	p, other := h.open("a", 0, 1), h.open("b", 1, 1)
	a := p.Assignment()
	a.Replicas, a.ISR, a.PartitionEpoch = []int32{1, 2, 3}, []int32{1, 2, 3}, 2
	if err := p.Apply(a, h.nowMs); err != nil {
		t.Fatal(err)
	}
	h.Follow(p, 1)
	h.Follow(other, 1)
	h.send()
	h.answer(0, nil)
	if change := p.StepAside(h.nowMs); change == nil {
		t.Fatal("it does not ask to step aside")
	}
	a.ISR, a.LeaderEpoch, a.PartitionEpoch = []int32{2, 3}, 2, 3
	if err := p.Apply(a, h.nowMs); err != nil {
		t.Fatal(err)
	}
	h.Follow(p, 2)
	if r := h.send(); !slices.Equal(forgotten(r), []int32{0}) || len(wanted(r)) > 0 {
		t.Fatalf("aside: %+v", r)
	}
	h.answer(asideWaitMs, nil)
	if r := h.send(); len(wanted(r)) > 0 {
		t.Fatalf("still aside: %+v", r)
	}
	h.answer(asideWaitMs, nil)
	p.ComeBack(h.nowMs + 5000)
	if r := h.send(); len(wanted(r)) != 1 || wanted(r)[0].CurrentLeaderEpoch != 2 {
		t.Fatalf("there is room again: %+v", r)
	}
}

// TestLeaderThatDoesNotKnowYet has a leader that hears late that it leads one of two partitions: it is asked again
// soon, and the other is not held up.
func TestLeaderThatDoesNotKnowYet(t *testing.T) {
	t.Parallel()
	h := newHarness(t, nil)
	a, b := h.open("a", 0, 1), h.open("b", 1, 1)
	h.Follow(a, 1)
	h.Follow(b, 1)
	wait := int64(firstBackoffMs)
	for i := range 12 {
		h.send()
		h.answer(1, map[*partition.Partition]answer{a: refusal(kafka.ErrUnknownLeaderEpoch)})
		r := h.send()
		if !slices.Equal(forgotten(r), []int32{0}) || len(wanted(r)) > 0 || int64(r.MaxWaitMillis) != min(wait, limits.MaxWaitMs) {
			t.Fatalf("try %d: %+v", i, r)
		}
		for left := wait; left > 0; left -= limits.MaxWaitMs {
			h.answer(min(left, limits.MaxWaitMs), nil)
			if left > limits.MaxWaitMs {
				h.send()
			}
		}
		wait = min(2*wait, limits.BackoffMs)
	}
	h.Follow(a, 2) // it leads in another epoch
	h.lead(a, 2)
	if r := h.send(); len(wanted(r)) != 1 || wanted(r)[0].CurrentLeaderEpoch != 2 {
		t.Errorf("in the next epoch: %+v", r)
	}
}

func TestAnswerOfAnOldEpochIsNotTaken(t *testing.T) {
	t.Parallel()
	h := newHarness(t, nil)
	p := h.open("a", 0, 1)
	h.Follow(p, 1)
	h.send()
	h.lead(p, 2) // the partition hears of it first
	h.answer(1, map[*partition.Partition]answer{p: withRecords(1, batch(t, 0, 1, "x"))})
	if p.Log().LogEndOffset() != 0 {
		t.Fatal("appended what an old leader has answered")
	}
	h.Follow(p, 2)
	h.nowMs += firstBackoffMs
	h.send()
	h.Follow(p, 3) // now the fetcher does
	h.lead(p, 3)
	h.answer(1, map[*partition.Partition]answer{p: withRecords(1, batch(t, 0, 1, "x"))})
	if p.Log().LogEndOffset() != 0 {
		t.Fatal("appended what an old leader has answered")
	}
	if r := h.send(); len(wanted(r)) != 1 || wanted(r)[0].CurrentLeaderEpoch != 3 {
		t.Errorf("then: %+v", r)
	}
}

// TestUnflushedIsNotFetchedOn has a topic with flush.messages: what is fetched must be flushed before the next
// fetch tells the leader so.
func TestUnflushedIsNotFetchedOn(t *testing.T) {
	t.Parallel()
	h := newHarness(t, nil)
	idle := h.open("idle", 1, 1)
	h.config = &storage.LogConfig{}
	*h.config = *storage.DefaultLogConfig()
	h.config.FlushMessages = 1
	p := h.open("flushed", 0, 1)
	h.Follow(idle, 1)
	h.Follow(p, 1)
	h.send()
	h.answer(1, map[*partition.Partition]answer{p: withRecords(1, batch(t, 0, 1, "x"))})
	h.wantIdle(holdMs)
	h.nowMs += 3
	h.wantIdle(holdMs - 3)
	h.nowMs += holdMs
	r := h.send() // the others do not wait for a slow disk
	if r.MaxWaitMillis != unreadyWait || !slices.Equal(forgotten(r), []int32{0}) || len(wanted(r)) != 0 {
		t.Fatalf("unflushed: %+v", r)
	}
	h.answer(unreadyWait, nil)
	if _, err := h.storage.CommitDir(0, h.nowMs, nil); err != nil {
		t.Fatal(err)
	}
	r = h.send()
	if names := wanted(r); len(names) != 1 || names[0].FetchOffset != 1 || names[0].LastFetchedEpoch != 1 || r.MaxWaitMillis <= unreadyWait {
		t.Errorf("flushed: %+v", r)
	}
}

// TestEarlyEmptyAnswers has a leader that lets fetches go without anything to tell.
func TestEarlyEmptyAnswers(t *testing.T) {
	t.Parallel()
	h := newHarness(t, nil)
	h.Follow(h.open("a", 0, 1), 1)
	h.send()
	h.answer(1, nil)
	for wait := int32(earlyWaitMs); wait < int32(limits.MaxWaitMs); wait *= 2 {
		if r := h.send(); r.MaxWaitMillis != wait {
			t.Fatalf("%d ms, want %d", r.MaxWaitMillis, wait)
		}
		h.answer(int64(wait), nil)
	}
	if r := h.send(); r.MaxWaitMillis != int32(limits.MaxWaitMs) {
		t.Fatalf("%d ms at last", r.MaxWaitMillis)
	}
	sent := 1
	for end := h.nowMs + 1000; h.nowMs < end; h.nowMs++ { // it does not wait at all
		if h.isOutstanding {
			h.answer(0, nil)
		}
		if r, _ := h.Next(h.nowMs, 5); r != nil {
			sent++
		}
	}
	if sent > 20 {
		t.Errorf("%d requests in a second", sent)
	}
}
