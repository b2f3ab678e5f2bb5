package isr

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/storage"
)

const nowMs = 1_700_000_000_000

// leaders returns partitions that broker 1 leads, with broker 2 in sync and broker 3 not.
func leaders(t *testing.T, topics ...string) (all []*partition.Partition) {
	t.Helper()
	fs := vfs.NewMem()
	if err := fs.MkdirAll("/data"); err != nil {
		t.Fatal(err)
	}
	m, err := storage.OpenManager(storage.Options{FS: fs, Dirs: []string{"/data"}, Defaults: storage.DefaultLogConfig(), Metrics: metrics.NewRegistry(),
		Random: env.NewSeededRandom(1), Clock: env.NewManualClock(time.UnixMilli(nowMs)), ProducerExpirationMs: 86_400_000, OpenFilesPerDir: 100})
	if err == nil {
		err = m.Load(storage.LoadOptions{NowMs: nowMs})
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range topics {
		tp := kafka.TopicIDPartition{TopicPartition: kafka.TopicPartition{Topic: topic}}
		copy(tp.TopicID[:], topic+"----------------")
		log, err := m.GetOrCreate(tp, storage.DefaultLogConfig(), nowMs)
		if err != nil {
			t.Fatal(err)
		}
		p := partition.New(tp.TopicID, 1, log, partition.ReplicationOptions{LagMaxMs: 1000, MayJoin: func(int32, int64) bool { return true }}, nil)
		apply(t, p, 7, 1, 2)
		all = append(all, p)
	}
	return all
}

func apply(t *testing.T, p *partition.Partition, partitionEpoch int32, isr ...int32) {
	t.Helper()
	a := partition.Assignment{Leader: 1, LeaderEpoch: 4, PartitionEpoch: partitionEpoch, Replicas: []int32{1, 2, 3}, ISR: isr, MinInSyncReplicas: 1}
	if err := p.Apply(a, nowMs); err != nil {
		t.Fatal(err)
	}
}

// joins has broker 3 fetch from p's end, and proposes that it is in sync.
func joins(t *testing.T, s *Sender, p *partition.Partition) *partition.ISRChange {
	t.Helper()
	change, _ := p.NoteFetch(partition.Followed{BrokerID: 3, BrokerEpoch: 33, LeaderEpoch: 4, NowMs: nowMs})
	if change == nil || !change.Expands {
		t.Fatalf("proposes %+v", change)
	}
	s.Add(Proposal{p, change})
	return change
}

func next(t *testing.T, s *Sender, atMs int64, partitions int) *kmsg.AlterPartitionRequest {
	t.Helper()
	r, again := s.Next(atMs, 11)
	if r == nil {
		t.Fatalf("sends nothing until %d", again-nowMs)
	}
	count := 0
	for _, topic := range r.Topics {
		count += len(topic.Partitions)
	}
	if count != partitions || r.Version != 3 || r.BrokerID != 1 || r.BrokerEpoch != 11 {
		t.Fatalf("%d partitions, want %d: %+v", count, partitions, r)
	}
	return r
}

// answers answers every partition of a request with a code.
func answers(r *kmsg.AlterPartitionRequest, code kafka.ErrorCode) *kmsg.AlterPartitionResponse {
	response := kmsg.NewPtrAlterPartitionResponse()
	for _, t := range r.Topics {
		out := kmsg.NewAlterPartitionResponseTopic()
		out.TopidID = t.TopicID
		for _, p := range t.Partitions {
			answer := kmsg.NewAlterPartitionResponseTopicPartition()
			answer.Partition, answer.ErrorCode = p.Partition, int16(code)
			out.Partitions = append(out.Partitions, answer)
		}
		response.Topics = append(response.Topics, out)
	}
	return response
}

func TestChangesAreCollectedWhileOneIsUnderWay(t *testing.T) {
	t.Parallel()
	s := New(1, metrics.NewRegistry())
	p := leaders(t, "a", "b", "c")
	joins(t, s, p[0])
	first := next(t, s, nowMs, 1)
	if change := first.Topics[0].Partitions[0]; change.LeaderEpoch != 4 || change.PartitionEpoch != 7 || len(change.NewEpochISR) != 3 ||
		change.NewEpochISR[2].BrokerID != 3 || change.NewEpochISR[2].BrokerEpoch != 33 || change.NewEpochISR[0].BrokerEpoch != kafka.NoBrokerEpoch {
		t.Fatalf("asks for %+v", change)
	}
	joins(t, s, p[1])
	joins(t, s, p[2])
	if r, again := s.Next(nowMs, 11); r != nil || again != 0 {
		t.Fatalf("two at a time: %+v, %d", r, again)
	}
	s.Take(answers(first, kafka.ErrNone), nowMs)
	second := next(t, s, nowMs, 2)
	s.Take(answers(second, kafka.ErrNone), nowMs)
	if s.Len() != 0 || s.expands.Value() != 3 || s.shrinks.Value() != 0 {
		t.Errorf("%d are left, %d expansions", s.Len(), s.expands.Value())
	}
	apply(t, p[0], 8, 1, 2, 3)
	lagging := p[0].Lagging(nowMs + 5000) // broker 2 has never fetched
	if lagging == nil || lagging.Expands || len(lagging.ISR) != 2 {
		t.Fatalf("proposes %+v", lagging)
	}
	s.Add(Proposal{p[0], lagging})
	s.Take(answers(next(t, s, nowMs, 1), kafka.ErrNone), nowMs)
	if s.shrinks.Value() != 1 {
		t.Errorf("%d shrinks", s.shrinks.Value())
	}
}

// TestWhatAnswersMean: only where the controller says that a change was not made, and that the partition epoch is right, nobody
// else may have made it.
func TestWhatAnswersMean(t *testing.T) {
	t.Parallel()
	for code, want := range map[kafka.ErrorCode]string{
		kafka.ErrNone:                    "pending",
		kafka.ErrInvalidUpdateVersion:    "pending", // an earlier try may have been the one
		kafka.ErrFencedLeaderEpoch:       "pending",
		kafka.ErrNewLeaderElected:        "pending",
		kafka.ErrUnknownTopicID:          "pending",
		kafka.ErrInvalidRequest:          "pending",
		kafka.ErrIneligibleReplica:       "refused",
		kafka.ErrOperationNotAttempted:   "refused",
		kafka.ErrUnknownServerError:      "again",
		kafka.ErrRequestTimedOut:         "again",
		kafka.ErrNotLeaderOrFollower:     "again",
		kafka.ErrThrottlingQuotaExceeded: "again",
	} {
		s := New(1, metrics.NewRegistry())
		p := leaders(t, "a")[0]
		change := joins(t, s, p)
		s.Take(answers(next(t, s, nowMs, 1), code), nowMs)
		got := "pending"
		switch {
		case s.Len() > 0:
			got = "again"
		case !p.IsPending(change):
			got = "refused"
		}
		if got != want {
			t.Errorf("%v: %s, want %s", code, got, want)
		}
		if want == "again" {
			if r, again := s.Next(nowMs, 11); r != nil || again != nowMs+firstRetryMs {
				t.Errorf("%v: at once", code)
			}
			next(t, s, nowMs+firstRetryMs, 1)
		}
	}
}

func TestRetries(t *testing.T) {
	t.Parallel()
	s := New(1, metrics.NewRegistry())
	p := leaders(t, "a", "b")
	joins(t, s, p[0])
	joins(t, s, p[1])
	at, wait := int64(nowMs), firstRetryMs
	for i := range 12 {
		r := next(t, s, at, 2)
		switch i % 3 {
		case 0:
			s.Failed(at)
		case 1:
			s.Take(&kmsg.AlterPartitionResponse{ErrorCode: int16(kafka.ErrNotController)}, at)
		default:
			s.Take(answers(&kmsg.AlterPartitionRequest{}, kafka.ErrNone), at) // leaves them out
		}
		if early, again := s.Next(at, 11); early != nil || again != at+wait {
			t.Fatalf("try %d: again after %d ms, want %d", i, again-at, wait)
		}
		at, wait = at+wait, min(2*wait, mostRetryMs)
		_ = r
	}
	// The metadata overtakes one of them, and another change of it is proposed before the answer.
	r := next(t, s, at, 2)
	apply(t, p[0], 8, 1, 2)
	newer := joins(t, s, p[0])
	s.Failed(at)
	again := next(t, s, at+mostRetryMs, 2)
	for _, topic := range again.Topics {
		if topic.TopicID == p[0].TopicID() && topic.Partitions[0].PartitionEpoch != 8 {
			t.Errorf("the older change is sent: %+v", topic)
		}
	}
	s.Take(answers(r, kafka.ErrIneligibleReplica), at)
	if p[0].IsPending(newer) {
		t.Error("the newer change is not refused")
	}
	joins(t, s, p[0])
	apply(t, p[0], 9, 1, 2)
	if r, _ := s.Next(at+10*mostRetryMs, 11); r != nil {
		t.Errorf("sends what the metadata has overtaken: %+v", r)
	}
}
