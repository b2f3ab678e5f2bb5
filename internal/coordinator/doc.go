// Package coordinator hosts the shards of the group coordinator: one shard per partition of
// __consumer_offsets that this broker leads.
//
// Handlers call Groups, which routes a request to the shard that owns its group, waits for the
// answer and maps failures to error codes. The Runtime below it owns a fixed set of worker
// goroutines; a shard is run by one worker at a time, and a shard without requests or due
// deadlines occupies none. A worker takes what is queued for a shard, lets the shard handle it,
// appends the records of all of it as one batch, and releases the responses once the high
// watermark covers the append. While too few replicas are in sync the shard is kept and does only what writes nothing; an
// append that fails all the same drops the shard and loads it again from the log, after growing pauses if that goes on.
package coordinator
