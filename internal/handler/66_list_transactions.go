package handler

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/txn"
)

// ListTransactions lists the transactional ids that this broker coordinates (API key 66).
type ListTransactions struct {
	Transactions *coordinator.Transactions
	Authorizer   security.Authorizer
}

// Handle lists what the filters let through and the client may see.
func (h *ListTransactions) Handle(ctx context.Context, r *Request) Reply {
	req, resp := r.Body.(*kmsg.ListTransactionsRequest), kmsg.NewPtrListTransactionsResponse()
	filter, unknown, err := txn.ParseFilter(req)
	if err != nil {
		resp.ErrorCode = int16(kafka.CodeOf(err))
		return Respond(resp)
	}
	listed, code, err := h.Transactions.List(ctx, filter)
	if err != nil {
		return Reply{CloseConnection: true}
	}
	resp.ErrorCode, resp.UnknownStateFilters = int16(code), unknown
	resp.TransactionStates = slices.DeleteFunc(listed, func(t kmsg.ListTransactionsResponseTransactionState) bool {
		return !security.Allowed(h.Authorizer, r.Conn, security.OperationDescribe, security.TransactionalID(t.TransactionalID))
	})
	return Respond(resp)
}
