// Package follower is what fetches the records of partitions that other brokers lead: one Fetcher per
// source broker. It says which request is to be sent next, takes the answer, and lets the
// partitions append or truncate (internal/partition decides how). It remembers what the leader's fetch
// session has, so that a request names only what has changed (KIP-227).
//
// A Fetcher is a deterministic core with one owner: the goroutine of follower/host, or a test. What it is
// told of the metadata meanwhile, its host hands over between two requests.
package follower
