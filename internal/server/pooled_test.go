package server

import (
	"bytes"
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/handler"
	"github.com/moldau/moldau/internal/wire"
)

// TestBytesOfARequestStay: a request that has byte fields lies in its buffer, which no other connection may get before it is answered.
func TestBytesOfARequestStay(t *testing.T) {
	t.Parallel()
	sent := bytes.Repeat([]byte("metrics "), 100)
	overwritten := make(chan bool, 1)
	s := startServer(t, Limits{}, map[int16]handlerFunc{wire.KeyPushTelemetry: func(ctx context.Context, r *handler.Request) handler.Reply {
		for range 4 { // requests of others, on this processor
			other := *takeBuffer(1 << bufferClass(r.SizeBytes))
			copy(other[:cap(other)], bytes.Repeat([]byte{'x'}, cap(other)))
		}
		overwritten <- !bytes.Equal(r.Body.(*kmsg.PushTelemetryRequest).Metrics, sent)
		return respondEmpty(ctx, r)
	}})
	c := s.dial()
	req := kmsg.NewPtrPushTelemetryRequest()
	req.Metrics = sent
	c.send(frameOf(req, 1))
	c.receive()
	if <-overwritten {
		t.Error("the metrics that a client pushes are overwritten by another request while they are read")
	}
}
