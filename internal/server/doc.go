// Package server owns the sockets: it accepts connections, cuts their bytes into requests, calls
// the handlers in request order, and writes the responses in the same order. The broker's
// composition starts it; handlers know nothing of it.
//
// Goroutines, all started through one env.Spawner that Stop ends: one "accept <listener>" per
// listener; one "connection <id>" per connection, which reads, decodes, handles and, as long as
// nothing is unfinished, also writes; and one "responses <id>" for a connection from its first
// Produce on that completes later. While a request is handled for longer than a second, a timer's
// function reads ahead on the connection to notice that its client has gone; the connection's
// goroutine waits for it before it reads on. The HTTP server for /healthz and /metrics is separate: HTTP.
//
// A connection costs a small read buffer and its stack. A request's buffer grows with the bytes
// that have really arrived and is charged to a memory budget that all connections share.
package server
