// Package producer is kafka-console-producer: every line of standard input becomes a record.
// The command table in internal/tools calls Run. One goroutine reads standard input, because a
// read cannot be interrupted; it ends with the input or with the process. Everything else
// happens on the caller's goroutine.
package producer
