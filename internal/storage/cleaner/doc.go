// Package cleaner compacts the segments of a log: of every key only the newest record stays. It
// is a core: it reads segments and writes their replacements, and is told the time, the memory,
// the aborted transactions and the producers. Every batch read or written is announced to a
// Throttle, which may slow the work down or end it.
//
// storage calls it on the goroutine of its host and puts the result in place. Which records go
// is Apache Kafka's decision, rule by rule (LogCleaner): the newest record of a key stays, a
// tombstone until its delete horizon, a transaction's marker until its records are gone and its
// horizon has passed, a producer's last batch and the last batch of the round at least as an
// empty one, nothing of an aborted transaction, no record without a key. Offsets never change.
package cleaner
