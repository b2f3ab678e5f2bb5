// Package groups is kafka-consumer-groups: list, describe, reset and delete consumer groups.
// The command table in internal/tools calls Run; nothing here starts a goroutine. As in
// Kafka's tool, failures after the command line was accepted are printed on standard output
// and leave the exit code 0.
package groups
