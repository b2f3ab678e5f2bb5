// Package wire turns bytes from sockets into requests and responses into bytes: frames, request
// and response headers, the table of API versions, guarded decoding of kmsg bodies, and
// hand-written encoders for the responses that carry records. server drives it; handlers build
// its ResponseBody values. It owns no goroutine and does no I/O of its own.
package wire
