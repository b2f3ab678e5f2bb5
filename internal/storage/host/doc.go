// Package host drives the maintenance of a storage.Manager: per log dir one flusher that
// acknowledgements wait for and one that moves recovery points in the background, one goroutine each
// for checkpoints and for retention, and the threads of compaction. broker starts and stops it; docs
// name the goroutines storage-commit, storage-sync, storage-flush, storage-checkpoint,
// storage-retention and storage-cleaner.
package host
