package handler

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/security"
)

// maxForwardWait bounds how long a request waits for the controller, whatever time the client
// gives it.
const maxForwardWait = 10 * time.Minute

// defaultForwardWait is for requests that carry no time-out.
const defaultForwardWait = 30 * time.Second

// forward sends req to the active controller on behalf of r's client and waits for at most wait.
// The error carries the code to answer for everything that was forwarded.
func forward(ctx context.Context, controller peer.ControllerChannel, r *Request, wait time.Duration, req kmsg.Request) (kmsg.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, min(wait, maxForwardWait))
	defer cancel()
	origin := peer.Origin{Principal: r.Conn.Principal.String(), ClientID: r.ClientID(), Host: r.Conn.Host}
	if r.Changes != nil {
		origin.Permit = r.Changes.Permit
	}
	response, err := controller.Send(ctx, origin, req)
	switch {
	case err == nil:
		// Another node's controller has charged the quota of changes, and says how long the client must wait.
		if t, throttles := response.(kmsg.ThrottleResponse); throttles && r.Changes != nil {
			throttleMs, _ := t.Throttle()
			r.Changes.HoldBack(milliseconds(throttleMs))
		}
		return response, nil
	case errors.Is(err, context.DeadlineExceeded):
		return nil, kafka.Errorf(kafka.ErrRequestTimedOut, "the controller did not finish within the request's time-out; the change may still take effect")
	case errors.Is(err, context.Canceled):
		return nil, kafka.Errorf(kafka.ErrNotController, "the broker is stopping; ask another one")
	default:
		return nil, err
	}
}

// forwardChange forwards r to the active controller if its client may alter the cluster.
func forwardChange(ctx context.Context, authorizer security.Authorizer, controller peer.ControllerChannel, r *Request, wait time.Duration) (kmsg.Response, error) {
	if !security.Allowed(authorizer, r.Conn, security.OperationAlter, security.Cluster) {
		return nil, kafka.Errorf(kafka.ErrClusterAuthorizationFailed, "not authorized to alter the cluster")
	}
	return forward(ctx, controller, r, wait, r.Body)
}

func milliseconds(timeoutMs int32) time.Duration { return time.Duration(timeoutMs) * time.Millisecond }

// noMessage is the message of those successes that Kafka answers with an empty one instead of null.
var noMessage = ""

// errorFields returns what a response says of err: its code, and its sentence or else the
// code's name.
func errorFields(err error) (code int16, message *string) {
	if err == nil {
		return 0, nil
	}
	if message = kafka.MessageOf(err); message == nil {
		message = kmsg.StringPtr(kafka.CodeOf(err).Error())
	}
	return int16(kafka.CodeOf(err)), message
}
