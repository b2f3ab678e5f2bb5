package handler

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/quota"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/wire"
)

// Request is one decoded request. Record bytes in Body alias the connection's request buffer
// (strings are copies): they are valid until the response is encoded, or, where there is none,
// until Handle has returned. Whoever keeps them longer copies them.
type Request struct {
	Conn   *security.Connection
	Header wire.RequestHeader
	// Body is the request in Header.APIVersion; its type follows from the API key.
	Body kmsg.Request
	// SizeBytes is the size of the whole frame.
	SizeBytes int
	// ReceivedAt is when the last byte of the frame had arrived.
	ReceivedAt time.Time
	// Stopwatch knows how long the request has waited; may be nil.
	Stopwatch *env.Stopwatch
	// Changes is the client's quota of changes of topics, nil where it has none or changes none.
	Changes *quota.Changes
}

// BusyTime is how long the request has been worked on until now.
func (r *Request) BusyTime(now time.Time) time.Duration {
	return now.Sub(r.ReceivedAt) - r.Stopwatch.Waited()
}

// Version returns the request's API version.
func (r *Request) Version() int16 { return r.Header.APIVersion }

// ClientID returns the client id, "" where the client sent none.
func (r *Request) ClientID() string {
	if r.Header.ClientID == nil {
		return ""
	}
	return *r.Header.ClientID
}

// Reply is what a handler answers: exactly one of Body, Wait and NoResponse is set, except that
// CloseConnection alone drops the connection without an answer.
type Reply struct {
	Body wire.ResponseBody
	// Wait is the completing phase of a Produce: it runs on the connection's writer when all
	// earlier responses are written, and later requests are handled meanwhile. It returns soon
	// after ctx ends; nil drops the connection.
	Wait func(ctx context.Context) wire.ResponseBody
	// NoResponse says that the client expects none (Produce with acks=0).
	NoResponse bool
	// Throttle is how long the handler wants the client to be held back; the quotas may want more.
	Throttle time.Duration
	// Accounted says that the handler has asked the quotas itself and Throttle is their answer.
	Accounted bool
	// CloseConnection closes the connection after the answer, if there is one.
	CloseConnection bool
}

// Respond answers with a kmsg response. The server encodes it in the request's version.
func Respond(response kmsg.Response) Reply { return Reply{Body: wire.Message(response)} }

// Handler answers the requests of one API key. It is called from many goroutines, one per
// connection.
type Handler interface {
	Handle(ctx context.Context, r *Request) Reply
}
