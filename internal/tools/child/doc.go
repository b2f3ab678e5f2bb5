// Package child runs this program's broker as a child process, for a demo or a cluster on one machine.
//
// A Broker owns one goroutine, which waits for its process to end.
package child
