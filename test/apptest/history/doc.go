// Package history holds what clients of a cluster did and saw while faults were injected, and checks it: the
// anomalies that Jepsen looks for in Kafka-like logs, and where a log of Kafka's kind allows more than a
// database does, the exceptions that Jepsen makes.
//
// A history is a list of operations in the order of their completion. Clients fill a Recorder, each from its own
// goroutine; Check is deterministic and owns what it is given.
//
// A send whose outcome nobody knows may be there or not: nothing is derived from it unless somebody has read it.
// Polls are believed whatever became of the transaction around them, since a consumer that reads committed
// records may never be shown anything else.
package history
