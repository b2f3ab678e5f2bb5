package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/telemetry"
)

// telemetryCodecs are the codecs in which clients may push, the best first.
var telemetryCodecs = []int8{4, 3, 1, 2}

// GetTelemetrySubscriptions tells a client which of its metrics to push, and how often (API key 71,
// KIP-714).
type GetTelemetrySubscriptions struct {
	Telemetry *telemetry.Manager
	Clock     env.Clock
	Random    env.Random
}

// Handle gives a client that has no instance id one. As in Kafka there is nothing to authorize.
func (h *GetTelemetrySubscriptions) Handle(_ context.Context, r *Request) Reply {
	req, resp := r.Body.(*kmsg.GetTelemetrySubscriptionsRequest), kmsg.NewPtrGetTelemetrySubscriptionsResponse()
	id := kafka.UUID(req.ClientInstanceID)
	if id.IsZero() {
		id = kafka.NewUUID(h.Random)
	}
	subscription, err := h.Telemetry.Subscribe(h.Clock.Now().UnixMilli(), telemetry.ClientOf(r.Conn), id)
	if err != nil {
		resp.ErrorCode = int16(kafka.CodeOf(err))
		return Respond(resp)
	}
	resp.ClientInstanceID, resp.SubscriptionID, resp.RequestedMetrics = id, subscription.ID, subscription.Metrics
	resp.PushIntervalMillis, resp.TelemetryMaxBytes = subscription.IntervalMs, subscription.MaxBytes
	resp.AcceptedCompressionTypes, resp.DeltaTemporality = telemetryCodecs, true
	return Respond(resp)
}
