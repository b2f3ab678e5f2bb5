package handler

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/replica"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/wire"
)

func TestProduceInEveryVersion(t *testing.T) {
	t.Parallel()
	d := newDataPlane(t)
	d.create("t", 1, 1)
	for version := int16(3); version <= 13; version++ {
		for _, acks := range []int16{1, -1} {
			want := int64(version-3)*4 + int64((1-acks)/2)*2
			resp := d.doProduce(withProduce(newProduceRequest(version, acks), "t", 0, records(t, -1, "a", "b")))
			if p := resp.Topics[0].Partitions[0]; p.ErrorCode != 0 || p.BaseOffset != want || p.LogAppendTime != -1 || p.LogStartOffset != 0 {
				t.Errorf("version %d acks %d: %+v, want offset %d", version, acks, p, want)
			}
		}
	}
	m := d.produce.Metrics
	if m.messagesIn.Value() != 44 || m.produceRequests.Value() != 22 || m.produceFailures.Value() != 0 || m.bytesIn.Value() != 22*int64(len(records(t, -1, "a", "b"))) {
		t.Errorf("%d messages, %d requests, %d failures, %d bytes", m.messagesIn.Value(), m.produceRequests.Value(), m.produceFailures.Value(), m.bytesIn.Value())
	}
}

func TestProduceErrors(t *testing.T) {
	t.Parallel()
	two := func(t *testing.T) []byte {
		return append(append([]byte{}, records(t, -1, "a")...), records(t, -1, "b")...)
	}
	zstd := func(t *testing.T) []byte {
		b, err := record.Recompress(records(t, -1, "a"), record.CodecZstd, 0)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, c := range []struct {
		name    string
		version int16
		acks    int16
		topic   string
		p       int32
		data    func(t *testing.T) []byte
		want    kafka.ErrorCode
		message bool
	}{
		{"acks 2", 9, 2, "t", 0, nil, kafka.ErrInvalidRequiredAcks, true},
		{"acks -2", 9, -2, "t", 0, nil, kafka.ErrInvalidRequiredAcks, true},
		{"unknown topic", 9, 1, "nope", 0, nil, kafka.ErrUnknownTopicOrPartition, false},
		{"unknown partition", 9, 1, "t", 7, nil, kafka.ErrUnknownTopicOrPartition, false},
		{"negative partition", 9, 1, "t", -1, nil, kafka.ErrUnknownTopicOrPartition, false},
		{"unknown topic id", 13, 1, "nope", 0, nil, kafka.ErrUnknownTopicID, false},
		{"not allowed", 9, 1, "secret", 0, nil, kafka.ErrTopicAuthorizationFailed, false},
		{"not allowed and not there", 9, 1, "nothing", 0, nil, kafka.ErrTopicAuthorizationFailed, false},
		{"led elsewhere", 9, 1, "remote", 0, nil, kafka.ErrNotLeaderOrFollower, true},
		{"internal topic", 9, 1, kafka.ConsumerOffsetsTopic, 0, nil, kafka.ErrInvalidTopicException, true},
		{"no batch", 9, 1, "t", 0, func(*testing.T) []byte { return nil }, kafka.ErrInvalidRecord, true},
		{"two batches", 9, 1, "t", 0, two, kafka.ErrInvalidRecord, true},
		{"cut", 9, 1, "t", 0, func(t *testing.T) []byte { b := records(t, -1, "a"); return b[:len(b)-1] }, kafka.ErrInvalidRecord, true},
		{"crc", 9, 1, "t", 0, func(t *testing.T) []byte { return corrupted(records(t, -1, "a")) }, kafka.ErrCorruptMessage, true},
		{"control bit", 9, 1, "t", 0, func(t *testing.T) []byte { return withAttribute(records(t, -1, "a"), 0x20) }, kafka.ErrInvalidRecord, true},
		{"transactional without id", 9, 1, "t", 0, func(t *testing.T) []byte { return withAttribute(records(t, 0, "a"), 0x10) }, kafka.ErrTransactionalIDAuthorizationFailed, true},
		{"zstd in version 6", 6, 1, "t", 0, zstd, kafka.ErrUnsupportedCompressionType, false},
		{"zstd in version 7", 7, 1, "t", 0, zstd, kafka.ErrNone, false},
		{"too large", 9, 1, "t", 0, func(t *testing.T) []byte { return records(t, -1, string(make([]byte, 2<<20))) }, kafka.ErrMessageTooLarge, true},
		{"a first sequence of any number", 9, 1, "t", 0, func(t *testing.T) []byte { return records(t, 77, "a") }, kafka.ErrNone, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := newDataPlane(t)
			d.create("t", 1, 1)
			d.create("secret", 1, 1)
			d.create("remote", 1, 2)
			d.create(kafka.ConsumerOffsetsTopic, 1, 1)
			d.denied[security.Topic("secret")], d.denied[security.Topic("nothing")] = true, true
			data := []byte(records(t, -1, "a"))
			if c.data != nil {
				data = c.data(t)
			}
			resp := d.doProduce(withProduce(newProduceRequest(c.version, c.acks), c.topic, c.p, data))
			p := resp.Topics[0].Partitions[0]
			if kafka.ErrorCode(p.ErrorCode) != c.want || p.Partition != c.p || (p.ErrorMessage != nil) != c.message {
				t.Fatalf("error %v, partition %d, message %v; want %v", kafka.ErrorCode(p.ErrorCode), p.Partition, p.ErrorMessage, c.want)
			}
			if c.want != kafka.ErrNone && (p.BaseOffset != -1 || p.LogAppendTime != -1) {
				t.Errorf("base offset %d, log append time %d", p.BaseOffset, p.LogAppendTime)
			}
			if c.version >= produceTopicIDsFrom && resp.Topics[0].TopicID != topicIDOf(c.topic) {
				t.Errorf("topic id %v", resp.Topics[0].TopicID)
			}
		})
	}
}

