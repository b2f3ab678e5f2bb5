// Package storage keeps the partitions' data: a Log per replica, made of segments, and the
// Manager that opens, recovers, maintains and deletes the logs of the broker's log dirs. The
// format on disk is Apache Kafka's.
//
// partition calls a Log's Append, Read and offset lookups; replica calls the Manager; the
// maintenance methods are driven by storage/host, which owns the goroutines. Nothing here
// starts one, reads a clock or waits for anything but the disk.
//
// Locks: log.mu guards append, roll, truncate and retention; under it only the page cache is
// written. Reads take no lock: the offsets are atomics and the list of segments is immutable
// and swapped atomically. A read that a truncation or deletion overtakes sees that the list
// was swapped and starts again. fsync runs under flushMu, never under mu; the order is
// flushMu, then mu. Manager.mu and dir.mu guard sets of logs only and are taken last.
package storage
