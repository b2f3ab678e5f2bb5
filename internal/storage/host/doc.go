// Package host drives the maintenance of a storage.Manager: one flusher per log dir, and one
// goroutine each for checkpoints and for retention. broker starts and stops it; docs name the
// goroutines storage-flush, storage-checkpoint and storage-retention.
package host
