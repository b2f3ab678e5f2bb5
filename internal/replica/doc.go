// Package replica hosts the partitions of this broker: it applies the metadata to them, finds
// them for handlers and the coordinator, reads several of them for a fetch, and lets requests
// wait for what happens to them.
//
// The metadata loader calls Apply; handlers call Lookup, Fetch and AwaitCommit on their
// connections' goroutines; the coordinator's runtime uses Manager as its log. The package
// starts no goroutine. Locks: Manager.applying orders changes of the metadata, Manager.mu
// guards the table of replicas only and is never held during I/O.
package replica
