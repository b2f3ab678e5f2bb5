// Package script is one long list of requests, good and bad, over every API that Moldau serves and
// every version of it. test/parity sends it to Apache Kafka and to Moldau; the answers of Apache
// Kafka are kept in golden/, so that `go test` holds Moldau to them without Java.
//
// A subject is one API: a good request, further forms of it by name, and from each field of the
// request, by reflection, the values that it should not have (mutate.go). Frames that are no request at all
// come from the bytes of the good one (frames.go). Each case has a connection, topics, a group and
// a transactional id of its own, so that cases run side by side in any order.
package script
