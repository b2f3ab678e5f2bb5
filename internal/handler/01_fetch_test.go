package handler

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/security"
)

func TestFetchInEveryVersion(t *testing.T) {
	t.Parallel()
	d := newDataPlane(t)
	d.create("t", 1, 1)
	batch := records(t, -1, "a", "b")
	d.doProduce(withProduce(newProduceRequest(9, 1), "t", 0, batch))
	for version := int16(4); version <= 18; version++ {
		for isolation := range int8(2) {
			req := withFetch(newFetchRequest(version, 0, -1), "t", 0, 1)
			req.IsolationLevel = isolation
			resp, release := d.doFetch(req)
			if resp.ErrorCode != 0 || resp.SessionID != 0 || len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
				t.Fatalf("version %d: %+v", version, resp)
			}
			p := resp.Topics[0].Partitions[0]
			if p.ErrorCode != 0 || p.HighWatermark != 2 || p.LastStableOffset != 2 || p.LogStartOffset != 0 || p.PreferredReadReplica != -1 || string(p.RecordBatches) != string(batch) {
				t.Errorf("version %d: %+v", version, p)
			}
			// Kafka sends null where nobody asked, an empty list to readers of committed records.
			if (p.AbortedTransactions == nil) != (isolation == 0) || len(p.AbortedTransactions) > 0 {
				t.Errorf("version %d isolation %d: aborted transactions %v", version, isolation, p.AbortedTransactions)
			}
			release()
		}
	}
	if got := d.fetch.Metrics.bytesOut.Value(); got != 30*int64(len(batch)) {
		t.Errorf("%d bytes counted", got)
	}
}

// TestFetchErrors has the shapes that Apache Kafka 4.3.1 answers.
func TestFetchErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		version int16
		topic   string
		change  func(r *kmsg.FetchRequest)
		want    kafka.ErrorCode
		refused bool // before it is read
	}{
		{"unknown topic", 12, "nope", nil, kafka.ErrUnknownTopicOrPartition, true},
		{"unknown partition", 12, "t", func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].Partition = 3 }, kafka.ErrUnknownTopicOrPartition, true},
		{"unknown topic id", 13, "nope", nil, kafka.ErrUnknownTopicID, true},
		{"not allowed", 12, "secret", nil, kafka.ErrTopicAuthorizationFailed, true},
		{"led elsewhere", 16, "remote", nil, kafka.ErrNotLeaderOrFollower, false},
		{"beyond the end", 12, "t", func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].FetchOffset = 3 }, kafka.ErrOffsetOutOfRange, false},
		{"below the start", 12, "t", func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].FetchOffset = -1 }, kafka.ErrOffsetOutOfRange, false},
		{"future epoch", 12, "t", func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].CurrentLeaderEpoch = 3 }, kafka.ErrUnknownLeaderEpoch, false},
		{"a replica that is none", 14, "t", func(r *kmsg.FetchRequest) { r.ReplicaID = 2 }, kafka.ErrNotLeaderOrFollower, false},
		{"a replica that is none, new style", 15, "t", func(r *kmsg.FetchRequest) { r.ReplicaState.ID = 2 }, kafka.ErrNotLeaderOrFollower, false},
		{"a debugging consumer", 14, "t", func(r *kmsg.FetchRequest) { r.ReplicaID = -2 }, kafka.ErrNone, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := newDataPlane(t)
			d.create("t", 1, 1)
			d.create("secret", 1, 1)
			d.create("remote", 1, 2)
			d.denied[security.Topic("secret")] = true
			d.doProduce(withProduce(newProduceRequest(9, 1), "t", 0, records(t, -1, "a", "b")))
			req := withFetch(newFetchRequest(c.version, 0, -1), c.topic, 0, 0)
			if c.change != nil {
				c.change(req)
			}
			resp, release := d.doFetch(req)
			defer release()
			p := resp.Topics[0].Partitions[0]
			if kafka.ErrorCode(p.ErrorCode) != c.want {
				t.Fatalf("error %v, want %v", kafka.ErrorCode(p.ErrorCode), c.want)
			}
			if c.want == kafka.ErrNone {
				return
			}
			if p.HighWatermark != -1 || p.LastStableOffset != -1 || p.LogStartOffset != -1 || p.RecordBatches == nil || len(p.RecordBatches) != 0 || (p.AbortedTransactions == nil) == c.refused {
				t.Errorf("shape %+v", p)
			}
			if c.topic == "remote" && (p.CurrentLeader.LeaderID != 2 || len(resp.Brokers) != 1 || resp.Brokers[0].Host != "two.example") {
				t.Errorf("hint %+v %+v", p.CurrentLeader, resp.Brokers)
			}
		})
	}
}

func TestFetchDivergingEpoch(t *testing.T) {
	t.Parallel()
	d := newDataPlane(t)
	d.create("t", 1, 1)
	d.doProduce(withProduce(newProduceRequest(9, 1), "t", 0, records(t, -1, "a", "b")))
	change := metadata.NewPartitionChangeRecord(topicIDOf("t"), 0)
	change.Leader = 1
	d.apply(change)
	d.doProduce(withProduce(newProduceRequest(9, 1), "t", 0, records(t, -1, "c", "d")))
	req := withFetch(newFetchRequest(12, 0, -1), "t", 0, 3)
	req.MaxWaitMillis = 60_000 // must not be waited for
	req.Topics[0].Partitions[0].LastFetchedEpoch = 0
	resp, release := d.doFetch(req)
	defer release()
	p := resp.Topics[0].Partitions[0]
	if p.ErrorCode != 0 || p.DivergingEpoch.Epoch != 0 || p.DivergingEpoch.EndOffset != 2 || len(p.RecordBatches) != 0 {
		t.Errorf("got %+v", p)
	}
}

