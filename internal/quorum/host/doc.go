// Package host runs the metadata quorum's Voter: one goroutine ("quorum") owns it, groups
// concurrent proposals into one fsync, takes ticks and messages of other voters, and puts out what
// is committed, what is to be sent, and who leads. Beside it, so that none of it delays Raft:
//
//   - "quorum-deliver" hands committed batches to the metadata Loader (Options.Submit), which may be slow;
//   - "quorum-snapshot" writes snapshots;
//   - "quorum-pull", one pull at a time, asks another voter for what is committed: a node that does not
//     vote always does, a voter that has not heard of a leader for long does too;
//   - "quorum-fetch" fetches and checks a snapshot of another node.
//
// The composition gives the network as functions (SendRaft, Pull, FetchSnapshot) and calls
// HandleRaft, HandlePull, HandleSnapshot and PeerDead, on any goroutine.
//
// A lone voter needs none of that: it campaigns when it starts and has no ticks.
package host
