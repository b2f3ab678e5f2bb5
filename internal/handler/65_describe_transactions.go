package handler

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
)

// DescribeTransactions shows the state of transactional ids (API key 65).
type DescribeTransactions struct {
	Transactions *coordinator.Transactions
	Authorizer   security.Authorizer
}

// Handle answers every id; topics that the client may not see are left out.
func (h *DescribeTransactions) Handle(ctx context.Context, r *Request) Reply {
	req, resp := r.Body.(*kmsg.DescribeTransactionsRequest), kmsg.NewPtrDescribeTransactionsResponse()
	for _, id := range req.TransactionalIDs {
		d := kmsg.NewDescribeTransactionsResponseTransactionState()
		d.TransactionalID = id
		switch {
		case !security.Allowed(h.Authorizer, r.Conn, security.OperationDescribe, security.TransactionalID(id)):
			d.ErrorCode = int16(kafka.ErrTransactionalIDAuthorizationFailed)
		case id == "":
			d.ErrorCode = int16(kafka.ErrInvalidRequest)
		default:
			var err error
			if d, err = h.Transactions.Describe(ctx, id); err != nil {
				return Reply{CloseConnection: true}
			}
		}
		d.Topics = slices.DeleteFunc(d.Topics, func(t kmsg.DescribeTransactionsResponseTransactionStateTopic) bool {
			return !security.Allowed(h.Authorizer, r.Conn, security.OperationDescribe, security.Topic(t.Topic))
		})
		resp.TransactionStates = append(resp.TransactionStates, d)
	}
	return Respond(resp)
}
