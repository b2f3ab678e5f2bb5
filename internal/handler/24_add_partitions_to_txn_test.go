package handler

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/txn"
)

// addTo adds partitions as a client does, and returns their codes.
func (f *txnPlane) addTo(version int16, id string, p txn.Producer, topics ...kmsg.AddPartitionsToTxnRequestTopic) (codes []kafka.ErrorCode) {
	f.t.Helper()
	codes, _ = settled(f, func() ([]kafka.ErrorCode, kafka.ErrorCode) {
		req := kmsg.NewPtrAddPartitionsToTxnRequest()
		req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Topics = id, p.ID, p.Epoch, topics
		var codes []kafka.ErrorCode
		for _, topic := range ask[*kmsg.AddPartitionsToTxnResponse](f, version, req).Topics {
			for _, partition := range topic.Partitions {
				codes = append(codes, kafka.ErrorCode(partition.ErrorCode))
			}
		}
		return append(codes, kafka.ErrNone), append(codes, kafka.ErrNone)[0]
	})
	return codes[:len(codes)-1]
}

func TestAddPartitionsToTxn(t *testing.T) {
	f := newTxnPlane(t)
	f.create("secret", 1)
	f.denied[security.Topic("secret")], f.denied[security.TransactionalID("hidden")] = true, true
	p := f.init("x")
	of := func(topic string, partitions ...int32) kmsg.AddPartitionsToTxnRequestTopic {
		return kmsg.AddPartitionsToTxnRequestTopic{Topic: topic, Partitions: partitions}
	}
	type topics = []kmsg.AddPartitionsToTxnRequestTopic
	type codes = []kafka.ErrorCode
	const unknown, skipped, denied = kafka.ErrUnknownTopicOrPartition, kafka.ErrOperationNotAttempted, kafka.ErrTopicAuthorizationFailed
	for _, c := range []struct {
		what    string
		version int16
		id      string
		p       txn.Producer
		topics  topics
		want    codes
	}{
		{"unknown topic beside a known one", 3, "x", p, topics{of("nope", 0), of("t", 0)}, codes{unknown, skipped}},
		{"unknown partition", 3, "x", p, topics{of("t", 0, 9, -1)}, codes{skipped, unknown, unknown}},
		{"not allowed", 0, "x", p, topics{of("secret", 0), of("t", 1)}, codes{denied, skipped}},
		{"internal topic", 3, "x", p, topics{of(kafka.ConsumerOffsetsTopic, 0)}, codes{denied}},
		{"id not allowed", 3, "hidden", p, topics{of("t", 0)}, codes{kafka.ErrTransactionalIDAuthorizationFailed}},
		{"empty id", 3, "", p, topics{of("t", 0)}, codes{kafka.ErrInvalidRequest}},
		{"unknown id", 3, "y", p, topics{of("t", 0)}, codes{kafka.ErrInvalidProducerIDMapping}},
		{"wrong producer id", 3, "x", txn.Producer{ID: 7}, topics{of("t", 0)}, codes{kafka.ErrInvalidProducerIDMapping}},
		{"fenced", 2, "x", txn.Producer{ID: p.ID, Epoch: p.Epoch + 1}, topics{of("t", 0)}, codes{kafka.ErrProducerFenced}},
		{"fenced, old client", 1, "x", txn.Producer{ID: p.ID, Epoch: p.Epoch + 1}, topics{of("t", 0)}, codes{kafka.ErrInvalidProducerEpoch}},
		{"nothing", 3, "x", p, nil, nil},
	} {
		got := f.addTo(c.version, c.id, c.p, c.topics...)
		if len(got) != len(c.want) {
			t.Fatalf("%s: %v", c.what, got)
		}
		for i := range got {
			wantCode(t, c.what, int16(got[i]), c.want[i])
		}
	}
	for version := int16(0); version <= 3; version++ {
		if got := f.addTo(version, "x", p, of("t", 0, 1)); got[0] != kafka.ErrNone || got[1] != kafka.ErrNone {
			t.Errorf("version %d: %v", version, got)
		}
	}
	if d := f.describe("x"); d.State != "Ongoing" || len(d.Topics) != 1 || len(d.Topics[0].Partitions) != 2 {
		t.Errorf("%+v", d)
	}
}

func TestAddPartitionsToTxnOfBrokers(t *testing.T) {
	f := newTxnPlane(t)
	x, y := f.init("x"), f.init("y")
	one := func(id string, p txn.Producer, verify bool, topic string, partitions ...int32) kmsg.AddPartitionsToTxnRequestTransaction {
		return kmsg.AddPartitionsToTxnRequestTransaction{TransactionalID: id, ProducerID: p.ID, ProducerEpoch: p.Epoch, VerifyOnly: verify,
			Topics: []kmsg.AddPartitionsToTxnRequestTransactionTopic{{Topic: topic, Partitions: partitions}}}
	}
	for version := int16(4); version <= 5; version++ {
		send := func(all ...kmsg.AddPartitionsToTxnRequestTransaction) (codes [][]kafka.ErrorCode) {
			req := kmsg.NewPtrAddPartitionsToTxnRequest()
			req.Transactions = all
			resp := ask[*kmsg.AddPartitionsToTxnResponse](f, version, req)
			wantCode(t, "whole", resp.ErrorCode, kafka.ErrNone)
			for i, r := range resp.Transactions {
				if r.TransactionalID != all[i].TransactionalID {
					t.Errorf("answer %d is for %q", i, r.TransactionalID)
				}
				var of []kafka.ErrorCode
				for _, p := range r.Topics[0].Partitions {
					of = append(of, kafka.ErrorCode(p.ErrorCode))
				}
				codes = append(codes, of)
			}
			return codes
		}
		got := send(one("x", x, true, "t", 0), one("x", x, false, "t", 0), one("x", x, true, "t", 0, 1), one("y", y, true, "nope", 0), one("y", y, true, "t", 1, 7), one("", y, false, "t", 0), one("", y, true, "t", 0),
			one("y", txn.Producer{ID: y.ID, Epoch: 9}, true, "t", 0), one("y", txn.Producer{ID: y.ID, Epoch: 9}, false, "t", 0), one("z", y, true, "t", 0), one("y", x, false, "t", 0), one("y", y, false, kafka.ConsumerOffsetsTopic, 1))
		want := [][]kafka.ErrorCode{{kafka.ErrTransactionAbortable}, {0}, {0, kafka.ErrTransactionAbortable}, {kafka.ErrUnknownTopicOrPartition}, {kafka.ErrOperationNotAttempted, kafka.ErrUnknownTopicOrPartition},
			{kafka.ErrInvalidRequest}, {kafka.ErrInvalidRequest}, {kafka.ErrProducerFenced}, {kafka.ErrProducerFenced}, {kafka.ErrInvalidProducerIDMapping}, {kafka.ErrInvalidProducerIDMapping}, {0}}
		for i := range want {
			for j := range want[i] {
				if got[i][j] != want[i][j] {
					t.Errorf("version %d, transaction %d: %v, want %v", version, i, got[i], want[i])
				}
			}
		}
		x, y = f.mustEnd("x", x, true), f.mustEnd("y", y, false)
	}
	f.denied[security.Cluster] = true
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.Transactions = []kmsg.AddPartitionsToTxnRequestTransaction{one("x", x, false, "t", 0)}
	wantCode(t, "not a broker", ask[*kmsg.AddPartitionsToTxnResponse](f, 5, req).ErrorCode, kafka.ErrClusterAuthorizationFailed)
}
