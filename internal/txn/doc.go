// Package txn is the transaction coordinator's part that decides: the state of one partition of
// __transaction_state as a deterministic shard, and the queue of markers that are on their way
// (Sender). Records are in Kafka's format.
//
// The runtime in package coordinator owns each Shard and calls it from one goroutine at a time; a
// step changes the state at once and its responses leave when its records are committed. A
// transition that Kafka keeps as "pending" is therefore no state here: a transaction whose markers
// are being written is in PrepareCommit or PrepareAbort, and whoever asks for something else
// meanwhile is told CONCURRENT_TRANSACTIONS before its producer id and epoch are looked at
// (KAFKA-18464), since it may already use those that it gets with the end.
package txn
