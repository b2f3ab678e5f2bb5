// Package configs is kafka-configs: show and change the configs of topics and brokers. The
// command table in internal/tools calls Run; nothing here starts a goroutine. Entities that
// need quotas, credentials or telemetry are answered with a clear refusal.
package configs
