// Package host runs a broker's lifecycle: one goroutine ("lifecycle") sends the core's requests to
// the active controller, one at a time, and tells who waits what has become of them.
package host
