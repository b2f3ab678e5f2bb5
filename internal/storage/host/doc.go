// Package host drives the maintenance of a storage.Manager: one flusher per log dir, one goroutine
// each for checkpoints and for retention, and the threads of compaction. broker starts and stops
// it; docs name the goroutines storage-flush, storage-checkpoint, storage-retention and
// storage-cleaner.
package host
