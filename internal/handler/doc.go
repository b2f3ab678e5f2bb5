// Package handler answers requests: one file per API key, each a struct with just the
// dependencies it needs. The server calls Handle on the connection's reader goroutine, in request
// order; a handler may block there (a long poll, forwarding) until ctx ends, which happens when
// the connection closes or the broker stops. Only Produce completes later, through Reply.Wait,
// which runs on the connection's writer goroutine.
package handler