func TestProduceHasAnAnswerForEachPartition(t *testing.T) {
	t.Parallel()
	d := newDataPlane(t)
	d.create("a", 2, 1)
	d.create("b", 1, 1)
	req := newProduceRequest(9, -1)
	withProduce(req, "a", 0, records(t, -1, "x"))
	withProduce(req, "nope", 0, records(t, -1, "x"))
	withProduce(req, "b", 0, records(t, -1, "x"))
	req.Topics[0].Partitions = append(req.Topics[0].Partitions, kmsg.ProduceRequestTopicPartition{Partition: 5, Records: records(t, -1, "x")}, kmsg.ProduceRequestTopicPartition{Partition: 1, Records: records(t, -1, "x")})
	resp := d.doProduce(req)
	var got []kafka.ErrorCode
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			got = append(got, kafka.ErrorCode(p.ErrorCode))
		}
	}
	want := []kafka.ErrorCode{0, kafka.ErrUnknownTopicOrPartition, 0, kafka.ErrUnknownTopicOrPartition, 0}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("answers %v, want %v", got, want)
		}
	}
}

func TestProduceRecordErrors(t *testing.T) {
	t.Parallel()
	d := newDataPlane(t)
	d.config.Compact = true
	d.create("t", 1, 1)
	for version, want := range map[int16]int{7: 0, 8: 2, 13: 2} {
		p := d.doProduce(withProduce(newProduceRequest(version, 1), "t", 0, records(t, -1, "no key", "no key"))).Topics[0].Partitions[0]
		if kafka.ErrorCode(p.ErrorCode) != kafka.ErrInvalidRecord || len(p.ErrorRecords) != want || (p.ErrorMessage != nil) != (want > 0) {
			t.Errorf("version %d: %+v", version, p)
		}
		if want > 0 && (p.ErrorRecords[1].RelativeOffset != 1 || *p.ErrorRecords[1].ErrorMessage == "") {
			t.Errorf("version %d: record error %+v", version, p.ErrorRecords[1])
		}
	}
}

func TestProduceDuplicatesGetTheirFirstOffset(t *testing.T) {
	t.Parallel()
	d := newDataPlane(t)
	d.create("t", 1, 1)
	send := func(sequence int32) kmsg.ProduceResponseTopicPartition {
		return d.doProduce(withProduce(newProduceRequest(9, -1), "t", 0, records(t, sequence, "a", "b"))).Topics[0].Partitions[0]
	}
	for i := range int32(5) {
		if p := send(2 * i); p.ErrorCode != 0 || p.BaseOffset != int64(2*i) {
			t.Fatalf("batch %d: %+v", i, p)
		}
	}
	for i := range int32(5) {
		if p := send(2 * i); p.ErrorCode != 0 || p.BaseOffset != int64(2*i) {
			t.Errorf("batch %d again: %+v", i, p)
		}
	}
	if p := send(12); kafka.ErrorCode(p.ErrorCode) != kafka.ErrOutOfOrderSequenceNumber {
		t.Errorf("a gap: %+v", p)
	}
	if got := d.produce.Metrics.messagesIn.Value(); got != 10 {
		t.Errorf("%d messages counted, want 10", got)
	}
}

