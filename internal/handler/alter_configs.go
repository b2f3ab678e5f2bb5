package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/security"
)

// alterations are the resources that one AlterConfigs or IncrementalAlterConfigs names.
type alterations struct {
	errs      []error // what became of each
	forwarded []int   // those that are the controller's to decide
}

// checkAlterations finds what must not go on to the controller: resources named twice, of types
// that nobody knows, of other brokers, and those that the client may not alter; of the broker's own configs what
// checkOwn refuses. What is left of the broker's loggers, decideLogger decides.
func checkAlterations(authorizer security.Authorizer, r *Request, nodeID int32, resources []kafka.ConfigResource, checkOwn, decideLogger func(i int) error) *alterations {
	count := map[kafka.ConfigResource]int{}
	for _, resource := range resources {
		count[resource]++
	}
	a := &alterations{errs: make([]error, len(resources))}
	for i, resource := range resources {
		isLogger := resource.Type == kafka.ConfigResourceBrokerLogger
		_, known := configResources[resource.Type]
		switch {
		case count[resource] > 1:
			a.errs[i] = kafka.Errorf(kafka.ErrInvalidRequest, "each resource must appear at most once")
		case !known:
			a.errs[i] = kafka.Errorf(kafka.ErrInvalidRequest, "unknown resource type %d", resource.Type)
		default:
			a.errs[i] = authorizeConfigs(authorizer, r, security.OperationAlterConfigs, resource)
		}
		// Controllers take the configs of every broker (KIP-919), brokers only their own.
		isOfBroker := resource.Type == kafka.ConfigResourceBroker && resource.Name != "" && !r.Conn.Controller
		if a.errs[i] == nil && (isOfBroker || isLogger) {
			a.errs[i] = checkNodeName(resource.Name, nodeID)
		}
		if a.errs[i] == nil && isOfBroker {
			a.errs[i] = checkOwn(i)
		}
		switch {
		case a.errs[i] != nil:
		case isLogger:
			a.errs[i] = decideLogger(i)
		default:
			a.forwarded = append(a.forwarded, i)
		}
	}
	return a
}

// forward sends req, which has the forwarded resources, to the controller and takes over what
// it answers; answer returns the n-th answer of a response.
func (a *alterations) forward(ctx context.Context, controller peer.ControllerChannel, r *Request, req kmsg.Request, answer func(response kmsg.Response, n int) (code int16, message *string)) {
	if len(a.forwarded) == 0 {
		return
	}
	response, err := forward(ctx, controller, r, defaultForwardWait, req)
	for n, place := range a.forwarded {
		if a.errs[place] = err; err == nil {
			a.errs[place] = answeredError(answer(response, n))
		}
	}
}

// answeredError is the error that the controller's answer states, or nil.
func answeredError(code int16, message *string) error {
	switch {
	case code == 0:
		return nil
	case message == nil:
		return kafka.ErrorCode(code)
	default:
		return &kafka.Error{Code: kafka.ErrorCode(code), Message: *message}
	}
}
