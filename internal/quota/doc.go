// Package quota decides how long a client is held back. The server asks it once per request,
// when the request is handled and before its response is written (the one throttle point): the
// answer goes into the response's throttle time and delays the connection's next request. It also
// says when a listener may accept its next connection, and grants changes of topics. Replication throttles
// the copying of replicas between brokers.
//
// Rates are Kafka's: sums over quota.window.num samples of quota.window.size.seconds, and the time
// that brings a sum back to its limit. All of it is deterministic: instants are arguments. Its
// locks are held for a few lookups and sums; it owns no goroutine. A client without a limit costs
// one atomic load, and a few map lookups where others have one.
package quota
