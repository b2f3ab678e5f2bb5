// Package host runs the metadata quorum's Voter: one goroutine ("quorum") owns it, groups
// concurrent proposals into one fsync, and hands committed batches out in order; a second
// ("quorum-snapshot") writes snapshots, so that a large image never delays a commit.
//
// Committed batches go to the metadata Loader (Options.OnCommitted) and nowhere else: the
// controller learns of its own proposals through their done functions.
package host
