package handler

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/txn"
)

func addOffsetsRequest(id string, p txn.Producer, group string) *kmsg.AddOffsetsToTxnRequest {
	req := kmsg.NewPtrAddOffsetsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = id, p.ID, p.Epoch, group
	return req
}

func TestAddOffsetsToTxn(t *testing.T) {
	f := newTxnPlane(t)
	f.denied[security.Group("hidden")], f.denied[security.TransactionalID("hidden")] = true, true
	p := f.init("x")
	fenced := txn.Producer{ID: p.ID, Epoch: p.Epoch + 1}
	for version := int16(0); version <= 4; version++ {
		fencedCode := kafka.ErrProducerFenced
		if version < 2 {
			fencedCode = kafka.ErrInvalidProducerEpoch
		}
		for _, c := range []struct {
			what  string
			id    string
			p     txn.Producer
			group string
			want  kafka.ErrorCode
		}{
			{"good", "x", p, "g", kafka.ErrNone}, {"empty group", "x", p, "", kafka.ErrNone}, {"empty id", "", p, "g", kafka.ErrInvalidRequest}, {"unknown id", "y", p, "g", kafka.ErrInvalidProducerIDMapping},
			{"wrong producer id", "x", txn.Producer{ID: 7}, "g", kafka.ErrInvalidProducerIDMapping}, {"fenced", "x", fenced, "g", fencedCode},
			{"group not allowed", "x", p, "hidden", kafka.ErrGroupAuthorizationFailed}, {"id not allowed", "hidden", p, "g", kafka.ErrTransactionalIDAuthorizationFailed},
		} {
			wantCode(t, c.what, ask[*kmsg.AddOffsetsToTxnResponse](f, version, addOffsetsRequest(c.id, c.p, c.group)).ErrorCode, c.want)
		}
	}
	if d := f.describe("x"); d.State != "Ongoing" || d.Topics[0].Topic != kafka.ConsumerOffsetsTopic {
		t.Errorf("%+v", d)
	}
}
