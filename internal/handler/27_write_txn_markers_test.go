package handler

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator"
	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/shard"
	"github.com/moldau/moldau/internal/txn"
)

// marker writes a marker into one partition.
func (f *txnPlane) marker(version int16, p txn.Producer, coordinatorEpoch int32, transactionVersion int8, commit bool, topic string, partition int32) kafka.ErrorCode {
	f.t.Helper()
	req := kmsg.NewPtrWriteTxnMarkersRequest()
	req.Markers = []kmsg.WriteTxnMarkersRequestMarker{{ProducerID: p.ID, ProducerEpoch: p.Epoch, CoordinatorEpoch: coordinatorEpoch, TransactionVersion: transactionVersion, Committed: commit,
		Topics: []kmsg.WriteTxnMarkersRequestMarkerTopic{{Topic: topic, Partitions: []int32{partition}}}}}
	resp := ask[*kmsg.WriteTxnMarkersResponse](f, version, req)
	if len(resp.Markers) != 1 || resp.Markers[0].ProducerID != p.ID || resp.Markers[0].Topics[0].Topic != topic || resp.Markers[0].Topics[0].Partitions[0].Partition != partition {
		f.t.Fatalf("%+v", resp)
	}
	return kafka.ErrorCode(resp.Markers[0].Topics[0].Partitions[0].ErrorCode)
}

func TestWriteTxnMarkers(t *testing.T) {
	for version := int16(1); version <= 2; version++ {
		t.Run(string(rune('0'+version)), func(t *testing.T) {
			f := newTxnPlane(t)
			f.init("x")
			p := f.init("x") // epoch 1
			older, next := txn.Producer{ID: p.ID, Epoch: 0}, txn.Producer{ID: p.ID, Epoch: 2}
			f.mustWrite("x", p, "t", 0, 0)
			wantCode(t, "unknown topic", int16(f.marker(version, p, 0, 0, false, "nope", 0)), kafka.ErrUnknownTopicOrPartition)
			wantCode(t, "unknown partition", int16(f.marker(version, p, 0, 0, false, "t", 9)), kafka.ErrUnknownTopicOrPartition)
			wantCode(t, "older epoch", int16(f.marker(version, older, 0, 0, false, "t", 0)), kafka.ErrInvalidProducerEpoch)
			if version >= 2 { // version 1 cannot say in which transaction version it speaks (KIP-1228)
				wantCode(t, "the transaction's own epoch in version 2", int16(f.marker(version, p, 0, 2, false, "t", 0)), kafka.ErrInvalidProducerEpoch)
			}
			if got := f.stable("t", 0); got != 0 {
				t.Fatalf("last stable offset %d", got)
			}
			wantCode(t, "abort", int16(f.marker(version, next, 5, 2, false, "t", 0)), kafka.ErrNone)
			if got := f.stable("t", 0); got != 2 {
				t.Fatalf("last stable offset %d", got)
			}
			wantCode(t, "repeated (KAFKA-19999)", int16(f.marker(version, next, 5, 2, false, "t", 0)), kafka.ErrNone)
			wantCode(t, "older coordinator", int16(f.marker(version, next, 4, 2, false, "t", 0)), kafka.ErrTransactionCoordinatorFenced)
			end := f.log("t", 1).LogEndOffset()
			wantCode(t, "of nobody", int16(f.marker(version, txn.Producer{ID: -1}, 0, 0, true, "t", 1)), kafka.ErrInvalidRequest)
			wantCode(t, "without an epoch", int16(f.marker(version, txn.Producer{ID: 4711, Epoch: -1}, 0, 0, true, "t", 1)), kafka.ErrInvalidProducerEpoch)
			wantCode(t, "of a coordinator before all", int16(f.marker(version, txn.Producer{ID: 4711}, -2, 0, true, "t", 1)), kafka.ErrTransactionCoordinatorFenced)
			if got := f.log("t", 1).LogEndOffset(); got != end {
				t.Errorf("refused markers were written: the log ends at %d instead of %d", got, end)
			}
			wantCode(t, "unknown producer", int16(f.marker(version, txn.Producer{ID: 4711}, 0, 0, true, "t", 1)), kafka.ErrNone)
			if _, code := settled(f, func() (struct{}, kafka.ErrorCode) {
				code := f.marker(version, p, 0, 0, true, kafka.ConsumerOffsetsTopic, 0)
				if code == kafka.ErrNotLeaderOrFollower { // while it loads
					code = kafka.ErrNotCoordinator
				}
				return struct{}{}, code
			}); code != kafka.ErrNone {
				t.Errorf("a group's partition: %v", code)
			}
			wantCode(t, "no such group's partition", int16(f.marker(version, p, 0, 0, true, kafka.ConsumerOffsetsTopic, 9)), kafka.ErrUnknownTopicOrPartition)
			empty := kmsg.NewPtrWriteTxnMarkersRequest()
			empty.Markers = []kmsg.WriteTxnMarkersRequestMarker{{ProducerID: 1}, {ProducerID: 2, Topics: []kmsg.WriteTxnMarkersRequestMarkerTopic{{Topic: "t"}}}}
			if resp := ask[*kmsg.WriteTxnMarkersResponse](f, version, empty); len(resp.Markers) != 0 {
				t.Errorf("nothing to write: %+v", resp)
			}
			f.denied[security.Cluster] = true
			wantCode(t, "not allowed", int16(f.marker(version, p, 0, 0, false, "t", 0)), kafka.ErrClusterAuthorizationFailed)
		})
	}
}

// TestMarkersThatAreNotReplicated has a follower hang, so that markers in several partitions are not committed. All of them together take no longer
// than one: whoever asks gives up soon after, and would not hear of those that are written either.
func TestMarkersThatAreNotReplicated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDataPlane(t)
		records := []metadata.Record{&metadata.TopicRecord{Name: "t", TopicID: topicIDOf("t")}}
		var partitions []kafka.TopicPartition
		for p := range int32(4) {
			both := []int32{1, 2}
			if p == 3 {
				both = both[:1]
			}
			records = append(records, &metadata.PartitionRecord{PartitionID: p, TopicID: topicIDOf("t"), Replicas: both, ISR: both, Leader: 1, Directories: make([]kafka.UUID, len(both))})
			partitions = append(partitions, kafka.TopicPartition{Topic: "t", Partition: p})
		}
		d.apply(records...)
		m := &coordinator.Markers{Replicas: d.replicas, Clock: env.SystemClock{}}
		began := time.Now()
		codes := m.Write(t.Context(), coordinator.MarkerWork{Marker: shard.Marker{ProducerID: 7, Epoch: 1, Committed: true}, Partitions: partitions})
		for i, code := range codes {
			if want := map[bool]kafka.ErrorCode{true: kafka.ErrRequestTimedOut, false: kafka.ErrNone}[i < 3]; code != want {
				t.Errorf("partition %d: %v, want %v", i, code, want)
			}
		}
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}