func TestProduceWithoutAcks(t *testing.T) {
	t.Parallel()
	d := newDataPlane(t)
	d.create("t", 1, 1)
	r := dataRequest(withProduce(newProduceRequest(9, 0), "t", 0, records(t, -1, "a")), "test")
	if reply := d.produce.Handle(t.Context(), r); !reply.NoResponse || reply.CloseConnection || reply.Body != nil || reply.Wait != nil {
		t.Errorf("good: %+v", reply)
	}
	r = dataRequest(withProduce(newProduceRequest(9, 0), "nope", 0, records(t, -1, "a")), "test")
	if reply := d.produce.Handle(t.Context(), r); !reply.CloseConnection || reply.Body != nil || reply.Wait != nil {
		t.Errorf("bad: %+v", reply)
	}
}

func TestProduceAdminClientMayWriteInternalTopics(t *testing.T) {
	t.Parallel()
	d := newDataPlane(t)
	d.create(kafka.ConsumerOffsetsTopic, 1, 1)
	r := dataRequest(withProduce(newProduceRequest(9, 1), kafka.ConsumerOffsetsTopic, 0, records(t, -1, "a")), adminClientID)
	if body := d.produce.Handle(t.Context(), r).Body; body == nil {
		t.Fatal("no answer")
	} else {
		body.EachError(func(code int16) { t.Errorf("error %v", kafka.ErrorCode(code)) })
	}
}

func TestProduceLeaderHints(t *testing.T) {
	t.Parallel()
	d := newDataPlane(t)
	d.create("remote", 2, 2)
	for version := int16(9); version <= 10; version++ {
		req := withProduce(withProduce(newProduceRequest(version, 1), "remote", 0, records(t, -1, "a")), "remote", 1, records(t, -1, "a"))
		resp := d.doProduce(req)
		p := resp.Topics[1].Partitions[0]
		if version < produceLeaderHintsFrom {
			if p.CurrentLeader.LeaderID != -1 || len(resp.Brokers) != 0 {
				t.Errorf("version %d: %+v %+v", version, p.CurrentLeader, resp.Brokers)
			}
			continue
		}
		if p.CurrentLeader.LeaderID != 2 || p.CurrentLeader.LeaderEpoch != 0 || len(resp.Brokers) != 1 || resp.Brokers[0].Host != "two.example" || resp.Brokers[0].Port != 9093 {
			t.Errorf("version %d: %+v %+v", version, p.CurrentLeader, resp.Brokers)
		}
	}
}

// TestProduceWaitsForALeadership has a producer come before the broker has heard that it leads.
func TestProduceWaitsForALeadership(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDataPlane(t)
		id := topicIDOf("t")
		for partition := range int32(3) {
			records := []metadata.Record{&metadata.PartitionRecord{TopicID: id, PartitionID: partition, Replicas: []int32{1, 2}, ISR: []int32{1, 2}, Leader: 2, Directories: make([]kafka.UUID, 2)}}
			if partition == 0 {
				records = append([]metadata.Record{&metadata.TopicRecord{Name: "t", TopicID: id}}, records...)
			}
			d.apply(records...)
		}
		time.AfterFunc(20*time.Millisecond, func() {
			change := metadata.NewPartitionChangeRecord(id, 1)
			change.Leader = 1
			d.apply(change)
		})
		began := time.Now()
		req := newProduceRequest(9, 1)
		for partition := range int32(3) {
			withProduce(req, "t", partition, records(t, -1, "a"))
		}
		resp := d.doProduce(req)
		for i, want := range []kafka.ErrorCode{kafka.ErrNotLeaderOrFollower, kafka.ErrNone, kafka.ErrNotLeaderOrFollower} {
			if got := kafka.ErrorCode(resp.Topics[i].Partitions[0].ErrorCode); got != want {
				t.Errorf("partition %d: %v", i, got)
			}
		}
		if took := time.Since(began); took != replica.LeadershipPatience { // for all together
			t.Errorf("took %v", took)
		}
	})
}

