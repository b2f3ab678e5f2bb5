package handler

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/storage"
	"github.com/moldau/moldau/internal/storage/producerstate"
	"github.com/moldau/moldau/internal/txn"
)

// The traps that brokers of Kafka's protocol fell into with transactions, each with the fault that
// taught it.

func (f *txnPlane) log(topic string, partition int32) *storage.Log {
	f.t.Helper()
	r, err := f.replicas.Lookup(kafka.TopicPartition{Topic: topic, Partition: partition})
	if err != nil {
		f.t.Fatal(err)
	}
	return r.Log()
}

// abortedFrom lists the first offsets of the aborted transactions that a read_committed fetch of
// everything from offset on is told of.
func (f *txnPlane) abortedFrom(topic string, partition int32, offset int64) (first []int64) {
	f.t.Helper()
	l := f.log(topic, partition)
	r, err := l.Read(storage.ReadRequest{Offset: offset, MaxBytes: 1 << 20, MinOneBatch: true, UpTo: l.LastStableOffset(), Aborted: true})
	if err != nil {
		f.t.Fatal(err)
	}
	for _, a := range r.Aborted {
		first = append(first, a.FirstOffset)
	}
	return first
}

// Jepsen, Bufstream 0.1.0, and KAFKA-17754: an EndTxn that was held up commits or aborts the next
// transaction of the same producer. In version 2 it meets another epoch.
func TestLateEndTxnDoesNotEndTheNextTransaction(t *testing.T) {
	f := newTxnPlane(t)
	p := f.init("x")
	f.mustWrite("x", p, "t", 0, 0)
	next := f.mustEnd("x", p, false)
	f.mustWrite("x", next, "t", 0, 0)
	for _, late := range []*kmsg.EndTxnRequest{endRequest("x", p, true), endRequest("x", p, false)} {
		wantCode(t, "late end", ask[*kmsg.EndTxnResponse](f, 5, late).ErrorCode, kafka.ErrProducerFenced)
	}
	if f.state("x") != "Ongoing" || f.stable("t", 0) != 2 {
		t.Errorf("%s, last stable offset %d", f.state("x"), f.stable("t", 0))
	}
	f.mustEnd("x", next, true)
}

// KAFKA-9144: a Produce that was held up arrives when its transaction is aborted, and opens one
// that nobody ends.
func TestLateProduceOpensNoTransaction(t *testing.T) {
	f := newTxnPlane(t)
	p := f.init("x")
	f.mustWrite("x", p, "t", 0, 0)
	f.mustEnd("x", p, false)
	for _, version := range []int16{9, 11, 12} {
		wantCode(t, "late write", int16(f.write(version, "x", p, "t", 0, 1)), kafka.ErrInvalidProducerEpoch)
		wantCode(t, "late write to another partition", int16(f.write(version, "x", p, "t", 1, 0)), kafka.ErrInvalidProducerEpoch)
	}
	// Version 1: the epoch stays, so it is the coordinator that knows better.
	old := f.init("old")
	f.addTo(3, "old", old, kmsg.AddPartitionsToTxnRequestTopic{Topic: "t", Partitions: []int32{1}})
	wantCode(t, "write", int16(f.write(9, "old", old, "t", 1, 0)), kafka.ErrNone)
	if _, code := f.end(3, "old", old, false); code != kafka.ErrNone {
		t.Fatal(code)
	}
	wantCode(t, "late write of version 1", int16(f.write(9, "old", old, "t", 1, 1)), kafka.ErrInvalidTxnState)
	wantCode(t, "late write of a client that knows better", int16(f.write(11, "old", old, "t", 1, 1)), kafka.ErrTransactionAbortable)
	for partition, want := range []int64{2, 2} {
		if got := f.stable("t", int32(partition)); got != want {
			t.Errorf("partition %d: last stable offset %d, want %d", partition, got, want)
		}
	}
}

// KIP-890: the marker comes between the coordinator's yes and the append. The guard is gone then.
func TestMarkerBetweenVerificationAndAppend(t *testing.T) {
	f := newTxnPlane(t)
	p := f.init("old")
	f.addTo(3, "old", p, kmsg.AddPartitionsToTxnRequestTopic{Topic: "t", Partitions: []int32{0}})
	verify := f.produce.Enlister.VerifyPartitions
	f.produce.Enlister.VerifyPartitions = func(ctx context.Context, r txn.AddRequest) ([]kafka.ErrorCode, error) {
		codes, err := verify(ctx, r)
		if _, code := f.end(3, "old", p, false); code != kafka.ErrNone {
			t.Error(code)
		}
		return codes, err
	}
	wantCode(t, "write", int16(f.write(9, "old", p, "t", 0, 0)), kafka.ErrInvalidTxnState)
	if got := f.stable("t", 0); got != 1 {
		t.Errorf("last stable offset %d, want 1, after the marker", got)
	}
}

