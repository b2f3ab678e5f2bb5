// Package host runs a repair.Mender: one goroutine, which sleeps as long as nothing is damaged, and a connection to another
// broker for each request.
package host
