package handler

import (
	"context"
	"log/slog"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/coordinator"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/txn"
)

// InitProducerID gives idempotent producers their ids (API key 22).
type InitProducerID struct {
	Authorizer security.Authorizer
	IDs        *ProducerIDs
	// Transactions owns the ids of producers with a transactional id.
	Transactions *coordinator.Transactions
}

// producerFencedFrom is the version of InitProducerId from which clients know PRODUCER_FENCED.
const producerFencedFrom = 4

// Handle answers with a fresh id in epoch 0, or for a transactional id with what its coordinator
// says.
func (h *InitProducerID) Handle(ctx context.Context, r *Request) Reply {
	req := r.Body.(*kmsg.InitProducerIDRequest)
	result, err := h.handle(ctx, r, req)
	if ctx.Err() != nil {
		return Reply{CloseConnection: true}
	}
	if err != nil {
		result = txn.Result{Code: kafka.CodeOf(err), Producer: txn.NoProducer}
	}
	response := kmsg.NewPtrInitProducerIDResponse()
	response.ErrorCode = int16(oldFenced(result.Code, r.Version(), producerFencedFrom))
	response.ProducerID, response.ProducerEpoch = result.Producer.ID, result.Producer.Epoch
	return Respond(response)
}

func (h *InitProducerID) handle(ctx context.Context, r *Request, req *kmsg.InitProducerIDRequest) (txn.Result, error) {
	id := req.TransactionalID
	switch {
	case id != nil && !security.Allowed(h.Authorizer, r.Conn, security.OperationWrite, security.TransactionalID(*id)):
		return txn.Result{}, kafka.ErrTransactionalIDAuthorizationFailed
	case id == nil && !security.Allowed(h.Authorizer, r.Conn, security.OperationIdempotentWrite, security.Cluster):
		return txn.Result{}, kafka.ErrClusterAuthorizationFailed
	case (req.ProducerID == kafka.NoProducerID) != (req.ProducerEpoch == kafka.NoProducerEpoch):
		return txn.Result{}, kafka.ErrInvalidRequest
	case id == nil:
		fresh, err := h.IDs.Next(ctx)
		return txn.Result{Producer: txn.Producer{ID: fresh, Epoch: 0}}, err
	case *id == "":
		return txn.Result{}, kafka.ErrInvalidRequest
	}
	init := txn.InitRequest{TransactionalID: *id, TimeoutMs: req.TransactionTimeoutMillis}
	if req.ProducerID != kafka.NoProducerID {
		init.Expected = &txn.Producer{ID: req.ProducerID, Epoch: req.ProducerEpoch}
	}
	return h.Transactions.InitProducerID(ctx, init)
}

// ProducerIDs hands out producer ids from blocks that the controller allocates, so that no id
// is given out twice in the cluster, not even across restarts.
type ProducerIDs struct {
	nodeID      int32
	brokerEpoch func() int64
	controller  peer.ControllerChannel

	turn chan struct{} // holds one token; who has it may use the fields below
	next int64
	end  int64
}

// NewProducerIDs returns an allocator without a block. brokerEpoch is this broker's
// registration.
func NewProducerIDs(nodeID int32, brokerEpoch func() int64, controller peer.ControllerChannel) *ProducerIDs {
	p := &ProducerIDs{nodeID: nodeID, brokerEpoch: brokerEpoch, controller: controller, turn: make(chan struct{}, 1)}
	p.turn <- struct{}{}
	return p
}

// producerIDWait is longer than the controller's leadership takes to move. Producers ask any broker: one that is
// alone must let them, and what comes after it on their connection, go on to another.
const producerIDWait = 2 * time.Second

// Next returns an id that was never returned before. Without the controller the error is
// COORDINATOR_LOAD_IN_PROGRESS, upon which producers try again.
func (p *ProducerIDs) Next(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, producerIDWait)
	defer cancel()
	select {
	case <-p.turn:
	case <-ctx.Done():
		return 0, errNoProducerIDs(ctx.Err())
	}
	defer func() { p.turn <- struct{}{} }()
	if p.next == p.end {
		if err := p.allocate(ctx); err != nil {
			slog.Warn("cannot get producer ids from the controller; producers try again", "error", err)
			return 0, errNoProducerIDs(err)
		}
	}
	id := p.next
	p.next++
	return id, nil
}

func errNoProducerIDs(cause error) error {
	return &kafka.Error{Code: kafka.ErrCoordinatorLoadInProgress, Message: "the broker has no producer ids at the moment", Cause: cause}
}

func (p *ProducerIDs) allocate(ctx context.Context) error {
	req := kmsg.NewPtrAllocateProducerIDsRequest()
	req.BrokerID, req.BrokerEpoch = p.nodeID, p.brokerEpoch()
	answer, err := p.controller.Send(ctx, peer.Origin{}, req)
	if err != nil {
		return err
	}
	response, ok := answer.(*kmsg.AllocateProducerIDsResponse)
	switch {
	case !ok:
		return kafka.Errorf(kafka.ErrUnknownServerError, "BUG: the controller answered AllocateProducerIds with a %T", answer)
	case response.ErrorCode != 0:
		return kafka.ErrorCode(response.ErrorCode)
	case response.ProducerIDStart < p.end || response.ProducerIDLen <= 0 || response.ProducerIDStart > math.MaxInt64-int64(response.ProducerIDLen):
		return kafka.Errorf(kafka.ErrUnknownServerError, "BUG: the controller allocated %d producer ids from %d after %d", response.ProducerIDLen, response.ProducerIDStart, p.end)
	}
	p.next, p.end = response.ProducerIDStart, response.ProducerIDStart+int64(response.ProducerIDLen)
	return nil
}
