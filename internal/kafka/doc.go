// Package kafka holds the vocabulary every other package shares: error codes, topic and
// partition names, UUIDs, well-known constants. It has no behaviour beyond parsing and
// validating those words and imports nothing of the project.
package kafka
