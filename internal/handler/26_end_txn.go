package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/txn"
)

// EndTxn commits or aborts a transaction (API key 26).
type EndTxn struct {
	Transactions *coordinator.Transactions
	Authorizer   security.Authorizer
}

// Versions of EndTxn from which something is different.
const (
	endTxnAbortableFrom = 4
	endTxnVersion2From  = 5
)

// Handle answers when the end is decided; the markers follow.
func (h *EndTxn) Handle(ctx context.Context, r *Request) Reply {
	req, resp := r.Body.(*kmsg.EndTxnRequest), kmsg.NewPtrEndTxnResponse()
	result := txn.Result{Producer: txn.NoProducer}
	switch {
	case !security.Allowed(h.Authorizer, r.Conn, security.OperationWrite, security.TransactionalID(req.TransactionalID)):
		result.Code = kafka.ErrTransactionalIDAuthorizationFailed
	case req.TransactionalID == "":
		result.Code = kafka.ErrInvalidRequest
	default:
		end := txn.EndRequest{TransactionalID: req.TransactionalID, Producer: txn.Producer{ID: req.ProducerID, Epoch: req.ProducerEpoch}, Commit: req.Commit}
		if r.Version() >= endTxnVersion2From {
			end.Version = txn.Version2
		}
		var err error
		if result, err = h.Transactions.EndTransaction(ctx, end); err != nil {
			return Reply{CloseConnection: true}
		}
	}
	if result.Code == kafka.ErrTransactionAbortable && r.Version() < endTxnAbortableFrom {
		result.Code = kafka.ErrInvalidTxnState
	}
	resp.ErrorCode = int16(oldFenced(result.Code, r.Version(), transactionFencedFrom))
	resp.ProducerID, resp.ProducerEpoch = result.Producer.ID, result.Producer.Epoch
	return Respond(resp)
}
