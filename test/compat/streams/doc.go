// Package streams runs a program on Apache Kafka's Streams, unmodified: tables, joins, windows, state
// stores with their changelogs, repartition topics; killed, restored without its local state, and reset.
package streams
