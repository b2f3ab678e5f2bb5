// Package fetchsession remembers what a client fetches, so that it need not name all of its
// partitions in every request, nor get an answer about those where nothing happened (KIP-227).
//
// The Fetch handler begins every request with Cache.Begin and ends it with Context.Finish,
// which picks the partitions that must be in the response. Sessions live in shards, each with
// its own lock; a session has a lock too, taken after the shard's, because nothing keeps a
// client from using one session on two connections.
//
// A session of a follower, of which thousands of partitions are idle, looks at those only that a request names, that
// Changes has heard of, or whose last answer does not stand; what is left out stands as a partition.Standing.
package fetchsession
