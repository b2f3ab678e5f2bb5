// Package host runs the Sender of changes of in-sync replicas: one goroutine, which takes what leaders
// propose to the controller and looks for followers that lag.
package host
