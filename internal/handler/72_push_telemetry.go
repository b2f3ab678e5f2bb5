package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/telemetry"
)

// PushTelemetry takes a client's metrics (API key 72, KIP-714).
type PushTelemetry struct {
	Telemetry *telemetry.Manager
	Clock     env.Clock
}

// Handle answers what became of the push. As in Kafka there is nothing to authorize.
func (h *PushTelemetry) Handle(_ context.Context, r *Request) Reply {
	req, resp := r.Body.(*kmsg.PushTelemetryRequest), kmsg.NewPtrPushTelemetryResponse()
	resp.ErrorCode = int16(kafka.CodeOf(h.Telemetry.Push(h.Clock.Now().UnixMilli(), telemetry.ClientOf(r.Conn), telemetry.Push{
		ID: req.ClientInstanceID, SubscriptionID: req.SubscriptionID, Terminating: req.Terminating, Compression: req.CompressionType, Metrics: req.Metrics,
	})))
	return Respond(resp)
}