// TestProduceOverlapsItsCompletion has an append that waits while the next one is handled.
func TestProduceOverlapsItsCompletion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDataPlane(t)
		id := topicIDOf("t")
		d.apply(&metadata.TopicRecord{Name: "t", TopicID: id}, &metadata.PartitionRecord{TopicID: id, Replicas: []int32{1, 2}, ISR: []int32{1, 2}, Leader: 1, Directories: make([]kafka.UUID, 2)})
		handle := func() Reply {
			return d.produce.Handle(t.Context(), dataRequest(withProduce(newProduceRequest(9, -1), "t", 0, records(t, -1, "a")), "test"))
		}
		late, first, second := handle(), handle(), handle()
		if late.Wait == nil || first.Wait == nil || second.Wait == nil {
			t.Fatal("an append was answered before it was replicated")
		}
		code := func(r Reply) (got kafka.ErrorCode) {
			r.Wait(t.Context()).EachError(func(c int16) { got = kafka.ErrorCode(c) })
			return got
		}
		start := time.Now()
		if got := code(late); got != kafka.ErrRequestTimedOut || time.Since(start) != time.Second {
			t.Errorf("after %v: %v", time.Since(start), got)
		}
		change := metadata.NewPartitionChangeRecord(id, 0)
		change.ISR = []int32{1}
		d.apply(change)
		if got := code(first); got != kafka.ErrNone {
			t.Errorf("replicated: %v", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if body := second.Wait(ctx); body != nil {
			t.Error("an answer for a closed connection")
		}
	})
}

func BenchmarkProduce(b *testing.B) {
	d := newDataPlane(b)
	d.create("t", 1, 1)
	values := make([]string, 100)
	for i := range values {
		values[i] = "a value of about one hundred bytes, as an event of a web shop might have; it is repeated many times."
	}
	batch := records(b, -1, values...)
	r := dataRequest(withProduce(newProduceRequest(12, -1), "t", 0, batch), "test")
	b.SetBytes(int64(len(batch)))
	b.ReportAllocs()
	for b.Loop() {
		batch.SetBaseOffset(0)
		d.produce.Handle(b.Context(), r)
	}
}

// TestProducePartitionNamedTwice: the last mention counts, and is the one that is answered.
func TestProducePartitionNamedTwice(t *testing.T) {
	t.Parallel()
	d := newDataPlane(t)
	d.create("t", 3, 1)
	req := newProduceRequest(13, -1)
	for _, p := range []int32{0, 1, 0, 2, 0} {
		withProduce(req, "t", p, records(t, -1, "a"))
	}
	req.Topics[3].Partitions = append(req.Topics[3].Partitions, req.Topics[3].Partitions[0], kmsg.ProduceRequestTopicPartition{Partition: 1, Records: records(t, -1, "b", "c")})
	answered := map[int32]int{}
	for _, topic := range d.doProduce(req).Topics {
		for _, p := range topic.Partitions {
			answered[p.Partition]++
			if p.ErrorCode != 0 || p.BaseOffset != 0 {
				t.Errorf("partition %d: error %d, offset %d", p.Partition, p.ErrorCode, p.BaseOffset)
			}
		}
	}
	if len(answered) != 3 || answered[0] != 1 || answered[1] != 1 || answered[2] != 1 {
		t.Errorf("answers by partition: %v", answered)
	}
	for p, want := range []int64{1, 2, 1} {
		r, err := d.replicas.Lookup(kafka.TopicPartition{Topic: "t", Partition: int32(p)})
		if err != nil || r.Log().LogEndOffset() != want {
			t.Errorf("partition %d ends at %d, want %d; %v", p, r.Log().LogEndOffset(), want, err)
		}
	}
}

// TestProduceWaitsForTheFlush: with flush.messages=1 neither acks=1 nor acks=all is answered before
// the records are on disk; acks=0 is not answered at all.
func TestProduceWaitsForTheFlush(t *testing.T) {
	t.Parallel()
	for acks, waits := range map[int16]bool{0: false, 1: true, -1: true} {
		synctest.Test(t, func(t *testing.T) {
			d := newDataPlane(t)
			d.config.FlushMessages = 1
			d.create("t", 1, 1)
			req := withProduce(newProduceRequest(9, acks), "t", 0, records(t, -1, "a"))
			req.TimeoutMillis = 0 // as in Kafka, the fsync's time does not count
			r := dataRequest(req, "test")
			reply := d.produce.Handle(t.Context(), r)
			if (reply.Wait != nil) != waits {
				t.Fatalf("acks %d: answered %+v", acks, reply)
			}
			if !waits {
				return
			}
			answer := make(chan wire.ResponseBody, 1)
			go func() { answer <- reply.Wait(t.Context()) }()
			synctest.Wait()
			if len(answer) > 0 {
				t.Fatalf("acks %d: answered before the flush", acks)
			}
			if _, err := d.storage.CommitDir(0, 0, nil); err != nil {
				t.Fatal(err)
			}
			if p := (<-answer).(*wire.ProduceBody).Response.Topics[0].Partitions[0]; p.ErrorCode != 0 || p.BaseOffset != 0 {
				t.Errorf("acks %d: %+v", acks, p)
			}
		})
	}
}