// redpanda#6018: what is open is open after a crash, too; redpanda#3161, tansu#689: the last stable
// offset neither runs ahead nor falls back.
func TestOpenTransactionSurvivesAKill(t *testing.T) {
	f := newTxnPlane(t)
	p := f.init("x")
	f.mustWrite("x", p, "t", 0, 0)
	first := f.mustEnd("x", p, true)
	f.mustWrite("x", first, "t", 0, 0)
	f.mustWrite("x", first, "t", 0, 1)
	for range 2 {
		f.kill()
		if got := f.stable("t", 0); got != 2 || f.state("x") != "Ongoing" {
			t.Fatalf("%s, last stable offset %d, want 2", f.state("x"), got)
		}
	}
	f.mustWrite("x", first, "t", 0, 2)
	f.mustEnd("x", first, false)
	if got := f.stable("t", 0); got != 6 {
		t.Errorf("last stable offset %d, want 6", got)
	}
	f.kill()
	if got, aborted := f.stable("t", 0), f.abortedFrom("t", 0, 0); got != 6 || len(aborted) != 1 || aborted[0] != 2 {
		t.Errorf("last stable offset %d, aborted %v", got, aborted)
	}
}

// The decision is stored and its markers are not: the next start writes them. Whether the kill comes
// before, between or after them, each partition ends up with the transaction ended once.
func TestKillBetweenDecisionAndMarkers(t *testing.T) {
	f := newTxnPlane(t)
	for range 20 {
		p := f.init("x")
		f.mustWrite("x", p, "t", 0, 0)
		f.mustWrite("x", p, "t", 1, 0)
		before := f.log("t", 0).LogEndOffset()
		resp := ask[*kmsg.EndTxnResponse](f, 5, endRequest("x", p, true))
		f.kill()
		if next, code := f.end(5, "x", p, true); resp.ErrorCode == 0 && (code != kafka.ErrNone || next.Epoch != p.Epoch+1) {
			t.Fatalf("repeated after the kill: %v %+v", code, next)
		}
		for partition := range int32(2) {
			if l := f.log("t", partition); l.LastStableOffset() != l.LogEndOffset() {
				t.Fatalf("t-%d is open up to %d of %d", partition, l.LastStableOffset(), l.LogEndOffset())
			}
		}
		if end := f.log("t", 0).LogEndOffset(); end > before+2 {
			t.Fatalf("%d offsets after the last record", end-before)
		}
	}
}

// A marker that is written again changes nothing for readers.
func TestMarkerWrittenTwice(t *testing.T) {
	f := newTxnPlane(t)
	p := f.init("x")
	f.mustWrite("x", p, "t", 0, 0)
	next := f.mustEnd("x", p, false)
	for range 2 {
		wantCode(t, "again", int16(f.marker(2, next, 0, 2, false, "t", 0)), kafka.ErrNone)
	}
	if aborted := f.abortedFrom("t", 0, 0); len(aborted) != 1 || f.stable("t", 0) != f.log("t", 0).LogEndOffset() {
		t.Errorf("aborted %v, last stable offset %d", aborted, f.stable("t", 0))
	}
	// redpanda#2184: of an older transaction, while the next is open.
	f.mustWrite("x", next, "t", 0, 0)
	wantCode(t, "held up", int16(f.marker(2, next, 0, 2, false, "t", 0)), kafka.ErrInvalidProducerEpoch)
	f.mustEnd("x", next, true)
	if aborted := f.abortedFrom("t", 0, 0); len(aborted) != 1 {
		t.Errorf("aborted %v", aborted)
	}
}

// The epoch of the coordinator that wrote the last marker is on disk, too.
func TestOldCoordinatorIsFencedAfterAKill(t *testing.T) {
	f := newTxnPlane(t)
	p := f.init("x")
	f.mustWrite("x", p, "t", 0, 0)
	next := txn.Producer{ID: p.ID, Epoch: p.Epoch + 1}
	wantCode(t, "marker", int16(f.marker(2, next, 5, 2, true, "t", 0)), kafka.ErrNone)
	f.kill()
	wantCode(t, "older coordinator", int16(f.marker(2, txn.Producer{ID: p.ID, Epoch: p.Epoch + 2}, 4, 2, false, "t", 0)), kafka.ErrTransactionCoordinatorFenced)
}

