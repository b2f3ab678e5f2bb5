package handler

import (
	"testing"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
)

func TestDescribeTransactions(t *testing.T) {
	f := newTxnPlane(t)
	f.create("secret", 1)
	p := f.init("x")
	if d := f.describe("x"); d.State != "Empty" || d.ProducerID != p.ID || d.ProducerEpoch != p.Epoch || d.TimeoutMillis != 60_000 || d.StartTimestamp != -1 || len(d.Topics) != 0 {
		t.Errorf("%+v", d)
	}
	f.mustWrite("x", p, "t", 1, 0)
	f.mustWrite("x", p, "secret", 0, 0)
	if d := f.describe("x"); d.State != "Ongoing" || d.StartTimestamp <= 0 || len(d.Topics) != 2 {
		t.Errorf("%+v", d)
	}
	f.denied[security.Topic("secret")], f.denied[security.TransactionalID("hidden")] = true, true
	if d := f.describe("x"); len(d.Topics) != 1 || d.Topics[0].Topic != "t" || d.Topics[0].Partitions[0] != 1 {
		t.Errorf("with a topic that the client may not see: %+v", d)
	}
	for id, want := range map[string]kafka.ErrorCode{"": kafka.ErrInvalidRequest, "y": kafka.ErrTransactionalIDNotFound, "hidden": kafka.ErrTransactionalIDAuthorizationFailed} {
		wantCode(t, id, f.describe(id).ErrorCode, want)
	}
	next := f.mustEnd("x", p, false)
	if d := f.describe("x"); d.State != "CompleteAbort" || d.ProducerEpoch != next.Epoch || len(d.Topics) != 0 {
		t.Errorf("%+v", d)
	}
}
