package handler

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/txn"
)

func txnCommitRequest(id string, p txn.Producer, group, topic string, partitions ...int32) *kmsg.TxnOffsetCommitRequest {
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group, req.ProducerID, req.ProducerEpoch, req.Generation = id, group, p.ID, p.Epoch, -1
	req.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: topic}}
	for _, n := range partitions {
		partition := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		partition.Partition, partition.Offset = n, 42
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, partition)
	}
	return req
}

// commitOffsets returns the codes of the only topic's partitions.
func (f *txnPlane) commitOffsets(version int16, req *kmsg.TxnOffsetCommitRequest) (codes []kafka.ErrorCode) {
	f.t.Helper()
	codes, _ = settled(f, func() ([]kafka.ErrorCode, kafka.ErrorCode) {
		var codes []kafka.ErrorCode
		for _, p := range ask[*kmsg.TxnOffsetCommitResponse](f, version, req).Topics[0].Partitions {
			codes = append(codes, kafka.ErrorCode(p.ErrorCode))
		}
		return codes, codes[0]
	})
	return codes
}

// fetchStable is a group's offset for t-0, of a consumer that asks for stable offsets.
func (f *txnPlane) fetchStable(group string) (int64, kafka.ErrorCode) {
	f.t.Helper()
	return settled(f, func() (int64, kafka.ErrorCode) {
		req := kmsg.NewPtrOffsetFetchRequest()
		req.Group, req.RequireStable = group, true
		req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{0}}}
		resp := ask[*kmsg.OffsetFetchResponse](f, 7, req)
		if resp.ErrorCode != 0 {
			return -1, kafka.ErrorCode(resp.ErrorCode)
		}
		return resp.Topics[0].Partitions[0].Offset, kafka.ErrorCode(resp.Topics[0].Partitions[0].ErrorCode)
	})
}

func TestTxnOffsetCommit(t *testing.T) {
	f := newTxnPlane(t)
	f.create("secret", 1)
	f.denied[security.Topic("secret")], f.denied[security.Group("hidden")], f.denied[security.TransactionalID("hidden")] = true, true, true
	p := f.init("x")
	for version := int16(0); version <= 5; version++ {
		// Nothing is announced: version 5 adds the group's partition itself, the others are refused.
		fresh := f.init("fresh")
		want := kafka.ErrInvalidTxnState
		switch {
		case version >= 5:
			want = kafka.ErrNone
		case version >= 4:
			want = kafka.ErrTransactionAbortable
		}
		wantCode(t, "not announced", int16(f.commitOffsets(version, txnCommitRequest("fresh", fresh, "fresh", "t", 0))[0]), want)
		if version < 5 {
			wantCode(t, "announce", ask[*kmsg.AddOffsetsToTxnResponse](f, 3, addOffsetsRequest("x", p, "g")).ErrorCode, kafka.ErrNone)
		}
		got := f.commitOffsets(version, txnCommitRequest("x", p, "g", "t", 0, 9, 1))
		if got[0] != kafka.ErrNone || got[1] != kafka.ErrUnknownTopicOrPartition || got[2] != kafka.ErrNone {
			t.Errorf("version %d: %v", version, got)
		}
		for _, c := range []struct {
			what string
			req  *kmsg.TxnOffsetCommitRequest
			want kafka.ErrorCode
		}{
			{"unknown topic", txnCommitRequest("x", p, "g", "nope", 0), kafka.ErrUnknownTopicOrPartition},
			{"topic not allowed", txnCommitRequest("x", p, "g", "secret", 0), kafka.ErrTopicAuthorizationFailed},
			{"group not allowed", txnCommitRequest("x", p, "hidden", "t", 0), kafka.ErrGroupAuthorizationFailed},
			{"id not allowed", txnCommitRequest("hidden", p, "g", "t", 0), kafka.ErrTransactionalIDAuthorizationFailed},
			{"empty group", txnCommitRequest("x", p, "", "t", 0), kafka.ErrInvalidGroupID},
			{"empty id", txnCommitRequest("", p, "g", "t", 0), kafka.ErrInvalidRequest},
			{"fenced", txnCommitRequest("x", txn.Producer{ID: p.ID, Epoch: p.Epoch - 1}, "g", "t", 0), kafka.ErrInvalidProducerEpoch},
		} {
			wantCode(t, c.what, int16(f.commitOffsets(version, c.req)[0]), c.want)
		}
		if version >= 3 {
			member := txnCommitRequest("x", p, "g", "t", 0)
			member.MemberID, member.Generation = "nobody", 4
			wantCode(t, "of nobody", int16(f.commitOffsets(version, member)[0]), kafka.ErrUnknownMemberID)
		}
		if _, code := f.fetchStable("g"); code != kafka.ErrUnstableOffsetCommit {
			t.Errorf("while the transaction is open: %v", code)
		}
		empty := txnCommitRequest("x", p, "g", "t")
		if resp := ask[*kmsg.TxnOffsetCommitResponse](f, version, empty); len(resp.Topics) != 0 {
			t.Errorf("no partitions: %+v", resp)
		}
		p = f.mustEnd("x", p, true)
		if offset, code := f.fetchStable("g"); offset != 42 || code != kafka.ErrNone {
			t.Errorf("committed: %d %v", offset, code)
		}
	}
}
