// Package group is the group coordinator's deterministic core: classic consumer groups and
// committed offsets of one partition of __consumer_offsets, in Kafka's protocol and record
// formats.
//
// A Shard is owned by one goroutine at a time (package coordinator sees to that); it has no
// locks, clock or goroutines. Every method takes the request, the caller's token and the time,
// and returns shard.Effects. JoinGroup and SyncGroup park: their response comes out of a later
// step. Time-outs are deadlines inside the shard (NextDeadlineMs, Tick).
//
// The state of a shard that the log does not hold (who waits, who is pending, heartbeat
// deadlines, a rebalance under way) is lost with its coordinator, as in Kafka: members find out
// by their next request and join again.
package group
