package handler

import (
	"context"

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
	codes, err := h.add(ctx, r, &t)
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
	for i := range req.Transactions {
		t := &req.Transactions[i]
		codes, err := h.add(ctx, r, t)
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

// add returns a code for every partition, in the order of the request.
func (h *AddPartitionsToTxn) add(ctx context.Context, r *Request, t *kmsg.AddPartitionsToTxnRequestTransaction) ([]kafka.ErrorCode, error) {
	request := txn.AddRequest{TransactionalID: t.TransactionalID, Producer: txn.Producer{ID: t.ProducerID, Epoch: t.ProducerEpoch}}
	isClient := r.Version() < addPartitionsBatchedFrom
	if !isClient {
		request.Version = txn.Version2
	}
	var codes []kafka.ErrorCode
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
	all := kafka.ErrNone
	switch {
	case isClient && !security.Allowed(h.Authorizer, r.Conn, security.OperationWrite, security.TransactionalID(t.TransactionalID)):
		all = kafka.ErrTransactionalIDAuthorizationFailed
	case refused:
		for i, code := range codes {
			if code == kafka.ErrNone {
				codes[i] = kafka.ErrOperationNotAttempted
			}
		}
		return codes, nil
	case t.TransactionalID == "":
		all = kafka.ErrInvalidRequest
	case t.VerifyOnly:
		return h.Transactions.VerifyPartitions(ctx, request)
	default:
		code, err := h.Transactions.AddPartitions(ctx, request)
		if err != nil {
			return nil, err
		}
		all = oldFenced(code, r.Version(), transactionFencedFrom)
	}
	for i := range codes {
		codes[i] = all
	}
	return codes, nil
}
