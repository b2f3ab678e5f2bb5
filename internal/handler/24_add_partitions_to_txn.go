package handler

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/txn"
)

// AddPartitionsToTxn takes partitions into transactions (API key 24): for producers of version 1, and
// from version 4 on, several transactions at a time, for brokers.
type AddPartitionsToTxn struct {
	Transactions *coordinator.Transactions
	Authorizer   security.Authorizer
	Metadata     func() *metadata.Image
}

const (
	// addPartitionsBatchedFrom is the version from which only brokers send the request.
	addPartitionsBatchedFrom = 4
	// transactionFencedFrom is the version of the transactional requests, except InitProducerId,
	// from which clients know PRODUCER_FENCED.
	transactionFencedFrom = 2
)

// Handle answers every partition. If one of them cannot be added none is.
func (h *AddPartitionsToTxn) Handle(ctx context.Context, r *Request) Reply {
	req, resp := r.Body.(*kmsg.AddPartitionsToTxnRequest), kmsg.NewPtrAddPartitionsToTxnResponse()
	if r.Version() >= addPartitionsBatchedFrom {
		return h.batched(ctx, r, req, resp)
	}
	t := kmsg.AddPartitionsToTxnRequestTransaction{TransactionalID: req.TransactionalID, ProducerID: req.ProducerID, ProducerEpoch: req.ProducerEpoch}
	for _, topic := range req.Topics {
		t.Topics = append(t.Topics, kmsg.AddPartitionsToTxnRequestTransactionTopic{Topic: topic.Topic, Partitions: topic.Partitions})
	}
	codes, err := h.begin(r, &t).wait(ctx)
	if err != nil {
		return Reply{CloseConnection: true}
	}
	for _, topic := range req.Topics {
		answer := kmsg.AddPartitionsToTxnResponseTopic{Topic: topic.Topic}
		for _, p := range topic.Partitions {
			answer.Partitions = append(answer.Partitions, kmsg.AddPartitionsToTxnResponseTopicPartition{Partition: p, ErrorCode: int16(codes[0])})
			codes = codes[1:]
		}
		resp.Topics = append(resp.Topics, answer)
	}
	return Respond(resp)
}

func (h *AddPartitionsToTxn) batched(ctx context.Context, r *Request, req *kmsg.AddPartitionsToTxnRequest, resp *kmsg.AddPartitionsToTxnResponse) Reply {
	if !security.Allowed(h.Authorizer, r.Conn, security.OperationClusterAction, security.Cluster) {
		resp.ErrorCode = int16(kafka.ErrClusterAuthorizationFailed)
		return Respond(resp)
	}
	begun := make([]addition, len(req.Transactions))
	for i := range req.Transactions {
		begun[i] = h.begin(r, &req.Transactions[i])
	}
	for i := range req.Transactions {
		t := &req.Transactions[i]
		codes, err := begun[i].wait(ctx)
		if err != nil {
			return Reply{CloseConnection: true}
		}
		result := kmsg.AddPartitionsToTxnResponseTransaction{TransactionalID: t.TransactionalID}
		for _, topic := range t.Topics {
			answer := kmsg.AddPartitionsToTxnResponseTransactionTopic{Topic: topic.Topic}
			for _, p := range topic.Partitions {
				answer.Partitions = append(answer.Partitions, kmsg.AddPartitionsToTxnResponseTransactionTopicPartition{Partition: p, ErrorCode: int16(codes[0])})
				codes = codes[1:]
			}
			result.Topics = append(result.Topics, answer)
		}
		resp.Transactions = append(resp.Transactions, result)
	}
	return Respond(resp)
}

// addition is one transaction's partitions: refused already, or on their way to the coordinator.
type addition struct {
	codes   []kafka.ErrorCode // nil where the coordinator is asked
	pending coordinator.PendingPartitions
	version int16
}

// wait returns a code for every partition, in the order of the request.
func (a addition) wait(ctx context.Context) ([]kafka.ErrorCode, error) {
	if a.codes != nil {
		return a.codes, nil
	}
	codes, err := a.pending.Wait(ctx)
	for i := range codes {
		codes[i] = oldFenced(codes[i], a.version, transactionFencedFrom)
	}
	return codes, err
}

// begin checks the partitions of a transaction and asks its coordinator about them.
func (h *AddPartitionsToTxn) begin(r *Request, t *kmsg.AddPartitionsToTxnRequestTransaction) addition {
	request := txn.AddRequest{TransactionalID: t.TransactionalID, Producer: txn.Producer{ID: t.ProducerID, Epoch: t.ProducerEpoch}}
	isClient := r.Version() < addPartitionsBatchedFrom
	if !isClient {
		request.Version = txn.Version2
	}
	codes := []kafka.ErrorCode{}
	refused := false
	for _, topic := range t.Topics {
		known := h.Metadata().TopicByName(topic.Topic)
		allowed := !isClient || !kafka.IsInternalTopic(topic.Topic) && security.Allowed(h.Authorizer, r.Conn, security.OperationWrite, security.Topic(topic.Topic))
		for _, p := range topic.Partitions {
			code := kafka.ErrNone
			switch {
			case !allowed:
				code = kafka.ErrTopicAuthorizationFailed
			case known == nil || known.Partition(p) == nil:
				code = kafka.ErrUnknownTopicOrPartition
			}
			refused = refused || code != kafka.ErrNone
			codes = append(codes, code)
			request.Partitions = append(request.Partitions, kafka.TopicPartition{Topic: topic.Topic, Partition: p})
		}
	}
	switch {
	case isClient && !security.Allowed(h.Authorizer, r.Conn, security.OperationWrite, security.TransactionalID(t.TransactionalID)):
		return addition{codes: slices.Repeat([]kafka.ErrorCode{kafka.ErrTransactionalIDAuthorizationFailed}, len(codes))}
	case refused:
		for i, code := range codes {
			if code == kafka.ErrNone {
				codes[i] = kafka.ErrOperationNotAttempted
			}
		}
		return addition{codes: codes}
	case t.TransactionalID == "":
		return addition{codes: slices.Repeat([]kafka.ErrorCode{kafka.ErrInvalidRequest}, len(codes))}
	case t.VerifyOnly:
		return addition{pending: h.Transactions.BeginVerifyPartitions(request), version: r.Version()}
	}
	return addition{pending: h.Transactions.BeginAddPartitions(request), version: r.Version()}
}
