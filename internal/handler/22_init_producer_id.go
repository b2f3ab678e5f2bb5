package handler

import (
	"context"
	"log/slog"
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/security"
)

// InitProducerID gives idempotent producers their ids (API key 22).
type InitProducerID struct {
	Authorizer security.Authorizer
	IDs        *ProducerIDs
}

// Handle answers with a fresh id in epoch 0. Transactional ids are refused with
// UNSUPPORTED_VERSION: clients end with it at once and say that the broker lacks the feature,
// where a retriable code would have them ask until their time is over.
func (h *InitProducerID) Handle(ctx context.Context, r *Request) Reply {
	req := r.Body.(*kmsg.InitProducerIDRequest)
	response := kmsg.NewPtrInitProducerIDResponse()
	response.ProducerID, response.ProducerEpoch = kafka.NoProducerID, kafka.NoProducerEpoch
	id, err := h.handle(ctx, r, req)
	if err != nil {
		response.ErrorCode = int16(kafka.CodeOf(err))
	} else {
		response.ProducerID, response.ProducerEpoch = id, 0
	}
	return Respond(response)
}

func (h *InitProducerID) handle(ctx context.Context, r *Request, req *kmsg.InitProducerIDRequest) (int64, error) {
	if req.TransactionalID != nil {
		if !security.Allowed(h.Authorizer, r.Conn, security.OperationWrite, security.TransactionalID(*req.TransactionalID)) {
			return 0, kafka.ErrTransactionalIDAuthorizationFailed
		}
		return 0, kafka.ErrUnsupportedVersion
	}
	if !security.Allowed(h.Authorizer, r.Conn, security.OperationIdempotentWrite, security.Cluster) {
		return 0, kafka.ErrClusterAuthorizationFailed
	}
	if (req.ProducerID == kafka.NoProducerID) != (req.ProducerEpoch == kafka.NoProducerEpoch) {
		return 0, kafka.ErrInvalidRequest
	}
	return h.IDs.Next(ctx)
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

// Next returns an id that was never returned before. Without the controller the error is
// COORDINATOR_LOAD_IN_PROGRESS, upon which producers try again.
func (p *ProducerIDs) Next(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, defaultForwardWait)
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
