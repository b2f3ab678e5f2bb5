// Package localcluster is moldau cluster local: several nodes on this machine, each a child process, for trying
// out what a cluster does.
//
// Run owns a goroutine for each node, which waits for its end, and returns when all processes have ended.
package localcluster
