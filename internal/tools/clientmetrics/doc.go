// Package clientmetrics is kafka-client-metrics: it changes and shows which clients push which of their
// metrics to the brokers (KIP-714). The command table in internal/tools calls Run; nothing here starts a goroutine.
package clientmetrics
