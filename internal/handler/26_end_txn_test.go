package handler

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/txn"
)

func TestEndTxn(t *testing.T) {
	f := newTxnPlane(t)
	f.denied[security.TransactionalID("hidden")] = true
	for version := int16(0); version <= 5; version++ {
		id := "x" + string(rune('0'+version))
		p := f.init(id)
		code := func(what string, id string, p txn.Producer, commit bool, want kafka.ErrorCode) txn.Producer {
			t.Helper()
			next, got := f.end(version, id, p, commit)
			wantCode(t, what, int16(got), want)
			return next
		}
		fenced := kafka.ErrProducerFenced
		if version < 2 {
			fenced = kafka.ErrInvalidProducerEpoch
		}
		code("empty id", "", p, true, kafka.ErrInvalidRequest)
		code("not allowed", "hidden", p, true, kafka.ErrTransactionalIDAuthorizationFailed)
		code("unknown id", "y", p, true, kafka.ErrInvalidProducerIDMapping)
		code("wrong producer id", id, txn.Producer{ID: 7}, true, kafka.ErrInvalidProducerIDMapping)
		code("fenced", id, txn.Producer{ID: p.ID, Epoch: p.Epoch + 1}, true, fenced)
		code("commit of nothing", id, p, true, kafka.ErrInvalidTxnState)
		if version < 5 {
			code("abort of nothing", id, p, false, kafka.ErrInvalidTxnState)
			f.addTo(3, id, p, kmsg.AddPartitionsToTxnRequestTopic{Topic: "t", Partitions: []int32{0}})
			if next := code("commit", id, p, true, kafka.ErrNone); next != txn.NoProducer {
				t.Errorf("version %d answers with %+v", version, next)
			}
			code("repeated", id, p, true, kafka.ErrNone)
			code("abort of a commit", id, p, false, kafka.ErrInvalidTxnState)
			continue
		}
		f.mustWrite(id, p, "t", 0, 0)
		next := code("commit", id, p, true, kafka.ErrNone)
		if next != (txn.Producer{ID: p.ID, Epoch: p.Epoch + 1}) {
			t.Errorf("%+v after %+v", next, p)
		}
		if again := code("repeated", id, p, true, kafka.ErrNone); again != next {
			t.Errorf("repeated: %+v", again)
		}
		code("abort of a commit", id, p, false, kafka.ErrInvalidTxnState)
		code("two epochs behind", id, txn.Producer{ID: p.ID, Epoch: p.Epoch - 1}, true, fenced)
		after := code("abort of nothing", id, next, false, kafka.ErrNone)
		// KAFKA-20785, in terms of every version.
		code("commit of an abort", id, next, true, kafka.ErrTransactionAbortable)
		if repeated := code("abort, repeated", id, next, false, kafka.ErrNone); repeated != after {
			t.Errorf("%+v, before %+v", repeated, after)
		}
	}
}
