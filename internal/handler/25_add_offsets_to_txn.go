package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/txn"
)

// AddOffsetsToTxn takes a group's offsets into a transaction, for producers of version 1 (API key 25).
type AddOffsetsToTxn struct {
	Transactions *coordinator.Transactions
	Groups       *coordinator.Groups
	Authorizer   security.Authorizer
}

// Handle adds the partition of __consumer_offsets that owns the group.
func (h *AddOffsetsToTxn) Handle(ctx context.Context, r *Request) Reply {
	req, resp := r.Body.(*kmsg.AddOffsetsToTxnRequest), kmsg.NewPtrAddOffsetsToTxnResponse()
	code, err := h.add(ctx, r, req)
	if err != nil {
		return Reply{CloseConnection: true}
	}
	resp.ErrorCode = int16(oldFenced(code, r.Version(), transactionFencedFrom))
	return Respond(resp)
}

func (h *AddOffsetsToTxn) add(ctx context.Context, r *Request, req *kmsg.AddOffsetsToTxnRequest) (kafka.ErrorCode, error) {
	switch {
	case !security.Allowed(h.Authorizer, r.Conn, security.OperationWrite, security.TransactionalID(req.TransactionalID)):
		return kafka.ErrTransactionalIDAuthorizationFailed, nil
	case !security.Allowed(h.Authorizer, r.Conn, security.OperationRead, security.Group(req.Group)):
		return kafka.ErrGroupAuthorizationFailed, nil
	case req.TransactionalID == "":
		return kafka.ErrInvalidRequest, nil
	}
	tp, ok := h.Groups.OffsetsPartition(req.Group)
	if !ok {
		return kafka.ErrCoordinatorNotAvailable, nil // until somebody looks for the group's coordinator
	}
	return h.Transactions.AddPartitions(ctx, txn.AddRequest{
		TransactionalID: req.TransactionalID, Producer: txn.Producer{ID: req.ProducerID, Epoch: req.ProducerEpoch}, Partitions: []kafka.TopicPartition{tp},
	})
}
