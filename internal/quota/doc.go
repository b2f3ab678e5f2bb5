// Package quota decides how long a client is held back. The server asks it once per request,
// after the handler and before the response is written (the one throttle point): the answer goes
// into the response's throttle time and delays the connection's next read. It owns no goroutine.
package quota
