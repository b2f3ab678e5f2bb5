package broker

import (
	"slices"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/telemetry"
)

// receiveTelemetry has this node take clients' metrics and show them with its own, where
// client.metrics.export.enable says so.
func (b *broker) receiveTelemetry() {
	if !b.config.ExportClientMetrics {
		return
	}
	b.telemetry = telemetry.New(telemetry.Options{MaxBytes: b.config.TelemetryMaxBytes, Metrics: b.metrics, NowMs: func() int64 { return b.clock.Now().UnixMilli() }})
	b.metrics.AddSource(b.telemetry.Series)
	b.loader.Register(b.publishSubscriptions)
}

// publishSubscriptions follows the client metrics subscriptions, on the loader's goroutine.
func (b *broker) publishSubscriptions(image *metadata.Image, delta *metadata.Delta) {
	ofClients := func(change metadata.ConfigChange) bool {
		return change.Resource.Type == kafka.ConfigResourceClientMetrics
	}
	if !slices.ContainsFunc(delta.ChangedConfigs(), ofClients) {
		return
	}
	all := map[string]map[string]string{}
	for resource := range image.ConfigResources() {
		if resource.Type == kafka.ConfigResourceClientMetrics {
			all[resource.Name] = image.Config(resource)
		}
	}
	b.telemetry.SetSubscriptions(all)
}
