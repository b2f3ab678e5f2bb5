// Package shard is the contract between the deterministic shards of a coordinator (package
// group; transactions later) and the runtime that hosts them (package coordinator). A shard is
// the state of one partition of a coordinator's log. It has one owner at a time, no locks and no
// clock: it takes a request and the time, and gives back Effects.
package shard
