// Package configs is kafka-configs: show and change the configs of topics and brokers, and the
// quotas of users, clients and addresses. The
// command table in internal/tools calls Run; nothing here starts a goroutine. Entities that
// need credentials or telemetry are answered with a clear refusal.
package configs
