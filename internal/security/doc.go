// Package security holds who is connected and what they may do: the Connection context that
// follows every request, the Authorizer seam, and the one table that says which operation on
// which resource each API needs. Handlers ask it before they act; the server fills Connection
// in when it accepts a socket. It owns no goroutine; all types are safe to read concurrently.
package security