// A guard is in memory only: a write that was verified before a restart has to ask again.
func TestVerificationGuardIsLostOnRestart(t *testing.T) {
	f := newTxnPlane(t)
	tp := kafka.TopicPartition{Topic: "t"}
	guard, err := f.replicas.StartVerification(tp, producerstate.Verification{ProducerID: 7, NowMs: 1})
	if err != nil || guard == producerstate.NoGuard {
		t.Fatal(guard, err)
	}
	f.kill()
	_, err = f.log("t", 0).Append(storage.AppendRequest{Records: transactionalBatch(t, 7, 0, 0), Origin: storage.OriginClient, NowMs: time.Now().UnixMilli(), ProduceVersion: 12, Guard: guard})
	wantCode(t, "with the guard of before", int16(kafka.CodeOf(err)), kafka.ErrInvalidTxnState)
	p := f.init("x")
	f.mustWrite("x", p, "t", 0, 0)
	f.mustEnd("x", p, true)
}

// redpanda#6423, #5543: offsets that are pending stay so over a restart, and not for ever.
func TestPendingOffsetsSurviveAKill(t *testing.T) {
	f := newTxnPlane(t)
	for _, commit := range []bool{false, true} {
		p := f.init("x")
		wantCode(t, "commit", int16(f.commitOffsets(5, txnCommitRequest("x", p, "g", "t", 0))[0]), kafka.ErrNone)
		f.kill()
		if _, code := f.fetchStable("g"); code != kafka.ErrUnstableOffsetCommit {
			t.Errorf("after the kill: %v", code)
		}
		f.mustEnd("x", p, commit)
		f.kill()
		want := int64(-1)
		if commit {
			want = 42
		}
		if offset, code := f.fetchStable("g"); code != kafka.ErrNone || offset != want {
			t.Errorf("commit %t: %d %v", commit, offset, code)
		}
	}
	// Nor does a group that is deleted meanwhile leave anything behind.
	p := f.init("x")
	wantCode(t, "commit", int16(f.commitOffsets(5, txnCommitRequest("x", p, "g", "t", 0))[0]), kafka.ErrNone)
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Groups = []string{"g"}
	wantCode(t, "delete the group", ask[*kmsg.DeleteGroupsResponse](f, 2, req).Groups[0].ErrorCode, kafka.ErrNone)
	f.mustEnd("x", p, true)
	f.kill()
	if offset, code := f.fetchStable("g"); code != kafka.ErrNone || offset != -1 {
		t.Errorf("deleted: %d %v", offset, code)
	}
}

// A transaction over topics that are deleted, one of them made again, still ends: in what is left
// and, as its record names topics and not their ids, with a marker in the new one, which holds
// nobody up there.
func TestTransactionOverDeletedTopics(t *testing.T) {
	f := newTxnPlane(t)
	f.create("gone", 1)
	f.create("again", 1)
	p := f.init("x")
	for _, topic := range []string{"t", "gone", "again"} {
		f.mustWrite("x", p, topic, 0, 0)
	}
	f.apply(&metadata.RemoveTopicRecord{TopicID: topicIDOf("gone")}, &metadata.RemoveTopicRecord{TopicID: topicIDOf("again")})
	f.createAs("again", kafka.UUID{99}, 1)
	other := f.init("other")
	f.mustWrite("other", other, "again", 0, 0)
	next := f.mustEnd("x", p, false)
	if f.state("x") != "CompleteAbort" || f.stable("t", 0) != 2 || f.stable("again", 0) != 0 {
		t.Errorf("%s, last stable offsets %d and %d", f.state("x"), f.stable("t", 0), f.stable("again", 0))
	}
	f.mustEnd("other", other, true)
	if aborted := f.abortedFrom("again", 0, 0); len(aborted) != 0 || f.stable("again", 0) != f.log("again", 0).LogEndOffset() {
		t.Errorf("aborted %v, last stable offset %d", aborted, f.stable("again", 0))
	}
	f.mustWrite("x", next, "again", 0, 0)
	f.mustEnd("x", next, true)
	f.kill()
	if got := f.stable("again", 0); got != f.log("again", 0).LogEndOffset() {
		t.Errorf("last stable offset %d", got)
	}
}

// DeleteRecords in the middle of a transaction: the last stable offset is never below the log's
// start, and the rest is still skipped by readers when the transaction is aborted.
func TestDeleteRecordsInTheMiddleOfATransaction(t *testing.T) {
	f := newTxnPlane(t)
	p := f.init("x")
	for sequence := range int32(3) {
		f.mustWrite("x", p, "t", 0, sequence)
	}
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: "t", Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: 0, Offset: 2}}}}
	wantCode(t, "delete", ask[*kmsg.DeleteRecordsResponse](f, 2, req).Topics[0].Partitions[0].ErrorCode, kafka.ErrNone)
	if got := f.stable("t", 0); got != 2 {
		t.Errorf("last stable offset %d, want 2", got)
	}
	f.kill()
	f.mustEnd("x", p, false)
	if got, aborted := f.stable("t", 0), f.abortedFrom("t", 0, 2); got != 4 || len(aborted) != 1 {
		t.Errorf("last stable offset %d, aborted %v", got, aborted)
	}
}
