// Package checkpoint reads and writes the small text files beside the logs, in Apache
// Kafka's formats: offset checkpoints of a log dir, leader epochs and topic id of a
// partition, meta.properties and the clean-shutdown file. storage and broker call it.
//
// Writes replace a file atomically and are durable when they return. Readers take nothing on
// trust: a malformed file is a *ParseError that names the line.
package checkpoint
