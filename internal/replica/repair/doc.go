// Package repair mends what is damaged on disk with what other replicas have: a Mender is told of partitions in whose logs damage was
// met, asks the other replicas for the batches that were there, one request at a time, and has the log write them over the damage where
// they fit exactly. Nothing about the replica changes by it: it stays in sync, and leads if it does. Where nothing fits, as between replicas that were compacted at
// different times, the replica gives up: it leaves the in-sync replicas, hands over the leadership if it has it, cuts off what is damaged and fetches it again.
//
// It is a core with one owner, repair/host, which knows how to reach the other brokers.
package repair
