// Package replica hosts the partitions of this broker: it applies the metadata to them, finds
// them for handlers and the coordinator, reads several of them for a fetch, and lets requests
// wait for what happens to them.
//
// The metadata loader calls Apply; handlers call Lookup, Fetch and AwaitCommit on their
// connections' goroutines; the coordinator's runtime uses Manager as its log. What it does not lead it
// has followed: plan says what to do about a change of the metadata, follower fetches, isr takes what leaders
// propose to the controller. The package itself starts no goroutine. Locks: Manager.applying orders changes of the metadata, Manager.mu
// guards the table of replicas only and is never held during I/O.
package replica
