// Package telemetry receives the metrics that clients push (KIP-714) and shows them as series of the
// broker's own metrics, labelled with the client.
//
// A Manager is shared by the handlers of GetTelemetrySubscriptions and PushTelemetry, the loader's
// goroutine, which brings new subscriptions, and whoever reads the metrics; its mutex guards all.
// Nothing here has a goroutine or a clock: time is an argument, and what is silent for too long
// is forgotten when the metrics are read or room is needed.
package telemetry