// TestFetchSession follows a consumer of two topics by id.
func TestFetchSession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDataPlane(t)
		d.create("a", 1, 1)
		d.create("b", 1, 1)
		resp, release := d.doFetch(withFetch(withFetch(newFetchRequest(17, 0, 0), "a", 0, 0), "b", 0, 0))
		release()
		id := resp.SessionID
		if id == 0 || len(resp.Topics) != 2 {
			t.Fatalf("full fetch: %+v", resp)
		}
		incremental := func(epoch int32, wait time.Duration) *kmsg.FetchRequest {
			req := newFetchRequest(17, id, epoch)
			req.MaxWaitMillis = int32(wait.Milliseconds())
			return req
		}
		start := time.Now()
		resp, release = d.doFetch(incremental(1, 500*time.Millisecond))
		release()
		if len(resp.Topics) != 0 || resp.SessionID != id || time.Since(start) != 500*time.Millisecond {
			t.Fatalf("an empty request came back after %v: %+v", time.Since(start), resp)
		}
		time.AfterFunc(time.Second, func() {
			d.doProduce(withProduce(newProduceRequest(9, 1), "b", 0, records(t, -1, "x")))
		})
		start = time.Now()
		resp, release = d.doFetch(incremental(2, time.Minute))
		release()
		if len(resp.Topics) != 1 || resp.Topics[0].TopicID != topicIDOf("b") || len(resp.Topics[0].Partitions[0].RecordBatches) == 0 || time.Since(start) != time.Second {
			t.Fatalf("after %v: %+v", time.Since(start), resp)
		}
		// b has moved on; a is deleted and created again under another id.
		d.apply(&metadata.RemoveTopicRecord{TopicID: topicIDOf("a")})
		resp, release = d.doFetch(withFetch(incremental(3, 0), "b", 0, 1))
		release()
		if len(resp.Topics) != 1 || kafka.ErrorCode(resp.Topics[0].Partitions[0].ErrorCode) != kafka.ErrUnknownTopicID {
			t.Fatalf("the deleted topic: %+v", resp)
		}
		req := incremental(4, 0)
		req.ForgottenTopics = []kmsg.FetchRequestForgottenTopic{{TopicID: topicIDOf("a"), Partitions: []int32{0}}}
		resp, release = d.doFetch(req)
		release()
		if len(resp.Topics) != 0 {
			t.Fatalf("after it was forgotten: %+v", resp)
		}
		for epoch, want := range map[int32]kafka.ErrorCode{4: kafka.ErrInvalidFetchSessionEpoch, 9: kafka.ErrInvalidFetchSessionEpoch} {
			resp, release = d.doFetch(incremental(epoch, 0))
			release()
			if kafka.ErrorCode(resp.ErrorCode) != want || len(resp.Topics) != 0 || resp.SessionID != 0 {
				t.Errorf("epoch %d: %+v", epoch, resp)
			}
		}
		wrong := newFetchRequest(17, id+1, 5)
		if resp, release = d.doFetch(wrong); kafka.ErrorCode(resp.ErrorCode) != kafka.ErrFetchSessionIDNotFound {
			t.Errorf("another session: %+v", resp)
		}
		release()
		byName := newFetchRequest(12, id, 5)
		if resp, release = d.doFetch(byName); kafka.ErrorCode(resp.ErrorCode) != kafka.ErrFetchSessionTopicIDError {
			t.Errorf("by name: %+v", resp)
		}
		release()
	})
}

func TestFetchGroupsPartitionsByTopic(t *testing.T) {
	t.Parallel()
	d := newDataPlane(t)
	d.create("a", 2, 1)
	d.create("b", 1, 1)
	req := newFetchRequest(12, 0, -1)
	withFetch(req, "a", 0, 0)
	withFetch(req, "a", 1, 0)
	withFetch(req, "nope", 0, 0)
	withFetch(req, "b", 0, 0)
	resp, release := d.doFetch(req)
	defer release()
	var got []string
	for _, topic := range resp.Topics {
		got = append(got, topic.Topic)
	}
	if len(got) != 3 || got[0] != "a" || got[1] != "b" || got[2] != "nope" || len(resp.Topics[0].Partitions) != 2 {
		t.Errorf("topics %v", got)
	}
}

func BenchmarkFetchHandler(b *testing.B) {
	d := newDataPlane(b)
	d.create("t", 1, 1)
	for range 100 {
		d.doProduce(withProduce(newProduceRequest(9, 1), "t", 0, records(b, -1, string(make([]byte, 10_000)))))
	}
	r := dataRequest(withFetch(newFetchRequest(12, 0, -1), "t", 0, 0), "test")
	b.ReportAllocs()
	for b.Loop() {
		body := d.fetch.Handle(b.Context(), r).Body
		body.Release()
	}
	b.SetBytes(d.fetch.Metrics.bytesOut.Value() / d.fetch.Metrics.fetchRequests.Value())
}
