// Package host runs the metadata loader: one goroutine that replays committed metadata
// records, publishes each new Image with its Delta to the subsystems, and then makes it the
// node's current one. The broker composes it: the quorum's goroutine feeds it, every
// subsystem reads Current or is a Publisher.
package host
