package handler

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator"
	"github.com/moldau/moldau/internal/group"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/txn"
)

// TxnOffsetCommit stores a group's offsets within a transaction (API key 28).
type TxnOffsetCommit struct {
	Groups     *coordinator.Groups
	Enlister   *Enlister
	Authorizer security.Authorizer
	Metadata   func() *metadata.Image
}

// Versions of TxnOffsetCommit from which something is different.
const (
	txnOffsetCommitLoadingFrom   = 2
	txnOffsetCommitAbortableFrom = 4
	txnOffsetCommitVersion2From  = 5
)

// Handle checks ids, topics and partitions, brings the group's partition into the transaction and
// has the group's coordinator store the offsets.
func (h *TxnOffsetCommit) Handle(ctx context.Context, r *Request) Reply {
	req := r.Body.(*kmsg.TxnOffsetCommitRequest)
	switch {
	case !security.Allowed(h.Authorizer, r.Conn, security.OperationWrite, security.TransactionalID(req.TransactionalID)):
		return Respond(group.TransactionalCommitError(req, kafka.ErrTransactionalIDAuthorizationFailed))
	case !security.Allowed(h.Authorizer, r.Conn, security.OperationRead, security.Group(req.Group)):
		return Respond(group.TransactionalCommitError(req, kafka.ErrGroupAuthorizationFailed))
	}
	resp := group.TransactionalCommitError(req, kafka.ErrNone)
	accepted, ids, places := h.check(r, req, resp)
	if len(places) > 0 {
		committed, err := h.commit(ctx, r, accepted, ids)
		if err != nil {
			return Reply{CloseConnection: true}
		}
		i := 0
		for _, topic := range committed.Topics {
			for _, p := range topic.Partitions {
				resp.Topics[places[i].topic].Partitions[places[i].partition].ErrorCode = p.ErrorCode
				i++
			}
		}
	}
	// A topic without partitions is not answered, as in Kafka.
	resp.Topics = slices.DeleteFunc(resp.Topics, func(t kmsg.TxnOffsetCommitResponseTopic) bool { return len(t.Partitions) == 0 })
	if r.Version() < txnOffsetCommitLoadingFrom {
		for i := range resp.Topics {
			for j := range resp.Topics[i].Partitions {
				if p := &resp.Topics[i].Partitions[j]; kafka.ErrorCode(p.ErrorCode) == kafka.ErrCoordinatorLoadInProgress {
					p.ErrorCode = int16(kafka.ErrCoordinatorNotAvailable)
				}
			}
		}
	}
	return Respond(resp)
}

func (h *TxnOffsetCommit) commit(ctx context.Context, r *Request, req *kmsg.TxnOffsetCommitRequest, ids []kafka.UUID) (*kmsg.TxnOffsetCommitResponse, error) {
	tp, ok := h.Groups.OffsetsPartition(req.Group)
	if !ok {
		return group.TransactionalCommitError(req, kafka.ErrNotCoordinator), nil
	}
	switch {
	case req.Group == "":
		return group.TransactionalCommitError(req, kafka.ErrInvalidGroupID), nil
	case req.TransactionalID == "":
		return group.TransactionalCommitError(req, kafka.ErrInvalidRequest), nil
	}
	ability := abilityOf(r.Version(), txnOffsetCommitAbortableFrom, txnOffsetCommitVersion2From)
	enlisted, err := h.Enlister.enlist(ctx, req.TransactionalID, txn.Producer{ID: req.ProducerID, Epoch: req.ProducerEpoch},
		[]firstWrite{{tp: tp, sequence: kafka.NoSequence}}, ability)
	if err != nil {
		return nil, err
	}
	if err := enlisted[0].err; err != nil {
		return group.TransactionalCommitError(req, offsetsRefusal(kafka.CodeOf(err))), nil
	}
	return h.Groups.CommitTransactionalOffsets(ctx, req, ids, uint64(enlisted[0].guard))
}

// offsetsRefusal puts a refusal for partitions into terms of a group's coordinator.
func offsetsRefusal(code kafka.ErrorCode) kafka.ErrorCode {
	switch code {
	case kafka.ErrNotEnoughReplicas:
		return kafka.ErrCoordinatorLoadInProgress // asked again without a search for the coordinator
	case kafka.ErrUnknownTopicOrPartition:
		return kafka.ErrCoordinatorNotAvailable
	case kafka.ErrNotLeaderOrFollower, kafka.ErrKafkaStorageError:
		return kafka.ErrNotCoordinator
	}
	return code
}

// check writes the errors of what must not be committed into resp, and returns the rest with the
// ids of its topics.
func (h *TxnOffsetCommit) check(r *Request, req *kmsg.TxnOffsetCommitRequest, resp *kmsg.TxnOffsetCommitResponse) (*kmsg.TxnOffsetCommitRequest, []kafka.UUID, []commitPlace) {
	access := topicAccess{h.Metadata(), h.Authorizer, r.Conn, security.OperationRead}
	accepted := *req
	accepted.Topics = nil
	var ids []kafka.UUID
	var places []commitPlace
	for i := range req.Topics {
		given := &req.Topics[i]
		topic, code := access.byName(given.Topic)
		kept := kmsg.TxnOffsetCommitRequestTopic{Topic: given.Topic}
		for j := range given.Partitions {
			partitionCode := code
			if code == kafka.ErrNone && topic.Partition(given.Partitions[j].Partition) == nil {
				partitionCode = kafka.ErrUnknownTopicOrPartition
			}
			if partitionCode != kafka.ErrNone {
				resp.Topics[i].Partitions[j].ErrorCode = int16(partitionCode)
				continue
			}
			kept.Partitions = append(kept.Partitions, given.Partitions[j])
			places = append(places, commitPlace{i, j})
		}
		if len(kept.Partitions) > 0 {
			accepted.Topics, ids = append(accepted.Topics, kept), append(ids, topic.ID)
		}
	}
	return &accepted, ids, places
}
