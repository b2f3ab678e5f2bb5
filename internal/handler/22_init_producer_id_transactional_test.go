package handler

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/txn"
	"github.com/moldau/moldau/internal/wire"
)

func TestTransactionalInitProducerID(t *testing.T) {
	f := newTxnPlane(t)
	first := f.init("x")
	for version := int16(0); version <= 5; version++ {
		resp := ask[*kmsg.InitProducerIDResponse](f, version, initRequest("x", 60_000, nil))
		if resp.ErrorCode != 0 || resp.ProducerID != first.ID || resp.ProducerEpoch != first.Epoch+1+version {
			t.Errorf("version %d: %+v after %+v", version, resp, first)
		}
	}
	now := txn.Producer{ID: first.ID, Epoch: first.Epoch + 6}
	f.denied[security.TransactionalID("secret")] = true
	for _, c := range []struct {
		what    string
		version int16
		req     *kmsg.InitProducerIDRequest
		want    kafka.ErrorCode
	}{
		{"empty id", 5, initRequest("", 60_000, nil), kafka.ErrInvalidRequest},
		{"not allowed", 5, initRequest("secret", 60_000, nil), kafka.ErrTransactionalIDAuthorizationFailed},
		{"no time", 5, initRequest("x", 0, nil), kafka.ErrInvalidTransactionTimeout},
		{"negative time", 0, initRequest("x", -1, nil), kafka.ErrInvalidTransactionTimeout},
		{"too much time", 5, initRequest("x", 900_001, nil), kafka.ErrInvalidTransactionTimeout},
		{"id without epoch", 3, initRequest("x", 60_000, &txn.Producer{ID: now.ID, Epoch: -1}), kafka.ErrInvalidRequest},
		{"epoch without id", 3, initRequest("x", 60_000, &txn.Producer{ID: -1, Epoch: 3}), kafka.ErrInvalidRequest},
		{"fenced epoch", 4, initRequest("x", 60_000, &txn.Producer{ID: now.ID, Epoch: now.Epoch - 1}), kafka.ErrProducerFenced},
		{"fenced epoch, old client", 3, initRequest("x", 60_000, &txn.Producer{ID: now.ID, Epoch: now.Epoch - 1}), kafka.ErrInvalidProducerEpoch},
		{"another's id", 5, initRequest("x", 60_000, &txn.Producer{ID: now.ID + 50, Epoch: now.Epoch}), kafka.ErrProducerFenced},
	} {
		resp := ask[*kmsg.InitProducerIDResponse](f, c.version, c.req)
		wantCode(t, c.what, resp.ErrorCode, c.want)
		if resp.ProducerID != -1 || resp.ProducerEpoch != -1 {
			t.Errorf("%s: %+v", c.what, resp)
		}
	}
	if resp := ask[*kmsg.InitProducerIDResponse](f, 5, initRequest("x", 60_000, &now)); resp.ErrorCode != 0 || resp.ProducerEpoch != now.Epoch+1 {
		t.Errorf("who names the current epoch: %+v", resp)
	}
	// The first request over an open transaction aborts it and says that it has to end first.
	p := f.init("x")
	f.mustWrite("x", p, "t", 0, 0)
	wantCode(t, "open", ask[*kmsg.InitProducerIDResponse](f, 5, initRequest("x", 60_000, nil)).ErrorCode, kafka.ErrConcurrentTransactions)
	if next := f.init("x"); next != (txn.Producer{ID: p.ID, Epoch: p.Epoch + 2}) {
		t.Errorf("%+v after %+v", next, p)
	}
}

// Version 6 has the flags of two-phase commit (KIP-939), enable2Pc and keepPreparedTxn. It is
// unstable in Kafka 4.3, whose brokers do not serve it: neither is it served here.
func TestInitProducerIDWithoutTwoPhaseCommit(t *testing.T) {
	t.Parallel()
	if api, ok := wire.LookupAPI(wire.KeyInitProducerID); !ok || api.MaxAdvertised != 5 {
		t.Errorf("InitProducerId is served up to version %d", api.MaxAdvertised)
	}
}

func TestTransactionalRequestsWithoutCoordinator(t *testing.T) {
	f := newTxnPlaneWithoutTopics(t)
	f.create("t", 1)
	p := txn.Producer{ID: 5}
	wantCode(t, "init", ask[*kmsg.InitProducerIDResponse](f, 5, initRequest("x", 60_000, nil)).ErrorCode, kafka.ErrNotCoordinator)
	wantCode(t, "end", ask[*kmsg.EndTxnResponse](f, 5, endRequest("x", p, true)).ErrorCode, kafka.ErrNotCoordinator)
	add := kmsg.NewPtrAddPartitionsToTxnRequest()
	add.TransactionalID, add.ProducerID = "x", p.ID
	add.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: "t", Partitions: []int32{0}}}
	wantCode(t, "add", ask[*kmsg.AddPartitionsToTxnResponse](f, 3, add).Topics[0].Partitions[0].ErrorCode, kafka.ErrNotCoordinator)
	wantCode(t, "offsets", ask[*kmsg.AddOffsetsToTxnResponse](f, 4, addOffsetsRequest("x", p, "g")).ErrorCode, kafka.ErrCoordinatorNotAvailable)
	describe := kmsg.NewPtrDescribeTransactionsRequest()
	describe.TransactionalIDs = []string{"x"}
	wantCode(t, "describe", ask[*kmsg.DescribeTransactionsResponse](f, 0, describe).TransactionStates[0].ErrorCode, kafka.ErrNotCoordinator)
	if list := ask[*kmsg.ListTransactionsResponse](f, 2, kmsg.NewPtrListTransactionsRequest()); list.ErrorCode != 0 || len(list.TransactionStates) != 0 {
		t.Errorf("list: %+v", list)
	}
}
